-- Rows that are there stay as they are.
--: each partition
ALTER TABLE {{schema}}.miniblocks_{{suffix}} RESET (toast_tuple_target);
ALTER TABLE {{schema}}.minipools_{{suffix}} RESET (toast_tuple_target);
ALTER TABLE {{schema}}.miniblock_candidates_{{suffix}}
  RESET (toast_tuple_target);
