-- Marks the streams that are still being uploaded.
--: once
ALTER TABLE {{schema}}.es
  ADD COLUMN ephemeral boolean NOT NULL DEFAULT false;
CREATE INDEX idx_es_ephemeral ON {{schema}}.es (ephemeral);
