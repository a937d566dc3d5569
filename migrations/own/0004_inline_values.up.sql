-- Values of up to about 4 KB stay in their row. By default every row of more
-- than 2 KB puts its value into the TOAST table: two rows and an entry of its
-- index more to write, an index scan more to read each value. Two rows of 4080
-- bytes fill a page; one more byte would leave half of it empty. Nodes read and
-- write as before; rows that are there already stay as they are.
--: each partition
ALTER TABLE {{schema}}.miniblocks_{{suffix}} SET (toast_tuple_target = 4080);
ALTER TABLE {{schema}}.minipools_{{suffix}} SET (toast_tuple_target = 4080);
ALTER TABLE {{schema}}.miniblock_candidates_{{suffix}}
  SET (toast_tuple_target = 4080);
