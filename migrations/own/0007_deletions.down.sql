-- Which rows of no stream are still to go is nowhere else.
--: lost once
SELECT FROM {{schema}}.stream_storage_deletions
--: once
DROP INDEX {{schema}}.stream_storage_es_by_bytes;
DROP TABLE {{schema}}.stream_storage_deletions;
