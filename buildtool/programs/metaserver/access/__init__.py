"""Who is known to a metaserver: what is settled beside its running."""
