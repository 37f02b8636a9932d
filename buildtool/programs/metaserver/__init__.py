"""``bin/metaserver``: serving, and the subcommands of its operator."""
