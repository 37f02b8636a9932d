"""How an operator's act is answered, and how that is told.

Tested by tests/programs/metaserver/test_operator_commands.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from attrs import AttrsInstance, frozen

A = TypeVar("A", bound=AttrsInstance)


@frozen
class Answer(Generic[A]):
    """The kind of answer that an act gets, and how that is told to people, line by line.

    ``beside`` has what is said on standard error, which a script that keeps the answer does not want in it.
    """

    kind: type[A]
    lines: Callable[[A], Iterable[str]]
    beside: Callable[[A], Iterable[str]] = lambda _told: ()
