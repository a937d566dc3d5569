--: once
CREATE OR REPLACE FUNCTION {{schema}}.notify_on_upsert() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_notify(TG_TABLE_NAME::text, TG_TABLE_SCHEMA::text);
  RETURN NEW;
END;
$$;
