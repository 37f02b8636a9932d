"""HTTP with bodies as streams: the transfer port, its client, and the server of the pages.

Tested by tests/adapters/http/test_transfer_site.py and tests/adapters/http/test_transfer_client.py.
"""
