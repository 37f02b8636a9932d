"""Starts a program of a checkout, for ``bin/``, in the environment that ``make venv`` made.

Needs nothing but the standard library, and a Python of any age: it may be the system's. Covered by
tests/programs/common/test_accounts.py.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def start(program: str, launcher: str) -> None:
    """Run a program, named as in ``launch``, and end with its exit code; ``launcher`` is the file in ``bin/``."""
    root = Path(launcher).resolve().parent.parent
    python = root / ".venv/bin/python"
    why = f"its Python packages are missing; run `make venv` in {root} first"
    if sys.prefix == sys.base_prefix and os.path.lexists(python):
        try:
            os.execv(python, [str(python), *sys.argv])  # noqa: S606 - the same program, in its own environment
        except OSError as error:  # it is gone, or lies where this account may not go
            why = f"{python} cannot be started ({error.strerror}): run `make venv PYTHON=...` with one that you may use"
    try:
        find_spec("twisted.internet")  # raises where there is no environment; importing it would be paid for twice
        from buildtool.programs.common import launch
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell makes of SIGINT
    except (ImportError, OSError):
        sys.exit(f"{Path(launcher).name}: {why}")
    sys.exit(getattr(launch, program)())
