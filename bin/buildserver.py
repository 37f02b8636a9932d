#!/usr/bin/env python3
"""Start a build server from a checkout, in the environment that `make venv` made."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # not bin/, whose files are no modules

from buildtool.programs.common.checkout import start

start("buildserver", __file__)
