-- An empty snapshot is none.
--: lost each partition
SELECT FROM {{schema}}.miniblocks_{{suffix}}
WHERE pg_catalog.octet_length(snapshot) > 0
UNION ALL
SELECT FROM {{schema}}.miniblock_candidates_{{suffix}}
WHERE pg_catalog.octet_length(snapshot) > 0
--: each partition
ALTER TABLE {{schema}}.miniblocks_{{suffix}} DROP COLUMN snapshot;
ALTER TABLE {{schema}}.miniblock_candidates_{{suffix}} DROP COLUMN snapshot;
