-- Removes everything but the bookkeeping of the two tracks, for every set of
-- partition tables that is there: old nodes made one more than they use, with
-- all its tables. IF EXISTS: an interrupted run is completed by the next. CASCADE:
-- the copies that a schema's move in a cluster leaves behind for a while have
-- the trigger, too.
--: lost once
SELECT FROM {{schema}}.es
--: lost each partition
SELECT FROM {{schema}}.miniblocks_{{suffix}}
UNION ALL SELECT FROM {{schema}}.minipools_{{suffix}}
UNION ALL SELECT FROM {{schema}}.miniblock_candidates_{{suffix}}
--: once
DROP TABLE IF EXISTS {{schema}}.singlenodekey;
DROP FUNCTION IF EXISTS {{schema}}.notify_on_upsert() CASCADE;
DROP TABLE IF EXISTS {{schema}}.es;
DROP TABLE IF EXISTS {{schema}}.settings;
--: each partition
DROP TABLE IF EXISTS {{schema}}.miniblocks_ext_{{suffix}};
DROP TABLE IF EXISTS {{schema}}.miniblock_candidates_{{suffix}};
DROP TABLE IF EXISTS {{schema}}.minipools_{{suffix}};
DROP TABLE IF EXISTS {{schema}}.miniblocks_{{suffix}};
