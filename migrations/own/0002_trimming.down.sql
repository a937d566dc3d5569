-- Progress only; what was trimmed is gone for good.
--: once
DROP TABLE {{schema}}.stream_storage_workers;
DROP TABLE {{schema}}.stream_storage_trimming;
