-- An older release would take what is about a stream that is gone for what is
-- about the present one. An object that is to be deleted stays so.
--: once
DELETE FROM {{schema}}.stream_storage_ephemeral AS own WHERE NOT EXISTS (
  SELECT FROM {{schema}}.es WHERE es.stream_id = own.stream_id
    AND es.stream_storage_incarnation IS NOT DISTINCT FROM own.incarnation);
DELETE FROM {{schema}}.stream_storage_trimming AS own WHERE NOT EXISTS (
  SELECT FROM {{schema}}.es WHERE es.stream_id = own.stream_id
    AND es.stream_storage_incarnation IS NOT DISTINCT FROM own.incarnation);
DELETE FROM {{schema}}.stream_storage_media_blocks AS own WHERE NOT EXISTS (
  SELECT FROM {{schema}}.es WHERE es.stream_id = own.stream_id
    AND es.stream_storage_incarnation IS NOT DISTINCT FROM own.incarnation);
DELETE FROM {{schema}}.stream_storage_media_tasks AS own
WHERE task <> 'delete' AND NOT EXISTS (
  SELECT FROM {{schema}}.es WHERE es.stream_id = own.stream_id
    AND es.stream_storage_incarnation IS NOT DISTINCT FROM own.incarnation);
ALTER TABLE {{schema}}.stream_storage_media_tasks DROP COLUMN incarnation;
ALTER TABLE {{schema}}.stream_storage_media_blocks DROP COLUMN incarnation;
ALTER TABLE {{schema}}.stream_storage_trimming DROP COLUMN incarnation;
ALTER TABLE {{schema}}.stream_storage_ephemeral DROP COLUMN incarnation;
ALTER TABLE {{schema}}.es DROP COLUMN stream_storage_incarnation;
