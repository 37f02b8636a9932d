"""What ``bin/metaserver keeping`` shows."""
