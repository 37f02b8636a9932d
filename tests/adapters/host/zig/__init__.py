"""Tests of zig's compiler as a toolchain."""
