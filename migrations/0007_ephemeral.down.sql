-- A stream that is ephemeral would become a regular one without a minipool.
--: lost once
SELECT FROM {{schema}}.es WHERE ephemeral
--: once
DROP INDEX {{schema}}.idx_es_ephemeral;
ALTER TABLE {{schema}}.es DROP COLUMN ephemeral;
