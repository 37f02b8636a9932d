"""What asks for the newest binary of a branch that there is.

Tested by tests/e2e/test_latest.py and tests/programs/startcompile/test_command_line.py.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from buildtool.errors import UsageError
from buildtool.model.platforms import Value
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.startcompile.asking.wanted import BuildArguments
from buildtool.protocol.projects.latest import AskLatest
from buildtool.requester.latest import fetch_latest
from buildtool.requester.outcome import RequestResult
from buildtool.requester.requester import Requester

if TYPE_CHECKING:
    from buildtool.programs.startcompile.command_line import Arguments


Work = Callable[[Requester], Coroutine[Any, Any, RequestResult | list[RequestResult]]]


def latest(said: Arguments, local: dict[str, Value]) -> Work:
    """Return what fetches the newest binary of a branch, of each kind that is wanted; ``local`` is this machine's.

    Raises UsageError.
    """
    if not all(one.latest for one in said.asked):
        raise UsageError("some of it is to be built, and of some the newest binary is wanted: ask for them apart")
    questions = [_question(one, local) for one in said.asked]

    async def work(requester: Requester) -> RequestResult | list[RequestResult]:
        results: Sequence[RequestResult] = await fetch_latest(requester, questions, download=said.download)
        return results[0] if len(questions) == 1 else list(results)

    return work


def _question(asked: BuildArguments, local: dict[str, Value]) -> AskLatest:
    return AskLatest(
        asked.project.name, asked.tool.get("source", ""), asked.latest, asked.compile, asked.system, local,
        native=asked.native, sandbox=asked.sandbox or SandboxLevel.NONE,
    )  # fmt: skip
