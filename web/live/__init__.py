"""What is live in the pages: what the metaserver tells, as topics, and the streams that browsers hear it by.

Tested by tests/web/live.
"""
