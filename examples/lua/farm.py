"""A farm that builds Lua only, on this machine: what `make demo-lua` runs. Named with --config or $BUILDTOOL_CONFIG.

Everything else has its default; see config.py at the top of the checkout, where all settings are explained.
"""

host = "127.0.0.1"
state_dir = "../../var/lua/metaserver"
build_dir = "../../var/lua/buildserver"
projects = [
    load("config.py"),  # noqa: F821 - load() is given to this file when it is executed
]
