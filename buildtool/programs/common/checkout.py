"""Starts a program of a checkout, for ``bin/``, in the environment that ``make venv`` made.

Needs nothing but the standard library, and a Python of any age: it may be the system's. Covered by
tests/programs/common/test_accounts.py.
"""

import os
import sys


def start(program: str, launcher: str) -> None:
    """Run a program, named as in ``launch``, and end with its exit code.

    ``launcher`` is the file in ``bin/``, which has put its checkout in front of ``sys.path``.
    """
    if program == "buildserver" and sys.platform in ("win32", "cygwin", "msys"):
        from buildtool.programs.buildserver.systems import NO_HOST

        sys.exit(NO_HOST)
    root = sys.path[0]
    python = os.path.join(root, ".venv/bin/python")
    why = f"its Python packages are missing; run `make venv` in {root} first"
    try:
        if sys.prefix == sys.base_prefix and os.path.lexists(python):
            try:
                os.execv(python, [python, *sys.argv])  # noqa: S606 - the same program, in its own environment
            except OSError as error:  # it is gone, or lies where this account may not go
                remedy = "run `make venv PYTHON=...` with one that you may use"
                why = f"{python} cannot be started ({error.strerror}): {remedy}"
        from importlib.machinery import PathFinder

        # Found and not imported, which a program that starts itself anew would pay for twice. What has no origin is a
        # directory that another installation left.
        if getattr(PathFinder.find_spec("twisted"), "origin", None) is None:
            sys.exit(f"{os.path.basename(launcher)}: {why}")
        from buildtool.programs.common import launch
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell makes of SIGINT
    except (ImportError, OSError):
        sys.exit(f"{os.path.basename(launcher)}: {why}")
    sys.exit(getattr(launch, program)())
