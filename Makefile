# Everything a newcomer types.  Each target makes .venv by itself; PYTHON says with which interpreter.
PYTHON ?= python3
RUN = .venv/bin/python
CHECKED = buildtool web bin tests .ci config.py testproject

.DEFAULT_GOAL := help
.PHONY: help venv demo test check format lock clean distclean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

venv:  ## make .venv from requirements.txt, if it is missing or the lock changed
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: Python 3.11 or newer is needed (say which with PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) .ci/venv.py

lock: venv  ## refresh the locked versions in requirements.txt to the newest that fit
	.ci/lock
