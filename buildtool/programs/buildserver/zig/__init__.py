"""Zig's compiler at a build server: what it is offered for, warmed beside the builds, and installed by one command.

Tested by tests/programs/buildserver/zig/test_hosting.py.
"""
