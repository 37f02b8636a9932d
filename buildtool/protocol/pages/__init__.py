"""What the pages and the API ask the metaserver, mostly in the name of their visitors.

The test is tests/protocol/test_transcripts.py.
"""
