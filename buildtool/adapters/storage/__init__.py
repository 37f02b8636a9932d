"""Files: what is written durably, what was published, and directories that are read and deleted with care."""
