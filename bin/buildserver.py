#!/usr/bin/env python3
"""Start a build server from a checkout, in the environment that `make venv` made."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"

if sys.prefix == sys.base_prefix and PYTHON.exists():
    import os

    os.execv(PYTHON, [str(PYTHON), *sys.argv])  # noqa: S606 - the same program, in its own environment
sys.path[0] = str(ROOT)  # in place of bin/, whose files are not modules

try:
    import twisted.internet.defer  # noqa: F401 - is the environment there at all?
except ImportError:
    sys.exit(f"{Path(__file__).name}: its Python packages are missing; run `make venv` in {ROOT} first")

from buildtool.entry.buildserver import main

sys.exit(main())
