"""A farm that builds the testproject, Lua and zlib, on this machine: what `make demo-platforms` runs.

Everything else has its default; see config.py at the top of the checkout, where all settings are explained.
"""

host = "127.0.0.1"
state_dir = "../var/platforms/metaserver"
build_dir = "../var/platforms/buildserver"
projects = [
    load("../testproject/config.py"),  # noqa: F821 - load() is given to this file when it is executed
    load("lua/config.py"),  # noqa: F821
    load("zlib/config.py"),  # noqa: F821
]
