-- Requests that change an object and may still be executed: one row for each
-- upload or deletion, written before its request is sent, removed when the
-- request was answered or can't be executed any more. `signed_at` is its date,
-- by the object store's clock; `upload` the upload in parts that it finishes.
-- When it is due, what the request may have left in the bucket is removed. No
-- foreign key: a deleted stream's object may be changed late, too.
--: once
CREATE TABLE {{schema}}.stream_storage_media_changes (
  stream_id char(64) NOT NULL,
  change bigint NOT NULL,
  signed_at timestamptz NOT NULL,
  upload text,
  due_at timestamptz NOT NULL DEFAULT now() + interval '16 minutes',
  PRIMARY KEY (stream_id, change)
);
CREATE INDEX stream_storage_media_changes_due
  ON {{schema}}.stream_storage_media_changes (due_at);
