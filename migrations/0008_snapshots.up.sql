-- Snapshots beside the blocks; before, they were inside the block data.
--: each partition
ALTER TABLE {{schema}}.miniblocks_{{suffix}} ADD COLUMN snapshot bytea;
ALTER TABLE {{schema}}.miniblocks_{{suffix}}
  ALTER COLUMN snapshot SET STORAGE EXTERNAL;
ALTER TABLE {{schema}}.miniblock_candidates_{{suffix}} ADD COLUMN snapshot bytea;
ALTER TABLE {{schema}}.miniblock_candidates_{{suffix}}
  ALTER COLUMN snapshot SET STORAGE EXTERNAL;
