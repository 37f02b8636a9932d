"""An Executor for work that peers cause: their turns alternate, and what nobody waits for any more is dropped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.concurrency.asker import Asker, asker, hung_up
from buildtool.concurrency.fair_queue import FairQueue
from buildtool.ports.common import Executor

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
    """A runner of at most ``size`` functions at once in ``pool``, and from one address at most all but one.

    Askers take turns, so that one who asks much waits behind its own questions only. A function whose asker leaves
    before it began is not run; one that runs ends by itself (``vcs.process`` ends the process that it waits for).
    """

    def __init__(self, pool: Executor, size: int) -> None:
        self._pool = pool
        self._size = size
        self._share = max(1, size - 1)
        self._waiting: FairQueue[_Task] = FairQueue()
        self._running: Counter[str] = Counter()
        self._starting = False

    async def run(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, or raise what it raises. Raises Unavailable when the asker has left."""
        task = _Task(function, asker())
        if task.asker.gone:
            raise hung_up()
        self._waiting.put(task.asker, (task,))
        forget = task.asker.when_gone(lambda: self._drop(task))
        self._begin()
        try:
            result: T = await task.done
        finally:
            forget()
        return result

    def _drop(self, task: _Task) -> None:
        if self._waiting.drop(task.asker, task):
            task.done.errback(hung_up())

    def _begin(self) -> None:
        """Start what may start; what ends at once, as all does once the pool has stopped, starts no more by itself."""
        if self._starting:
            return
        self._starting = True
        while self._running.total() < self._size:
            tasks = self._waiting.take(lambda address: self._running[address] >= self._share)
            if not tasks:
                break
            task, *rest = tasks
            self._waiting.put(task.asker, rest)
            self._running[task.asker.address] += 1
            Deferred.fromCoroutine(self._pool.run(task.run)).addBoth(self._ended, task)
        self._starting = False

    def _ended(self, outcome: object, task: _Task) -> None:
        self._running[task.asker.address] -= 1
        if not self._running[task.asker.address]:
            del self._running[task.asker.address]
        if isinstance(outcome, Failure):
            task.done.errback(outcome)
        else:
            task.done.callback(outcome)
        self._begin()
