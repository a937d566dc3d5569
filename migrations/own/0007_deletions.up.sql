-- Deleted streams of which not all rows have gone yet: their row in es is not
-- there any more, the rest goes bit by bit. No foreign key: es knows them no
-- longer. While a stream is here it has a block 0, so a node that creates a
-- stream of this id is refused.
--: once
CREATE TABLE {{schema}}.stream_storage_deletions (
  stream_id char(64) NOT NULL PRIMARY KEY,
  deleted_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
-- The order of the key's index is that of the database's collation. Ids are
-- listed in the order of their bytes.
CREATE INDEX IF NOT EXISTS stream_storage_es_by_bytes
  ON {{schema}}.es (stream_id COLLATE pg_catalog."C");
