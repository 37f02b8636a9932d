"""A deployment to begin with, for /etc/buildtool/config.py: put your names in. The manual lists all settings.

Metaserver, pages and build servers of this machine read it, and so does who asks for a build here. Machines that join
have a copy of it, with the files that it loads.
"""

# Under which name others reach this machine.                                                [BUILDTOOL_HOST]
host = "farm.example.org"

# Everybody joins with a line of `metaserver invite NAME`, and speaks TLS.
trusted = "nobody"

# The pages, where a proxy of this machine stands in front of them (/usr/share/buildtool/proxies has three).
web_bind = "127.0.0.1"
# public_url = "https://farm.example.org"

# Where mail goes out; until then what would be sent is kept.
mail = None
# mail = {"host": "mail.example.org", "sender": "farm@example.org"}

# Where the units keep what must not be lost, and what build servers of this machine need.
state_dir = "/var/lib/metaserver"
build_dir = "/var/lib/buildserver"

projects = [
    load("testproject/config.py"),  # noqa: F821 - load() is given to this file when it is executed
]
