"""What is said of a recipe that was tried: its plan, its artifact, and what a second run made otherwise."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from attrs import frozen

from buildtool.model.options import Canonical, shown
from buildtool.model.text import size_words
from buildtool.project.recipe import Command, Plan

MEMBERS = 40
"""Most members of an artifact that are listed for people."""

DIFFERENT = 10
"""Most members that differ of which each is told."""

_TIME = re.compile(
    rb"\d\d:\d\d:\d\d|\b(?:19|20)\d\d-\d\d-\d\d\b|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d "
)
_NAME = 20


@frozen
class MemberDifference:
    """One member that is not the same in both archives.

    ``only_in`` is 1 or 2 for one that the other archive lacks, else 0; ``modes`` are both if they differ, as octal
    digits. ``offset`` is the first byte that differs, -1 for none, and ``texts`` what stands around it in each.
    ``names_place`` says that the member holds the name of the directory in which it was built.
    """

    name: str
    only_in: int = 0
    modes: tuple[str, str] | None = None
    offset: int = -1
    texts: tuple[bytes, bytes] = (b"", b"")
    names_place: bool = False

    @property
    def advice(self) -> str:
        """What most likely made the difference, and the mend; "" where nothing tells."""
        if self.names_place:
            return "it names the directory that it was built in: have it left out (-ffile-prefix-map, -trimpath)"
        if all(map(_TIME.search, self.texts)):
            return "that looks like a time: have the tool take it from SOURCE_DATE_EPOCH, or leave it out"
        return ""


@frozen
class TriedWith:
    """The input of a trial; ``changed`` counts files that no commit has, and ``install`` installs what lacks.

    ``sandbox`` is the level of the sandbox that it is tried in, and ``sandbox_notes`` say why it is no better.
    """

    project: str
    recipe: int
    source: str
    commit: str
    changed: int
    platform: Canonical
    kind: str
    options: Canonical
    install: str = ""
    declined: str = ""
    sandbox: str = "none"
    sandbox_notes: tuple[str, ...] = ()


@frozen
class TriedRun:
    """One run of a recipe: how it ended (``end``) and why, and its artifact, at ``path`` if there is one.

    ``members`` are the mode, the size in bytes and the name of each file in it, and ``log_tail`` is the end of the log.
    """

    end: str
    reason: str = ""
    name: str = ""
    path: str = ""
    size: int = 0
    digest: str = ""
    seconds: float = 0.0
    members: tuple[tuple[str, int, str], ...] = ()
    log_tail: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether there is an artifact."""
        return bool(self.digest)


def head_lines(tried: TriedWith) -> list[str]:
    """Return what is about to be tried."""
    state = f"commit {tried.commit[:12]}" if tried.commit.strip("0") else "no commit: the revision is all zeros"
    if tried.changed:
        files = "1 file" if tried.changed == 1 else f"{tried.changed} files"
        state += f", and {files} that the farm will not see until committed"
    lines = [
        f"project    {tried.project}, recipe {tried.recipe}",
        f"sources    {tried.source} ({state})",
        f"platform   {tried.kind}: {shown(tried.platform)}",
        f"options    {shown(tried.options) or 'none'}",
        f"sandbox    {tried.sandbox}{''.join(f'; {note}' for note in tried.sandbox_notes)}",
    ]
    lines += [f"missing    {tried.install}"] if tried.install else []
    lines += [f"declined   a build server here would say: {tried.declined}"] if tried.declined else []
    return lines


def plan_lines(plan: Plan) -> list[str]:
    """Return a plan for people: each command as one may type it."""
    lines = ["plan"]
    lines += [f"  {'download':<{_NAME}} {one.url} as {one.path}, SHA-256 {one.sha256}" for one in plan.downloads]
    lines += [_command_line(command, "fetch: ") for command in plan.fetch]
    lines += (
        [f"  {'network':<{_NAME}} {', '.join(one.words() for one in plan.network)}, while it fetches"]
        if plan.fetch
        else []
    )
    lines += [_command_line(command) for command in plan.commands]
    lines += [f"  {'environment':<{_NAME}} {name}={shlex.quote(value)}" for name, value in plan.environment.items()]
    lines += [f"  {'deliverable':<{_NAME}} {name}" for name in plan.deliverables]
    return lines


def _command_line(command: Command, kind: str = "") -> str:
    where = "" if command.cwd == "." else f"cd {shlex.quote(command.cwd)} && "
    name = f"{kind}{command.name or command.argv[0]}"
    return f"  {name:<{_NAME}} {where}{shlex.join(command.argv)}"


def run_lines(run: TriedRun) -> list[str]:
    """Return how the first run ended: its artifact with the files in it, or why there is none."""
    if not run.succeeded:
        return [f"{run.end}: {run.reason}"]
    lines = [
        f"artifact   {run.name}, {size_words(run.size)}, after {run.seconds:.1f} s",
        f"digest     {run.digest}",
        f"kept in    {run.path}",
    ]
    lines += [f"  {mode} {size:>10} {name}" for mode, size, name in run.members[:MEMBERS]]
    more = len(run.members) - MEMBERS
    return [*lines, f"  and {more} more"] if more > 0 else lines


def second_lines(first: TriedRun, second: TriedRun, found: Sequence[MemberDifference]) -> list[str]:
    """Return what the second run, in another directory, made otherwise."""
    if not second.succeeded:
        return [f"again      {second.end}, though it was built once: {second.reason}", second.log_tail]
    if second.digest == first.digest:
        return ["again      the same bytes, in another directory"]
    count = f"{len(found)} of {len(first.members)} files differ" if found else "the files are the same, the zip is not"
    lines = [f"again      other bytes: {count}", f"digest     {second.digest}", f"kept in    {second.path}"]
    for one in found[:DIFFERENT]:
        lines += _difference_lines(one)
    more = len(found) - DIFFERENT
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _difference_lines(one: MemberDifference) -> Iterator[str]:
    if one.only_in:
        yield f"  {one.name}: only the {'first' if one.only_in == 1 else 'second'} run made it"
        return
    if one.modes is not None:
        yield f"  {one.name}: its mode is {one.modes[0]} and then {one.modes[1]}"
    if one.offset >= 0:
        yield f"  {one.name}: from byte {one.offset} on"
        for which, text in zip(("first", "second"), one.texts, strict=True):
            yield f"    {which:<6} {readable(text)}"
    if one.advice:
        yield f"    {one.advice}"


def readable(data: bytes) -> str:
    """Return bytes as one line: what is printable ASCII as it is, each other byte as a dot."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data) or "(its end)"  # noqa: PLR2004 - ASCII


def as_object(
    tried: TriedWith, plan: Plan | None, runs: Sequence[TriedRun], found: Sequence[MemberDifference]
) -> dict[str, object]:
    """Return everything as plain JSON data; ``runs`` are those that there were, the first of them first."""
    return {
        "project": tried.project,
        "recipe": tried.recipe,
        "source": tried.source,
        "revision": tried.commit,
        "changed": tried.changed,
        "kind": tried.kind,
        "platform": dict(tried.platform),
        "options": dict(tried.options),
        "install": tried.install,
        "declined": tried.declined,
        "sandbox": tried.sandbox,
        "sandbox_notes": list(tried.sandbox_notes),
        "plan": None if plan is None else _plan_object(plan),
        "runs": [_run_object(run) for run in runs],
        "same": runs[0].digest == runs[1].digest if len(runs) > 1 else None,
        "differences": [
            {
                "name": one.name,
                "only_in": one.only_in,
                "modes": None if one.modes is None else list(one.modes),
                "offset": one.offset,
                "advice": one.advice,
            }
            for one in found
        ],
    }


def _plan_object(plan: Plan) -> dict[str, object]:
    return {
        "downloads": [{"url": one.url, "sha256": one.sha256, "path": one.path} for one in plan.downloads],
        "network": [one.words() for one in plan.network],
        "fetch": [_command_object(one) for one in plan.fetch],
        "commands": [_command_object(one) for one in plan.commands],
        "environment": dict(plan.environment),
        "deliverables": list(plan.deliverables),
    }


def _command_object(command: Command) -> dict[str, object]:
    return {"name": command.name, "argv": list(command.argv), "cwd": command.cwd}


def _run_object(run: TriedRun) -> dict[str, object]:
    members = [{"mode": mode, "size": size, "name": name} for mode, size, name in run.members]
    return {
        "end": run.end,
        "reason": run.reason,
        "artifact": {
            "name": run.name, "path": run.path, "size": run.size, "digest": run.digest, "members": members,
        } if run.succeeded else None,
        "seconds": run.seconds,
    }  # fmt: skip
