-- A dead replica's unsettled money may be resolved by hand. From then on the replica is `resolved`: it
-- may not come back to money that was given to others. To an earlier release that is not live, and
-- not reclaimed either: it grants such a replica nothing.

ALTER TABLE replica DROP CONSTRAINT replica_state_check;
ALTER TABLE replica ADD CONSTRAINT replica_state_check
    CHECK (state IN ('live', 'stopped', 'reclaimed', 'resolved'));
