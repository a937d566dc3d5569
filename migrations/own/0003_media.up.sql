-- What miniblocks_ext has no place for, of blocks that we have put into object
-- storage: their SHA-256, the snapshot beside them, and whether they hold one
-- inside. A block that a node has put there has no row. No foreign key: a node
-- deletes streams without knowing us.
--: once
CREATE TABLE {{schema}}.stream_storage_media_blocks (
  stream_id char(64) NOT NULL,
  seq_num bigint NOT NULL,
  sha256 bytea NOT NULL,
  snapshot bytea,
  holds_snapshot boolean NOT NULL,
  PRIMARY KEY (stream_id, seq_num)
);
-- What is to be done, and what a failure has set aside: a stream to move into
-- object storage, an object to delete, or a stream to keep where it is.
CREATE TABLE {{schema}}.stream_storage_media_tasks (
  stream_id char(64) NOT NULL PRIMARY KEY,
  task text NOT NULL CHECK (task IN ('offload', 'delete', 'keep')),
  due_at timestamptz NOT NULL DEFAULT now(),
  attempts bigint NOT NULL DEFAULT 0,
  reason text
);
CREATE INDEX stream_storage_media_tasks_due
  ON {{schema}}.stream_storage_media_tasks (due_at) WHERE task <> 'keep';
