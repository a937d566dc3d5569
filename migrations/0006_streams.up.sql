-- The streams, their blocks, minipools and candidates. Versions 1 to 5 of the
-- nodes are folded into this one.
--: each partition
CREATE TABLE IF NOT EXISTS {{schema}}.miniblocks_{{suffix}} (
  stream_id char(64) NOT NULL,
  seq_num bigint NOT NULL,
  blockdata bytea NOT NULL,
  PRIMARY KEY (stream_id, seq_num)
);
ALTER TABLE {{schema}}.miniblocks_{{suffix}}
  ALTER COLUMN stream_id SET STORAGE PLAIN,
  ALTER COLUMN blockdata SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS {{schema}}.minipools_{{suffix}} (
  stream_id char(64) NOT NULL,
  generation bigint NOT NULL,
  slot_num bigint NOT NULL,
  envelope bytea,
  PRIMARY KEY (stream_id, generation, slot_num)
);
ALTER TABLE {{schema}}.minipools_{{suffix}}
  ALTER COLUMN stream_id SET STORAGE PLAIN,
  ALTER COLUMN envelope SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS {{schema}}.miniblock_candidates_{{suffix}} (
  stream_id char(64) NOT NULL,
  seq_num bigint NOT NULL,
  block_hash char(64) NOT NULL,
  blockdata bytea NOT NULL,
  PRIMARY KEY (stream_id, seq_num, block_hash)
);
ALTER TABLE {{schema}}.miniblock_candidates_{{suffix}}
  ALTER COLUMN stream_id SET STORAGE PLAIN,
  ALTER COLUMN block_hash SET STORAGE PLAIN,
  ALTER COLUMN blockdata SET STORAGE EXTERNAL;
--: once
CREATE TABLE {{schema}}.es (
  stream_id char(64) NOT NULL PRIMARY KEY,
  latest_snapshot_miniblock bigint NOT NULL,
  migrated boolean NOT NULL DEFAULT false
);
ALTER TABLE {{schema}}.es ALTER COLUMN stream_id SET STORAGE PLAIN;
CREATE TABLE {{schema}}.singlenodekey (
  uuid varchar NOT NULL,
  storage_connection_time timestamp NOT NULL,
  info varchar NOT NULL
);
CREATE FUNCTION {{schema}}.notify_on_upsert() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_notify(TG_TABLE_NAME::text, TG_TABLE_SCHEMA::text);
  RETURN NEW;
END;
$$;
CREATE TRIGGER notify_on_singlenodekey_upserts
AFTER INSERT OR UPDATE ON {{schema}}.singlenodekey
FOR EACH ROW EXECUTE FUNCTION {{schema}}.notify_on_upsert();
