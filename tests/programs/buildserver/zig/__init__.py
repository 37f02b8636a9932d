"""Tests of zig's compiler at a build server."""
