-- What is there before the first version: the bookkeeping of both tracks, the
-- first exactly as golang-migrate makes it, and the number of partitions,
-- which the first installation fixes for good.
--: once
CREATE TABLE IF NOT EXISTS {{schema}}.schema_migrations (
  version bigint NOT NULL PRIMARY KEY,
  dirty boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS {{schema}}.stream_storage_migrations (
  version bigint NOT NULL PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS {{schema}}.settings (
  single_row_key boolean NOT NULL DEFAULT true PRIMARY KEY,
  num_partitions integer NOT NULL DEFAULT 256
);
INSERT INTO {{schema}}.settings (single_row_key, num_partitions)
SELECT true, {{partitions}}
WHERE NOT EXISTS (SELECT FROM {{schema}}.settings);
