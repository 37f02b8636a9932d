"""The messages that cross the wire, and their strict and bounded encoding.

Every message is tested by tests/protocol/test_codec.py and tests/protocol/test_transcripts.py.
"""
