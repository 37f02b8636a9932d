"""Systems on which no build server runs. For a Python of any age.

Covered by tests/programs/buildserver/test_systems.py.
"""

WINDOWS = ("win32", "cygwin", "msys")
"""What Python calls Windows."""

NO_HOST = (
    "buildserver.py: Windows is no host for a build server: run it on Linux or macOS, or under WSL 2, which is a Linux"
)
