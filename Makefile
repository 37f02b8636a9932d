# Everything a newcomer types.  Each target makes by itself the environment that it needs: .venv, in which the programs
# run, or .venv-dev, which has tests and tools as well.  PYTHON says with which interpreter.
PYTHON ?= python3
RUN = .venv/bin/python
DEV = .venv-dev/bin/python
MAKE_ENVIRONMENT = command -v $(PYTHON) >/dev/null || \
  { echo "$(PYTHON) is not there: Python 3.11 or newer is needed (PYTHON=... says which)" >&2; exit 1; }; \
  $(PYTHON) -S .ci/venv.py
LAUNCHERS = $(wildcard bin/*) deploy/update

# Tests and demos start programs by the hundred, and each would compile all of its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv dev farm demo sources demo-lua demo-platforms test bench simulate mutants chaos check docs coverage changes map screenshots format lock clean distclean
.PHONY: quick long branches fuzz deb

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 18

venv:  ## make .venv, with what the four programs need, if it is missing or its locks have changed
	@$(MAKE_ENVIRONMENT) .venv

dev:  ## make .venv-dev, with what tests, checks and manuals need as well, in the same way
	@$(MAKE_ENVIRONMENT) .venv-dev

farm: venv  ## a whole farm until Ctrl-C: metaserver with pages, mail box, two build servers, and what to type
	@$(RUN) -m buildtool.demo.farm $(ARGS)

demo: venv  ## a request, a build, a hit and a mail, on this machine, with real processes
	@$(RUN) -m buildtool.demo.demo

demo-lua: venv  ## three releases of Lua for three platforms, from Debian's sources, built and run
	@$(RUN) -m buildtool.demo.demo_lua

demo-platforms: venv  ## three projects for a dozen platforms, by a compiler that is fetched once (100 MB), run where they can be
	@$(RUN) -m buildtool.demo.demo_platforms

sources: venv  ## the example's sources as a git repository, for a farm by hand: var/testproject.git
	@$(RUN) -m buildtool.demo.sources

quick: dev  ## the tests of the pure parts: 30 s, no process, no socket, no wait (ARGS="..." is handed to pytest)
	$(DEV) -m pytest --lane quick -n auto $(ARGS)

test: dev  ## the tests of everything that a change can break, on all processors
	$(DEV) -m pytest --lane test -n auto --dist loadgroup $(ARGS)

long: dev  ## what takes minutes: real toolchains, chaos, each property harder, SEEDS=1000 worlds, all mutants (MUTANTS=no), FUZZ=60 s
	$(DEV) -m pytest --lane long -n auto --dist loadgroup $(ARGS)
	$(DEV) -m tests.simulation --seeds $(or $(SEEDS),1000)
	$(DEV) -m tests.fuzz --seconds $(or $(FUZZ),60)
	$(if $(filter no,$(MUTANTS)),,$(DEV) -m tests.simulation.hunting)

bench: dev  ## take the figures of docs/performance.rst, into bench-results/ (ARGS="hits upload" takes what begins so)
	@$(DEV) -m tests.benchmarks $(ARGS)

simulate: dev  ## the farm on a virtual clock under every fault: SEEDS=100 worlds, or the trace of one (SEED=n)
	@$(DEV) -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),100)) $(ARGS)

mutants: dev  ## switch one guard off at a time and say which seed of the simulation notices (ARGS="NAME" takes one)
	@$(DEV) -m tests.simulation.hunting $(ARGS)

fuzz: dev  ## look for input that does harm, for MINUTES=10 (ARGS="TARGET --keep" takes one, and keeps what is new)
	@$(DEV) -m tests.fuzz --minutes $(or $(MINUTES),10) $(ARGS)

chaos: dev  ## kill, freeze and cut off real programs for MINUTES=3 (SEED=n): every request still ends once
	@$(DEV) -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

check: dev  ## style, types and the direction of imports
	$(DEV) -m ruff check
	$(DEV) -m ruff format --check
	$(DEV) -m mypy --strict -p buildtool
	$(DEV) -m mypy --strict -p tests
	$(DEV) -m mypy --strict $(LAUNCHERS) .ci/venv.py
	$(DEV) -m mypy --strict docs/conf.py
	$(DEV) -m mypy --strict examples/lua/config.py examples/import_sources.py
	$(DEV) -m mypy --strict examples/cpython/config.py
	$(DEV) -m mypy --strict examples/zlib/config.py
	$(DEV) -m mypy --strict examples/make_repositories.py examples/wheel/config.py
	$(DEV) -m mypy --strict examples/golang/config.py
	$(DEV) -m mypy --strict examples/cmake/config.py
	$(DEV) -m mypy --strict examples/rust/config.py
	$(DEV) -m mypy --strict examples/pypy/config.py
	$(DEV) -m pytest -q tests/test_architecture.py

docs: dev  ## render the manuals into build/docs; a warning or a link that leads nowhere is an error
	$(DEV) -m sphinx -q -W --keep-going -n -b html -c docs . build/docs

coverage: dev  ## say which branches no test takes (ARGS="tests/model" takes those; all take as long as `make test`)
	$(DEV) -m pytest -q -n auto --dist loadgroup --cov --cov-report=term $(or $(ARGS),tests)

branches: dev  ## check that `make quick` takes 80 % of the branches of each pure part, and say how many
	$(DEV) -m pytest --lane quick -n auto -q --cov --cov-report=json:build/branches.json $(ARGS)
	$(DEV) -m tests.support.branches build/branches.json

changes: dev  ## show what changes.d/ adds to CHANGES.rst; a release does it: .venv-dev/bin/towncrier build --version X.Y.Z
	@.venv-dev/bin/towncrier build --draft --version next

map: dev  ## draw docs/map.svg: the rooms of the code, and which imports which
	@$(DEV) -m tests.support.house_map

man: dev  ## write docs/man: the man pages of the programs, from the parsers that read their command lines
	@$(DEV) -m tests.support.man_pages

screenshots: dev  ## take pictures of the pages of a seeded farm, into build/pictures
	@$(DEV) -m tests.support.screenshots

format: dev  ## lay the code out as `make check` wants it
	$(DEV) -m ruff check --fix
	$(DEV) -m ruff format

lock: dev  ## refresh requirements-*.txt after a change of setup.cfg (ARGS=--upgrade: the newest versions that fit it)
	@.ci/lock $(ARGS)
	@$(MAKE) --no-print-directory dev

deb: venv dev  ## make the Debian package of the four programs, with units and manuals, into build/deb
	@deploy/debian/package build/deb

clean:  ## remove what the other targets left behind, except environments, downloads and bench-results
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis _trial_temp* .demo .bench .chaos
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean  ## the same, the environments and what was downloaded
	rm -rf .venv .venv.lock .venv-dev .venv-dev.lock .cache
