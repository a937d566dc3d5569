-- Where a stream's blocks are: the database, S3 or GCS, and at which bytes of
-- the object. miniblocks_ext keeps the default storage, as in the nodes.
--: once
ALTER TABLE {{schema}}.es
  ADD COLUMN blockdata_ext char NOT NULL DEFAULT 'D';
ALTER TABLE {{schema}}.es ADD CONSTRAINT blockdata_ext_values
  CHECK (blockdata_ext IN ('D', 'G', 'S'));
--: each media partition
CREATE TABLE {{schema}}.miniblocks_ext_{{suffix}} (
  stream_id char(64) NOT NULL,
  seq_num bigint NOT NULL,
  start_byte bigint NOT NULL,
  size bigint NOT NULL,
  PRIMARY KEY (stream_id, seq_num)
);
