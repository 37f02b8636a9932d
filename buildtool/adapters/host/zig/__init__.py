"""Zig's compiler: found, asked for what it makes, tried for each platform, and its cache kept warm for builds.

Tested by tests/adapters/host/zig/test_warm_store.py.
"""
