-- The latest snapshot of each stream when it was trimmed last. No row: never.
-- No foreign key: a node deletes from es without knowing us.
--: once
CREATE TABLE {{schema}}.stream_storage_trimming (
  stream_id char(64) NOT NULL PRIMARY KEY,
  snapshot bigint NOT NULL
);
-- How far a worker has come that goes through all streams; null: it is done.
CREATE TABLE {{schema}}.stream_storage_workers (
  name varchar NOT NULL PRIMARY KEY,
  cursor varchar,
  updated_at timestamptz NOT NULL DEFAULT now()
);
