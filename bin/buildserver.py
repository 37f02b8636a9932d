#!/usr/bin/env python3
"""Start a build server from a checkout, in the environment that `make venv` made."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"
WHY = f"its Python packages are missing; run `make venv` in {ROOT} first"

if sys.prefix == sys.base_prefix and os.path.lexists(PYTHON):
    try:
        os.execv(PYTHON, [str(PYTHON), *sys.argv])  # noqa: S606 - the same program, in its own environment
    except OSError as error:  # it is gone, or lies where this account may not go
        WHY = f"{PYTHON} cannot be started ({error.strerror}): run `make venv PYTHON=...` with one that you may use"
sys.path[0] = str(ROOT)  # in place of bin/, whose files are not modules

try:
    find_spec("twisted.internet")  # raises where there is no environment; importing it would be paid for twice
    from buildtool.programs.common.launch import buildserver
except KeyboardInterrupt:
    sys.exit(130)  # what a shell makes of SIGINT
except (ImportError, OSError):
    sys.exit(f"{Path(__file__).name}: {WHY}")

sys.exit(buildserver())
