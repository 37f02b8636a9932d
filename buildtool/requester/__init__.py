"""The requester's shell: ask, follow, fetch, verify; and the words for all of it."""
