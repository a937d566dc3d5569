-- The only record of which bytes in object storage are which block.
--: lost once
SELECT FROM {{schema}}.es WHERE blockdata_ext <> 'D'
--: lost each media partition
SELECT FROM {{schema}}.miniblocks_ext_{{suffix}}
--: once
ALTER TABLE {{schema}}.es DROP COLUMN blockdata_ext;
--: each media partition
DROP TABLE {{schema}}.miniblocks_ext_{{suffix}};
