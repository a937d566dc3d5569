-- Which stream of an id a row of ours is about. A node deletes a stream and makes
-- it again under the same id without knowing our tables. The row in es that it
-- inserts gets another value here, as nodes name the columns that they write; an
-- UPDATE leaves it as it is. src/postgres/sql/incarnations.ts says why this way.
-- Without a default of its own for the rows that are there, the column is added
-- without rewriting the table: these have none, nor have the rows about them.
--: once
ALTER TABLE {{schema}}.es
  ADD COLUMN IF NOT EXISTS stream_storage_incarnation uuid;
ALTER TABLE {{schema}}.es ALTER COLUMN stream_storage_incarnation
  SET DEFAULT pg_catalog.gen_random_uuid();
ALTER TABLE {{schema}}.stream_storage_ephemeral ADD COLUMN incarnation uuid;
ALTER TABLE {{schema}}.stream_storage_trimming ADD COLUMN incarnation uuid;
ALTER TABLE {{schema}}.stream_storage_media_blocks ADD COLUMN incarnation uuid;
ALTER TABLE {{schema}}.stream_storage_media_tasks ADD COLUMN incarnation uuid;
