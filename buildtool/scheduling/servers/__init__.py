"""Build servers as decisions see them: who logs in under which name, Leases, and when a machine is quarantined."""
