"""What can still be read of a damaged mirror, brought into a new one.

Objects are known by the digest of their content, so whatever of them can be read is right. Most of it the origin has
too; a commit that was pinned, and was overwritten there since, is nowhere else. Everything here blocks.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git.command import GitCommand
from buildtool.adapters.vcs.git.ids import RepositoryObjects, Unreadable, loose

LIMIT = 3_600.0
"""Seconds that each step may take."""

SINGLY = 1_000
"""Most commits that are brought one by one out of a pack that cannot be read to its end."""

_PACKED = re.compile(r"(?m)^([0-9a-f]{40}(?:[0-9a-f]{24})?) (refs/(?:heads|tags|pins|fetched)/\S+)$")
_LOOSE = re.compile(r"([0-9a-f]{40}(?:[0-9a-f]{24})?)\n?\Z")
_DANGLING = re.compile(r"(?m)^dangling commit ([0-9a-f]+)$")
_KEPT = ("refs/pins/", "refs/fetched/")


def salvage(command: GitCommand, old: Path, new: Path, digits: int, owed: Iterable[str]) -> set[str]:
    """Copy all that is whole from ``old`` to ``new``, both repositories with ids of so many digits.

    ``owed`` are the ids of commits that were pinned. Returns those that could not be brought. Raises OSError, TimedOut.
    """
    return _Salvage(command, old, new, digits).bring(owed)


class _Salvage:
    def __init__(self, command: GitCommand, old: Path, new: Path, digits: int) -> None:
        self._command = command
        self._old = old
        self._new = new
        self._digits = digits
        self._objects = RepositoryObjects(command, new, digits)

    def bring(self, owed: Iterable[str]) -> set[str]:
        refs = self._refs()
        pins = {one: f"refs/pins/{one}" for one in owed} | {
            name.rpartition("/")[2]: name for name in refs if name.startswith(_KEPT)
        }
        wanted = {**refs, **{name: one for one, name in pins.items()}}
        damaged = self._bring_packs()
        self._bring_files()
        self._bring_shallow()
        if damaged:
            self._bring_singly(sorted(set(wanted.values()), key=lambda one: one not in pins))
        whole = self._complete(sorted(set(wanted.values())))
        self._set({name: one for name, one in wanted.items() if one in whole})
        self._pin_dangling()
        self._command.run(("gc", "--quiet", "--prune=now"), git_dir=self._new, limit=LIMIT)
        return {one for one in pins if one not in whole}

    def _refs(self) -> dict[str, str]:
        """Return what can be read of the refs, which may be in any state."""
        refs = {name: one for one, name in _PACKED.findall(text_of(self._old / "packed-refs"))}
        for kind in ("heads", "tags", "pins", "fetched"):
            for file in (self._old / "refs" / kind).rglob("*"):
                found = _LOOSE.match(text_of(file)) if file.is_file() else None
                name = file.relative_to(self._old).as_posix()
                if found:
                    refs[name] = found[1]
                elif kind in {"pins", "fetched"} and _LOOSE.match(file.name):
                    refs[name] = file.name
        return {name: one for name, one in refs.items() if len(one) == self._digits}

    def _bring_packs(self) -> bool:
        """Bring the packs that can be read to their ends, whatever their indexes say; return whether some cannot."""
        damaged = False
        for pack in sorted((self._old / "objects" / "pack").glob("*.pack")):
            if not pack.is_file():
                continue
            with pack.open("rb") as stream:
                answer = self._command.run(("index-pack", "--stdin"), git_dir=self._new, given=stream, limit=LIMIT)
            damaged = damaged or answer.code != 0
        return damaged

    def _bring_files(self) -> None:
        for one, sound in loose(self._old, self._digits):
            target = self._new / "objects" / one[:2] / one[2:]
            if sound and not target.exists():
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(self._old / "objects" / one[:2] / one[2:], target)

    def _bring_shallow(self) -> None:
        lines = text_of(self._old / "shallow").split()
        there = self._kinds([one for one in lines if len(one) == self._digits])
        if there:
            (self._new / "shallow").write_text("".join(f"{one}\n" for one in there), encoding="ascii")

    def _bring_singly(self, wanted: Sequence[str]) -> None:
        """Ask git to read what it can of the damaged packs: all that is wanted at once, or else each by itself."""
        for name in ("config", "HEAD", "packed-refs", "refs"):
            remove_tree(self._old / name)
        shutil.copyfile(self._new / "config", self._old / "config")
        (self._old / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")
        (self._old / "refs").mkdir()
        missing = [one for one in wanted if one not in self._complete([one])][:SINGLY]
        if missing and not self._fetch(missing):
            for one in missing:
                self._fetch([one])

    def _fetch(self, ids: Sequence[str]) -> bool:
        arguments = (
            "fetch",
            "--quiet",
            "--no-tags",
            "--update-shallow",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
        )
        specs = [f"+{one}:refs/salvaged/{one}" for one in ids]
        return (
            self._command.run(
                (*arguments, "origin", *specs), git_dir=self._new, url=f"file://{self._old}", limit=LIMIT
            ).code
            == 0
        )

    def _complete(self, ids: Sequence[str]) -> set[str]:
        """Return those of these commits and tags of which everything is there."""
        there = self._kinds(ids)
        return self._halved([one for one in ids if one in there])

    def _halved(self, ids: Sequence[str]) -> set[str]:
        if not ids or self._objects.complete(ids):
            return set(ids)
        if len(ids) == 1:
            return set()
        middle = len(ids) // 2
        return self._halved(ids[:middle]) | self._halved(ids[middle:])

    def _kinds(self, ids: Collection[str]) -> Mapping[str, object]:
        try:
            return self._objects.kinds(ids)
        except Unreadable:
            return {}

    def _set(self, refs: Mapping[str, str]) -> None:
        """Set refs; where all at once cannot be, because two were never there at one time, each by itself."""
        lines = [f"update {name} {one}\n" for name, one in sorted(refs.items())]
        if not self._update(lines):
            for line in lines:
                self._update([line])
        salvaged = self._command.run(("for-each-ref", "--format=delete %(refname)", "refs/salvaged"), git_dir=self._new)
        self._update(salvaged.out.decode("utf-8", "surrogateescape").splitlines(keepends=True))

    def _update(self, lines: Sequence[str]) -> bool:
        given = "".join(lines).encode("utf-8", "surrogateescape")
        return self._command.run(("update-ref", "--stdin"), git_dir=self._new, given=given).code == 0

    def _pin_dangling(self) -> None:
        """Pin whole commits that no ref leads to: their pins were lost, or the pin of one that they lead to was."""
        arguments = ("fsck", "--connectivity-only", "--dangling", "--no-reflogs", "--no-progress")
        found = _DANGLING.findall(self._command.run(arguments, git_dir=self._new, limit=LIMIT).text)[:SINGLY]
        self._set({f"refs/pins/{one}": one for one in self._complete(found)})


def text_of(path: Path) -> str:
    """Return what is in a file, "" where there is none that can be read."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
    except OSError:
        return ""
