"""A farm with all the examples on this machine, for trying them: named with --config.

    bin/buildserver.py try wordcount --config examples/farm.py --source examples/golang/source

For a whole farm make repositories of their sources first: examples/make_repositories.py.
"""

host = "127.0.0.1"
state_dir = "../var/examples/metaserver"
build_dir = "../var/examples/buildserver"
projects = [
    load("wheel/config.py"),  # noqa: F821 - load() is given to this file when it is executed
    load("golang/config.py"),  # noqa: F821
    load("cmake/config.py"),  # noqa: F821
    load("rust/config.py"),  # noqa: F821
    load("lua/config.py"),  # noqa: F821
    load("zlib/config.py"),  # noqa: F821
    load("cpython/config.py"),  # noqa: F821
    load("pypy/config.py"),  # noqa: F821
]
