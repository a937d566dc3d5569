-- Which objects a request may still change is nowhere else.
--: lost once
SELECT FROM {{schema}}.stream_storage_media_changes
  WHERE due_at > pg_catalog.now()
--: once
DROP TABLE {{schema}}.stream_storage_media_changes;
