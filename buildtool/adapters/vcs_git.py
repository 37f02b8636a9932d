"""Bare mirrors of git repositories: what a ref means now, which commits a range accepts, and keeping commits.

One mirror per repository address, kept by fetching. Refs are asked of the origin every time; a full id that is
mirrored needs no network. A moved branch costs two git processes, an unmoved one a single one, a known id none.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock

from buildtool.adapters.rounds import Rounds
from buildtool.adapters.trees import remove_tree
from buildtool.adapters.vcs_command import NOWHERE, GitCommand, explain, unreachable
from buildtool.adapters.vcs_process import Answer, TimedOut
from buildtool.adapters.vcs_refs import (
    REVRANGE_LIMIT,
    Near,
    check_ref,
    check_url,
    is_full_id,
    mask,
    may_be_short_id,
    parse_revrange,
)
from buildtool.errors import MachineFault, RepositoryUnreachable, UnknownRef, UsageError
from buildtool.ports import Executor

KNOWN_LIMIT = 20_000
"""How many commit ids are remembered per mirror as being there."""

LIST_LIMIT = 120.0
"""Seconds that a repository has to tell what its refs are."""

FETCH_LIMIT = 1800.0
"""Seconds that a fetch may take; one that stalls ends earlier."""

_ID = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_SHA256_DIGITS = 64
_TIPS_READ = 50_000
_ATTEMPTS = 3
_OF_SUBMODULES = re.compile(r"submodule\..*\.(?:url|active)\n", re.DOTALL)
_NOT_THERE = ("not our ref", "unadvertised object", "couldn't find remote ref")
_EVERYTHING = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class _NotThereError(RepositoryUnreachable):
    """The origin answered that it does not have, or does not give out, what it was asked for."""


@frozen
class _Listed:
    """A ref at the origin: its full name, what it points at, and the commit behind an annotated tag."""

    name: str
    target: str
    peeled: str


@define
class Mirror:
    """One repository's mirror on disk, and what is known of it without asking git.

    Whoever fetches into it, or adds a work tree to it, holds ``lock``.
    """

    url: str
    path: Path
    lock: DeferredLock = field(factory=DeferredLock)
    known: OrderedDict[str, None] = field(factory=OrderedDict)
    pinned: OrderedDict[str, None] = field(factory=OrderedDict)

    @property
    def settings(self) -> Path:
        """Where the mirror's own configuration is kept as it was made, for ``GitMirror.restore``."""
        return self.path.with_suffix(".config")

    def forget(self) -> None:
        """Believe nothing of what is in the mirror."""
        self.known.clear()
        self.pinned.clear()

    def remember(self, commit: str) -> str:
        """Note that ``commit`` is a commit of the mirror, and return it."""
        return _remember(self.known, commit)


def _remember(ids: OrderedDict[str, None], commit: str) -> str:
    ids[commit] = None
    ids.move_to_end(commit)
    if len(ids) > KNOWN_LIMIT:
        ids.popitem(last=False)
    return commit


class GitMirror:
    """All mirrors below one directory, which belongs to this program alone. Call it in the reactor's thread.

    Implements ``ports.SourceResolver``. git runs in the threads of ``pool``.
    """

    def __init__(self, directory: Path, pool: Executor) -> None:
        self._directory = directory
        self._pool = pool
        self._mirrors: dict[str, Mirror] = {}
        self._listings: Rounds[dict[str, str]] = Rounds()
        self._fetches: Rounds[frozenset[str]] = Rounds()
        self.command = GitCommand(directory / "gitconfig")

    def close(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """End every git process that still runs; whoever waits for one gets an error. For the program's own end."""
        self.command.close(signum)

    def mirror(self, url: str) -> Mirror:
        """Return the mirror of ``url``, which need not be on disk yet. Raises RepositoryUnreachable for no address."""
        found = self._mirrors.get(url)
        if found is None:
            check_url(url)
            found = self._mirrors[url] = Mirror(url, self._directory / f"{directory_name(url)}.git")
            _unlock(found.path)
        return found

    async def restore(self, url: str) -> None:
        """Undo what a build did to the mirror behind its work tree; a mirror that is damaged or gone is made anew.

        A work tree shares its settings with the mirror, so ``git config`` in a build (a hooks path, a filter, sparse
        checkouts) would rule every later checkout on this machine.
        """
        mirror = self.mirror(url)
        await mirror.lock.run(self._pool.run, lambda: self._restore(mirror))

    def _restore(self, mirror: Mirror) -> None:
        own = mirror.path / "config"
        try:
            wanted = mirror.settings.read_bytes()
            if own.read_bytes() == wanted or self._harmless(mirror):
                return
            fresh = mirror.settings.with_suffix(".new")
            fresh.write_bytes(wanted)
            fresh.replace(own)
        except FileNotFoundError:
            remove_tree(mirror.path)
            mirror.forget()
        except OSError as error:
            raise MachineFault(f"cannot restore the mirror {mirror.path}: {error.strerror}") from error

    def _harmless(self, mirror: Mirror) -> bool:
        """Whether the settings differ (blocking) only by what git itself notes of submodules."""

        def names(path: Path) -> set[str] | None:
            answer = self.command.run(("config", "--file", str(path), "--null", "--list"), git_dir=NOWHERE)
            entries = answer.text.split("\0")
            return None if answer.code else {entry for entry in entries if not _OF_SUBMODULES.match(entry)}

        now = names(mirror.path / "config")
        return now is not None and now == names(mirror.settings)

    async def resolve(self, url: str, ref: str) -> str:
        """Return the full id of the commit that ``ref`` is at the origin now.

        ``ref`` is ``HEAD``, a branch, a tag, a full ref name, or a commit id (abbreviated if that is unambiguous).
        Raises UnknownRef, RepositoryUnreachable.
        """
        mirror = self.mirror(url)
        check_ref(ref, url)
        if is_full_id(ref):
            return await self._resolve_id(mirror, ref.lower())
        for _ in range(_ATTEMPTS):
            there = await self._list(mirror, ref)
            listed = _choose(there, ref, url)
            if listed is None:
                break
            if await self._obtain(mirror, listed):
                return await self._commit_of(mirror, listed)
        else:
            raise RepositoryUnreachable(f"{mask(url)} changes faster than it can be fetched: try again")
        if may_be_short_id(ref):
            return await self._resolve_short(mirror, ref.lower(), len(there.get("HEAD", "")))
        raise UnknownRef(f"{mask(url)} has no branch, tag or commit {ref!r}")

    async def fetch_commit(self, url: str, commit: str) -> None:
        """See to it that ``commit`` (a full id) is in the mirror; the network is used only if it is not.

        Raises UnknownRef, RepositoryUnreachable.
        """
        await self.resolve(url, _full(commit, url))

    async def pin(self, url: str, commit: str) -> None:
        """Keep ``commit``, which is in the mirror, whatever is deleted or overwritten at the origin."""
        mirror = self.mirror(url)
        commit = _full(commit, url)
        if commit in mirror.pinned:
            return
        answer = await self._git(mirror, "update-ref", f"refs/pins/{commit}", commit)
        if answer.code:
            raise UnknownRef(f"commit {commit} of {mask(url)} cannot be pinned: {explain(answer)}")
        _remember(mirror.pinned, commit)

    async def acceptable(self, url: str, commit: str, revrange: str) -> tuple[str, ...]:
        """Return the commits that ``revrange`` accepts, nearest to ``commit`` first; ``commit`` itself is the first.

        ``N`` accepts what lies at most N first-parent steps before ``commit``, or after it on the way from a branch;
        of two equally near ones the older comes first. ``A..B`` accepts the first-parent line of ``commit``, which is
        what B resolved to, back to A, both ends included. ``commit`` must be in the mirror.

        Raises UsageError for a range that is none or accepts over 1,000 commits; UnknownRef if A is not on the line.
        """
        mirror = self.mirror(url)
        commit = _full(commit, url)
        asked = parse_revrange(revrange)
        if asked == Near(0):
            return (commit,)
        if isinstance(asked, Near):
            return await self._near(mirror, commit, asked.steps)
        first = await self.resolve(url, asked.first)
        line = await self._line(mirror, commit, REVRANGE_LIMIT)
        if first not in line:
            raise UnknownRef(
                f"{asked.first!r} ({first[:12]}) is not among the last {REVRANGE_LIMIT} commits "
                f"of the first-parent line of {asked.last!r} ({commit[:12]})"
            )
        return tuple(line[: line.index(first) + 1])

    async def _near(self, mirror: Mirror, commit: str, steps: int) -> tuple[str, ...]:
        older = await self._line(mirror, commit, steps + 1)
        distance = {commit: 0}

        def child(line: bytes) -> None:
            # Parents come before their children, so one pass finds every line that starts at the commit.
            ids = line.decode("ascii").split(" ")
            if len(ids) > 1 and distance.get(ids[1], steps) < steps and len(distance) <= REVRANGE_LIMIT:
                distance[ids[0]] = distance[ids[1]] + 1

        def walk() -> Answer:
            order = ("--first-parent", "--parents", "--reverse", "--topo-order")
            arguments = ("rev-list", *order, "--branches", f"^{commit}")
            return self.command.run(arguments, git_dir=mirror.path, on_line=child)

        _require(await self._pool.run(walk), mirror)
        ranked = [(near, 0, one) for near, one in enumerate(older)]
        ranked += [(near, 1, one) for one, near in distance.items() if near]
        if len(ranked) > REVRANGE_LIMIT:
            raise UsageError(f"revrange {steps} accepts more than {REVRANGE_LIMIT} revisions here: choose fewer steps")
        return tuple(one for _, _, one in sorted(ranked))

    async def _line(self, mirror: Mirror, commit: str, most: int) -> list[str]:
        """Return ``commit`` and its first-parent ancestors, newest first."""
        arguments = ("rev-list", "--first-parent", f"--max-count={most}", "--end-of-options", commit)
        answer = _require(await self._git(mirror, *arguments), mirror)
        return answer.text.split()

    async def _resolve_id(self, mirror: Mirror, commit: str) -> str:
        if commit in mirror.known:
            return commit
        found = await self._look_up(mirror, commit)
        if found is None:
            await self._fetch(mirror, len(commit))
            found = await self._look_up(mirror, commit)
        if found is None and await self._fetch_one(mirror, commit, f"refs/fetched/{commit}", len(commit)):
            found = await self._look_up(mirror, commit)
        if found is None:
            raise UnknownRef(f"{mask(mirror.url)} has no commit {commit}")
        return found

    async def _resolve_short(self, mirror: Mirror, prefix: str, id_length: int) -> str:
        found = await self._look_up(mirror, prefix)
        if found is None:
            await self._fetch(mirror, id_length)
            found = await self._look_up(mirror, prefix)
        if found is None:
            raise UnknownRef(f"{mask(mirror.url)} has no branch, tag or commit {prefix!r}")
        return found

    async def _look_up(self, mirror: Mirror, object_id: str) -> str | None:
        """Return the commit that a full or abbreviated id names in the mirror, or None."""
        if not mirror.path.exists():
            return None
        answer = await self._git(mirror, "rev-parse", "--verify", "--end-of-options", f"{object_id}^{{commit}}")
        if "is ambiguous" in answer.err:
            raise UnknownRef(f"{object_id!r} abbreviates several commits of {mask(mirror.url)}: give more digits")
        # A prefix could also be the name of some ref of the mirror: only what it abbreviates is meant.
        if answer.code or not (is_full_id(object_id) or answer.text.startswith(object_id)):
            return None
        return mirror.remember(answer.text)

    async def _list(self, mirror: Mirror, ref: str) -> dict[str, str]:
        """Return what the origin has under the names that ``ref`` may mean, each with the id it points at."""
        names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        wanted = {"HEAD", *names, *(f"{name}^{{}}" for name in names)}

        def ask() -> dict[str, str]:
            listed: dict[str, str] = {}

            def line(text: bytes) -> None:
                object_id, _, name = text.partition(b"\t")
                if _ID.match(object_id) and name.decode("utf-8", "replace") in wanted:
                    listed[name.decode("utf-8")] = object_id.decode("ascii")

            arguments = ("ls-remote", "--quiet", "--end-of-options", "origin", *sorted(wanted))
            self._network(mirror, arguments, NOWHERE, LIST_LIMIT, line)
            return listed

        return await self._listings.share(f"{ref} {mirror.url}", lambda: self._pool.run(ask))

    async def _obtain(self, mirror: Mirror, listed: _Listed) -> bool:
        """See to it that what was listed is in the mirror; False if the origin has changed meanwhile."""
        if listed.peeled in mirror.known:
            return True
        size = len(listed.target)
        usual = listed.name.startswith(("refs/heads/", "refs/tags/")) or listed.name == "HEAD"
        if usual and listed.target in await self._fetch(mirror, size):
            return True
        # Neither branch nor tag, or moved on since it was listed, or one tip among very many.
        kept = f"refs/fetched/{listed.target}"
        await self._fetch_one(mirror, listed.target, kept, size)
        return await self._look_up(mirror, listed.target) is not None

    async def _commit_of(self, mirror: Mirror, listed: _Listed) -> str:
        if listed.peeled in mirror.known:
            return listed.peeled
        if listed.name.startswith("refs/heads/") or listed.name == "HEAD":
            return mirror.remember(listed.peeled)
        found = await self._look_up(mirror, listed.target)  # a tag may point at anything
        if found is None:
            raise UnknownRef(f"{listed.name} of {mask(mirror.url)} is no commit")
        return found

    async def _fetch(self, mirror: Mirror, id_length: int) -> frozenset[str]:
        """Fetch all branches and tags and return the ids they point at; a run that began after now is shared."""

        def fetch() -> frozenset[str]:
            self._create(mirror, id_length)
            arguments = ("fetch", "--quiet", "--prune", "--no-tags", "--force", "--no-recurse-submodules")
            self._network(mirror, (*arguments, "origin", *_EVERYTHING), mirror.path, FETCH_LIMIT)
            return _fetched(mirror.path)

        return await self._fetches.share(mirror.url, lambda: mirror.lock.run(self._pool.run, fetch))

    async def _fetch_one(self, mirror: Mirror, object_id: str, kept: str, id_length: int) -> bool:
        """Fetch one object by its id, if the origin gives it out, and keep it under a ref; False if it does not."""

        def fetch() -> bool:
            self._create(mirror, id_length)
            arguments = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "origin", f"+{object_id}:{kept}")
            try:
                self._network(mirror, arguments, mirror.path, FETCH_LIMIT)
            except _NotThereError:
                return False
            return True

        return await mirror.lock.run(self._pool.run, fetch)

    def _network(
        self,
        mirror: Mirror,
        arguments: tuple[str, ...],
        git_dir: Path,
        limit: float,
        on_line: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """Run (blocking) what talks to the origin, and turn its failures into errors of ours."""
        try:
            answer = self.command.run(arguments, git_dir=git_dir, url=mirror.url, limit=limit, on_line=on_line)
        except TimedOut as error:
            raise RepositoryUnreachable(f"cannot read {mask(mirror.url)}: {error}") from error
        if answer.code:
            if any(words in answer.err for words in _NOT_THERE):
                raise _NotThereError(f"cannot read {mask(mirror.url)}: {explain(answer)}")
            raise unreachable(mirror.url, answer)
        return answer

    def _create(self, mirror: Mirror, id_length: int) -> None:
        """Make the mirror (blocking) if it is not there; a mirror that is there is whole."""
        if mirror.path.exists():
            return
        new = mirror.path.with_name(f"{mirror.path.name}.new")
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.parent.mkdir(parents=True, exist_ok=True)
            form = "sha256" if id_length == _SHA256_DIGITS else "sha1"
            arguments = ("init", "--quiet", "--bare", "--template=", f"--object-format={form}", str(new))
            _require(self.command.run(arguments), mirror)
            shutil.copyfile(new / "config", mirror.settings)
            new.rename(mirror.path)
        except OSError as error:
            raise MachineFault(f"cannot make the mirror {mirror.path}: {error.strerror}") from error

    async def _git(self, mirror: Mirror, *arguments: str) -> Answer:
        return await self._pool.run(lambda: self.command.run(arguments, git_dir=mirror.path))


def directory_name(url: str) -> str:
    """Return a file name for ``url``: readable, without passwords, and different for different addresses."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", mask(url).removesuffix(".git")).strip("-")[-40:].strip("-")
    return f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _choose(there: dict[str, str], ref: str, url: str) -> _Listed | None:
    """Pick what ``ref`` means among the names that the origin has."""
    exact = ref == "HEAD" or ref.startswith("refs/")
    names = [ref] if exact else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    found = [_Listed(name, there[name], there.get(f"{name}^{{}}", there[name])) for name in names if name in there]
    if len({one.peeled for one in found}) > 1:
        raise UnknownRef(f"{ref!r} is a branch and a tag of {mask(url)}: say refs/heads/{ref} or refs/tags/{ref}")
    return found[0] if found else None


def _full(commit: str, url: str) -> str:
    if not is_full_id(commit):
        raise UnknownRef(f"{commit[:80]!r} is not a full commit id of {mask(url)}")
    return commit.lower()


def _require(answer: Answer, mirror: Mirror) -> Answer:
    """Pass on the answer of what can fail only if this machine's mirror or disk is at fault."""
    if answer.code:
        raise MachineFault(f"the mirror {mirror.path} of {mask(mirror.url)} is unusable: {explain(answer)}")
    return answer


def _fetched(path: Path) -> frozenset[str]:
    """Return the ids that the last fetch brought or confirmed, as far as they are worth reading."""
    found = set()
    with (path / "FETCH_HEAD").open("rb") as lines:
        for _, line in zip(range(_TIPS_READ), lines, strict=False):
            found.add(line.partition(b"\t")[0].decode("ascii", "replace"))
    return frozenset(found)


def _unlock(path: Path) -> None:
    """Remove what a git process left locked when it was killed; nobody else uses the mirror, and none runs yet."""
    for lock in (*path.glob("*.lock"), *(path / "refs").rglob("*.lock")):
        lock.unlink(missing_ok=True)
