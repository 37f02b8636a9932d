#!/usr/bin/env python3
"""Start a build server from a checkout, in the environment that `make venv` made."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # in place of bin/, whose files are not modules

from buildtool.programs.common.checkout import start

start("buildserver", __file__)
