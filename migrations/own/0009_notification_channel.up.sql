-- The channel on which owners hear of each other is written in the function. It
-- was the name of the table, which on a distributed schema is the name of a shard:
-- singlenodekey_102012, where neither a node nor an older release listens. On a
-- plain server nothing changes.
--: once
CREATE OR REPLACE FUNCTION {{schema}}.notify_on_upsert() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_notify('singlenodekey', TG_TABLE_SCHEMA::text);
  RETURN NEW;
END;
$$;
