-- The snapshots beside blocks in object storage are nowhere else.
--: lost once
SELECT FROM {{schema}}.stream_storage_media_blocks WHERE snapshot IS NOT NULL
--: once
DROP TABLE {{schema}}.stream_storage_media_blocks;
DROP TABLE {{schema}}.stream_storage_media_tasks;
