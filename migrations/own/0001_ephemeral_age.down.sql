-- Ages only; the streams themselves are in es.
--: once
DROP TABLE {{schema}}.stream_storage_ephemeral;
