"""``python -m tests.fuzz.guided TARGET OPTIONS-OF-LIBFUZZER``: let atheris feed a target. It never returns.

What is ours is instrumented as it is imported, so nothing of it may be imported before.
"""

from __future__ import annotations

import importlib
import sys

import atheris


def main(name: str, *arguments: str) -> None:
    """Feed a target by its name, or by ``module:name``."""
    module, _, wanted = name.rpartition(":")
    with atheris.instrument_imports(include=["buildtool", "tests.fuzz.planted"]):
        targets = importlib.import_module(module or "tests.fuzz.table").TARGETS
    target = targets[wanted]
    atheris.Setup([sys.argv[0], *arguments], target.feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
