"""Runs a program made for WASI: ``python -I run_wasi.py PROGRAM ARGUMENTS``. It sees the current directory only.

A copy of this stands beside wasmtime, where ``add-toolchain zig`` installs it; nothing of ours is imported.
"""

import importlib
import os
import sys


def main(words: list[str]) -> int:
    """Run the program, and return its exit code."""
    wasmtime = importlib.import_module("wasmtime")
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    config = wasmtime.WasiConfig()
    config.argv = words
    config.env = list(os.environ.items())
    config.inherit_stdin()
    config.inherit_stdout()
    config.inherit_stderr()
    config.preopen_dir(".", ".")
    store.set_wasi(config)
    instance = linker.instantiate(store, wasmtime.Module.from_file(engine, words[0]))
    try:
        instance.exports(store)["_start"](store)
    except wasmtime.ExitTrap as trap:
        return int(trap.code)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - loaded in a millisecond
    sys.exit(main(sys.argv[1:]))
