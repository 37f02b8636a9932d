"""The four programs, as ``bin/`` and the installed commands call them: begun properly, and only then loaded."""

# Loading costs a second, and a program may have to start itself anew before.

from __future__ import annotations

from buildtool.entry.beginning import begin


def metaserver() -> int:
    """Run ``metaserver`` and return its exit code."""
    begin()
    from buildtool.entry.metaserver import main

    return main()


def webserver() -> int:
    """Run ``webserver`` and return its exit code."""
    begin()
    from buildtool.entry.webserver import main

    return main()


def buildserver() -> int:
    """Run ``buildserver.py`` and return its exit code."""
    begin(hidden=True)
    from buildtool.entry.buildserver import main

    return main()


def startcompile() -> int:
    """Run ``startcompile.py`` and return its exit code."""
    begin()
    from buildtool.entry.startcompile import main

    return main()
