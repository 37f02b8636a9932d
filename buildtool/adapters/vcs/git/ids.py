"""What a repository's objects are, asked by their ids alone, or read without git where they are files of their own.

Ids and names are two things. git takes most texts for either, and a hostile repository has branches that are called
like the ids of commits: so nothing that a person or an origin wrote is given to git where a ref could be meant.
Everything here blocks.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from buildtool.adapters.vcs.git.command import GitCommand, need
from buildtool.adapters.vcs.process import ProcessOutput

SHA1_DIGITS = 40
SHA256_DIGITS = 64

BUNDLE_HEADERS = {
    SHA1_DIGITS: "# v2 git bundle\n",
    SHA256_DIGITS: "# v3 git bundle\n@object-format=sha256\n",
}
"""How git's bundles begin, by the length of their ids."""

_PIECE = 1024 * 1024
_WORDS = 3
_IDS = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


class Unreadable(Exception):
    """The repository cannot tell: it is damaged, or not there. The text is git's own."""


@frozen
class ObjectKind:
    """The kind of an object: ``commit``, ``tag``, ``tree`` or ``blob``; and the commit that it leads to, if any."""

    name: str
    commit: str | None


class RepositoryObjects:
    """The objects of one repository. Raises Unreadable where it cannot tell."""

    def __init__(self, command: GitCommand, path: Path, digits: int) -> None:
        """``digits`` is the length of the repository's ids, in hex digits."""
        self._command = command
        self._path = path
        self._digits = digits

    def kinds(self, ids: Iterable[str]) -> Mapping[str, ObjectKind]:
        """Return what each of these full ids names; those of objects that are not there are left out."""
        asked = [one for one in ids if len(one) == self._digits and _IDS.match(one)]
        if not asked:
            return {}
        given = "".join(f"{one}\n{one}^{{commit}}\n" for one in asked)
        lines = self._asked("cat-file", "--batch-check", given=given.encode("ascii")).text.splitlines()
        if len(lines) != 2 * len(asked):
            raise Unreadable("git cat-file does not answer as it should")
        found: dict[str, ObjectKind] = {}
        for one, plain, peeled in zip(asked, lines[::2], lines[1::2], strict=True):
            words, behind = plain.split(" "), peeled.split(" ")
            # The answer is about the id that was asked for, or it is none.
            if len(words) == _WORDS and words[0] == one:
                is_commit = len(behind) == _WORDS and behind[1] == "commit" and bool(_IDS.match(behind[0]))
                found[one] = ObjectKind(words[1], behind[0] if is_commit else None)
        return found

    def beginning(self, prefix: str) -> Sequence[str]:
        """Return the ids of all objects, of any kind, that begin with these at least four hex digits."""
        answer = self._asked("rev-parse", f"--disambiguate={prefix}")
        return [line for line in answer.text.splitlines() if line.startswith(prefix) and len(line) == self._digits]

    def complete(self, ids: Sequence[str]) -> bool:
        """Return whether all that these commits and tags lead to is there."""
        given = "".join(f"{one}\n" for one in ids)
        arguments = ("rev-list", "--objects", "--quiet", "--stdin")
        return self._run(*arguments, given=given.encode("ascii")).code == 0

    def _asked(self, *arguments: str, given: bytes | None = None) -> ProcessOutput:
        return need(self._run(*arguments, given=given), Unreadable)

    def _run(self, *arguments: str, given: bytes | None = None) -> ProcessOutput:
        if not self._path.is_dir():
            raise Unreadable(f"{self._path} is not there")
        return self._command.run(arguments, git_dir=self._path, given=given)


def loose(path: Path, digits: int) -> Iterator[tuple[str, bool]]:
    """Yield the id of every object that is a file of its own, and whether its content is what the id says."""
    for directory in sorted((path / "objects").glob("[0-9a-f][0-9a-f]")):
        for file in sorted(directory.iterdir()) if directory.is_dir() else ():
            one = directory.name + file.name
            if len(one) == digits and file.is_file():
                yield one, _id_of(file, digits) == one


def _id_of(file: Path, digits: int) -> str:
    """Return the id of what is in a file of one object, "" where that cannot be read."""
    digest = hashlib.sha256() if digits == SHA256_DIGITS else hashlib.sha1(usedforsecurity=False)
    inflate = zlib.decompressobj()
    try:
        with file.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(inflate.decompress(piece))
    except (OSError, zlib.error):
        return ""
    return digest.hexdigest() if inflate.eof else ""
