"""What the machine is and has: detected properties, programs, toolchains, and a build server's own directories.

Tested by tests/adapters/host/test_toolchains.py and tests/adapters/host/test_detectors.py.
"""
