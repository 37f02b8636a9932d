"""What the shells need from outside, as Protocols; adapters implement them, and the fakes of the tests too.

Their contracts are in tests/ports/test_log_reader.py and beside it, and in tests/adapters/sql/test_broker_store.py.
"""
