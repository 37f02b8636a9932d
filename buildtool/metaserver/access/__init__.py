"""How much is taken of whom, and whose mail address is believed.

Tested by tests/metaserver/access/test_mailed_codes.py.
"""
