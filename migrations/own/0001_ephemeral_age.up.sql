-- When each ephemeral stream was created, so that its age survives restarts.
-- A stream that a node created has no row: whoever sweeps writes one when it
-- first sees it. No foreign key: a node deletes from es without knowing us.
--: once
CREATE TABLE {{schema}}.stream_storage_ephemeral (
  stream_id char(64) NOT NULL PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now()
);
