"""What Twisted loads, and a requester never uses, is not loaded for one: half the time of its start.

Of what stands in the way here Twisted needs no more than the names while it is loaded. Tested by
tests/programs/startcompile/test_starts.py; docs/adr has why.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _TypingExtensions(ModuleType):
    """Most names of ``typing_extensions``: those that Python itself has; for another one all of it is loaded."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # what the machinery of imports asks of a module
            raise AttributeError(name)
        if name == "TypeVar":
            return _type_variable
        if name == "override":
            return getattr(typing, name, lambda method: method)
        if hasattr(typing, name):
            return getattr(typing, name)
        del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _type_variable(name: str, *constraints: type, **how: Any) -> object:  # noqa: ANN401
    """Return a TypeVar; what it is by default, which Python 3.13 has first, matters to type checkers only."""
    return typing.TypeVar(name, *constraints, **{key: value for key, value in how.items() if key != "default"})


def _asyncio() -> ModuleType:
    """Return the names that a Deferred wants of ``asyncio``, for conversions that nobody asks for here."""
    made = ModuleType("asyncio")
    for name in ("AbstractEventLoop", "Future"):
        setattr(made, name, type(name, (), {}))
    made.iscoroutine = inspect.iscoroutine  # type: ignore[attr-defined] # it is a stand-in
    return made


@contextmanager
def sparing() -> Iterator[None]:
    """Keep from being loaded, within, what Twisted can do without; afterwards all of it can be loaded as ever.

    Without OpenSSL no transport can change over to TLS, but ``OverTls`` needs none that does.
    """
    stand_ins: dict[str, ModuleType | None] = {
        "OpenSSL": None,
        "asyncio": _asyncio(),
        "typing_extensions": _TypingExtensions("typing_extensions"),
    }
    placed = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(placed)  # type: ignore[arg-type] # None says that there is none
    _load_late("http.cookiejar")
    try:
        yield
    finally:
        for name, module in placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _load_late(name: str) -> None:
    """Have a module loaded when something of it is used first."""
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    package, _, last = name.rpartition(".")
    setattr(importlib.import_module(package), last, module)  # where it is looked for first, and not touched
