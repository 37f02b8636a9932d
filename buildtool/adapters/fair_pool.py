"""An Executor for work that peers cause: their turns alternate, and what nobody waits for any more is dropped."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.asker import Asker, asker, hung_up
from buildtool.ports import Executor

T = TypeVar("T")

_here = threading.local()


def worked_for() -> Asker | None:
    """Return, in a thread of a ``FairPool``, for whom its function is run."""
    found: Asker | None = getattr(_here, "asker", None)
    return found


@define(eq=False)
class _Task:
    function: Callable[[], Any]
    asker: Asker
    done: Deferred[Any] = field(factory=Deferred)

    def run(self) -> Any:  # noqa: ANN401 - what the function returns
        _here.asker = self.asker
        try:
            return self.function()
        finally:
            _here.asker = None


class FairPool:
    """Runs at most ``size`` functions at once in ``pool``, and of one asker's name at most all but one.

    Names take turns, so that whoever asks much waits behind its own questions only. A function whose asker leaves
    before it began is not run; one that runs ends by itself (``vcs_command`` ends the process that it waits for).
    """

    def __init__(self, pool: Executor, size: int) -> None:
        self._pool = pool
        self._size = size
        self._share = max(1, size - 1)
        self._waiting: dict[str, deque[_Task]] = {}
        self._running: Counter[str] = Counter()

    async def run(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, or raise what it raises. Raises Unavailable when the asker has left."""
        task = _Task(function, asker())
        if task.asker.gone:
            raise hung_up()
        self._waiting.setdefault(task.asker.name, deque()).append(task)
        forget = task.asker.when_gone(lambda: self._drop(task))
        self._begin()
        try:
            result: T = await task.done
        finally:
            forget()
        return result

    def _drop(self, task: _Task) -> None:
        queue = self._waiting.get(task.asker.name, deque())
        if task in queue:
            queue.remove(task)
            if not queue:
                del self._waiting[task.asker.name]
            task.done.errback(hung_up())

    def _begin(self) -> None:
        """Start what may start, one of each name in turn."""
        while self._running.total() < self._size:
            name = next((one for one in self._waiting if self._running[one] < self._share), None)
            if name is None:
                return
            queue = self._waiting.pop(name)
            task = queue.popleft()
            if queue:
                self._waiting[name] = queue  # behind all others
            self._running[name] += 1
            Deferred.fromCoroutine(self._pool.run(task.run)).addBoth(self._ended, task)

    def _ended(self, outcome: object, task: _Task) -> None:
        self._running[task.asker.name] -= 1
        if not self._running[task.asker.name]:
            del self._running[task.asker.name]
        if isinstance(outcome, Failure):
            task.done.errback(outcome)
        else:
            task.done.callback(outcome)
        self._begin()
