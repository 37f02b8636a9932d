"""What all ports share: which connections are kept, what they may take, and how addresses are reached.

Tested by tests/adapters/control/test_connection.py and tests/adapters/network/test_connection_shares.py.
"""
