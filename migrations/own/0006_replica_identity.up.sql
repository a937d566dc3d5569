-- singlenodekey is the one table without a key. A publication of all tables, for
-- an upgrade by logical replication or for change capture, has every UPDATE and
-- DELETE of such a table refused: no instance could take the schema over, none
-- give it back. Its few rows are their own identity now. Nodes do not notice.
--: once
ALTER TABLE {{schema}}.singlenodekey REPLICA IDENTITY FULL;
