# Everything a newcomer types.  Each target makes .venv by itself; PYTHON says with which interpreter.
PYTHON ?= python3
RUN = .venv/bin/python
LAUNCHERS = $(wildcard bin/*)

.DEFAULT_GOAL := help
.PHONY: help venv farm demo sources demo-lua test bench simulate mutants chaos check docs coverage changes map format lock clean distclean
.PHONY: quick long

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 18

venv:  ## make .venv from requirements.txt, if it is missing or the lock has changed
	@command -v $(PYTHON) >/dev/null || \
	  { echo "$(PYTHON) is not there: Python 3.11 or newer is needed (PYTHON=... says which)" >&2; exit 1; }
	@$(PYTHON) .ci/venv.py

farm: venv  ## a whole farm until Ctrl-C: metaserver with pages, mail box, two build servers, and what to type
	@$(RUN) -m buildtool.demo.farm $(ARGS)

demo: venv  ## a request, a build, a hit and a mail, on this machine, with real processes
	@$(RUN) -m buildtool.demo.demo

demo-lua: venv  ## three releases of Lua for three platforms, from Debian's sources, built and run
	@$(RUN) -m buildtool.demo.demo_lua

sources: venv  ## the example's sources as a git repository, for a farm by hand: var/testproject.git
	@$(RUN) -m buildtool.demo.sources

quick: venv  ## the tests of the pure parts: 30 s, no process, no socket, no wait (ARGS="..." is handed to pytest)
	$(RUN) -m pytest --lane quick -n auto $(ARGS)

test: venv  ## the tests of everything that a change can break, on all processors
	$(RUN) -m pytest --lane test -n auto --dist loadgroup $(ARGS)

long: venv  ## what takes minutes: real toolchains, chaos, each property harder, SEEDS=1000 worlds, all mutants (MUTANTS=no)
	$(RUN) -m pytest --lane long -n auto --dist loadgroup $(ARGS)
	$(RUN) -m tests.simulation --seeds $(or $(SEEDS),1000)
	$(if $(filter no,$(MUTANTS)),,$(RUN) -m tests.simulation.hunting)

bench: venv  ## take the figures of docs/performance.rst, into bench-results/ (ARGS="hits upload" takes what begins so)
	@$(RUN) -m tests.benchmarks $(ARGS)

simulate: venv  ## the farm on a virtual clock under every fault: SEEDS=100 worlds, or the trace of one (SEED=n)
	@$(RUN) -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),100)) $(ARGS)

mutants: venv  ## switch one guard off at a time and say which seed of the simulation notices (ARGS="NAME" takes one)
	@$(RUN) -m tests.simulation.hunting $(ARGS)

chaos: venv  ## kill, freeze and cut off real programs for MINUTES=3 (SEED=n): every request still ends once
	@$(RUN) -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

check: venv  ## style, types and the direction of imports
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy --strict -p buildtool
	$(RUN) -m mypy --strict -p tests
	$(RUN) -m mypy --strict $(LAUNCHERS) .ci/venv.py
	$(RUN) -m mypy --strict docs/conf.py
	$(RUN) -m mypy --strict examples/lua/config.py examples/lua/import_sources.py
	$(RUN) -m pytest -q tests/test_architecture.py

docs: venv  ## render the manuals into build/docs; a warning or a link that leads nowhere is an error
	$(RUN) -m sphinx -q -W --keep-going -n -b html -c docs . build/docs

coverage: venv  ## say which branches no test takes (ARGS="tests/model" takes those; all take as long as `make test`)
	$(RUN) -m pytest -q -n auto --dist loadgroup --cov --cov-report=term $(or $(ARGS),tests)

changes: venv  ## show what changes.d/ adds to CHANGES.rst; a release does it: .venv/bin/towncrier build --version X.Y.Z
	@.venv/bin/towncrier build --draft --version next

map: venv  ## draw docs/map.svg: the rooms of the code, and which imports which
	@$(RUN) -m tests.support.house_map

format: venv  ## lay the code out as `make check` wants it
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

lock: venv  ## refresh requirements.txt: the newest versions that fit setup.cfg, with their digests
	@.ci/lock
	@$(MAKE) --no-print-directory venv

clean:  ## remove what the other targets left behind, except .venv, downloads and bench-results
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis _trial_temp* .demo .bench .chaos
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean  ## the same, .venv and what was downloaded
	rm -rf .venv .venv.lock .cache
