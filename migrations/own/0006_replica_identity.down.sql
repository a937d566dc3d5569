--: once
ALTER TABLE {{schema}}.singlenodekey REPLICA IDENTITY DEFAULT;
