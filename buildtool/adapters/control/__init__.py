"""The control port: Perspective Broker connections that are bounded, and the calls over them, both ways.

Tested by tests/adapters/control/test_connection.py and tests/adapters/control/test_gateway.py.
"""
