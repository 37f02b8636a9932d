"""``bin/buildserver.py``: offers this machine to a metaserver and builds what it is given."""
