"""Where submodules are: what ``.gitmodules`` says, and what a relative address means."""

from __future__ import annotations

import os
import re
import stat
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

from attrs import frozen

from buildtool.adapters.vcs.git.command import NOWHERE, GitCommand, need
from buildtool.adapters.vcs.git.objects import shown
from buildtool.adapters.vcs.git.reader import Manifest, ObjectReader
from buildtool.adapters.vcs.refs import check_url, mask
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.errors import RepositoryUnreachable, SourceUnusable

KNOWN_LIMIT = 1_000
"""How many versions of ``.gitmodules`` are remembered."""

_KEY = re.compile(r"submodule\.(.*)\.(path|url|update)\Z", re.DOTALL | re.IGNORECASE)
_MODULES = b".gitmodules"
_PARTS = re.compile(r"[/\\]")
_UP = re.compile(r"\.\.?(?:/|\Z)")


@frozen
class Submodule:
    """A submodule: name, path below the top, repository, commit; not ``wanted`` with ``update = none``."""

    name: str
    path: bytes
    url: str
    commit: str
    wanted: bool = True


class SubmoduleReader:
    """A reader of ``.gitmodules``, each version once. Its methods block and may be called from several threads."""

    def __init__(self, command: GitCommand) -> None:
        self._command = command
        self._known: OrderedDict[bytes, Mapping[str, Mapping[str, str]]] = OrderedDict()
        self._lock = Lock()

    def of(self, reader: ObjectReader, manifest: Manifest, url: str) -> tuple[Submodule, ...]:
        """Return the submodules of a commit of the repository ``url``. Raises SourceUnusable."""
        links = manifest.gitlinks
        if not links:
            return ()
        found = manifest.find(_MODULES)
        if found is not None and not stat.S_ISREG(found[0]):
            found = None  # a directory or a submodule of that name says nothing, to git neither
        sections = {} if found is None else self._sections(reader, found[1])
        by_path = {one["path"].rstrip("/"): (name, one) for name, one in sections.items() if "path" in one}
        return tuple(_submodule(path, commit, by_path, url) for path, commit in sorted(links.items()))

    def _sections(self, reader: ObjectReader, object_id: bytes) -> Mapping[str, Mapping[str, str]]:
        known = self._known.get(object_id)
        if known is not None:
            return known
        arguments = ("config", "--file", "-", "--no-includes", "--null", "--list")
        content = reader.small(object_id, b"blob")
        answer = self._command.run(arguments, git_dir=NOWHERE, given=content, settings={})
        need(answer, SourceUnusable, ".gitmodules cannot be read: ")
        sections: dict[str, dict[str, str]] = {}
        for entry in answer.out.decode("utf-8", "surrogateescape").split("\0"):
            key, _, value = entry.partition("\n")
            said = _KEY.match(key)
            if said:
                sections.setdefault(said[1], {})[said[2].lower()] = value
        with self._lock:
            return keep_newest(self._known, object_id, sections, KNOWN_LIMIT)


def _submodule(path: bytes, commit: str, by_path: Mapping[str, tuple[str, Mapping[str, str]]], url: str) -> Submodule:
    name, section = by_path.get(path.decode("utf-8", "surrogateescape"), ("", {}))
    if section.get("update") == "none":
        return Submodule(name, path, "", commit, wanted=False)
    said = section.get("url", "")
    if said and (not name or ".." in _PARTS.split(name)):
        raise SourceUnusable(
            f"the submodule {shown(path)!r} is named {shown(os.fsencode(name))!r} in .gitmodules, "
            "which git takes for an attack and ignores: name it otherwise"
        )
    if not said:
        raise SourceUnusable(
            f"the submodule {shown(path)!r} has no URL in .gitmodules: "
            f"add one with git submodule add, or take it away with git rm --cached {shown(path)}"
        )
    try:
        where = resolved(said, url)
        check_url(where)
    except (RepositoryUnreachable, ValueError) as error:
        raise SourceUnusable(
            f"the submodule {shown(path)!r} has a URL in .gitmodules that cannot be fetched from: {error}"
        ) from error
    return Submodule(name, path, where, commit)


def resolved(said: str, parent: str) -> str:
    """Return what a submodule's URL means in the repository ``parent``: ``../x`` lies beside it. Raises ValueError."""
    if not _UP.match(said):
        return said
    base, rest = parent.rstrip("/"), said
    separator = "/"
    while _UP.match(rest):
        up, _, rest = rest.partition("/")
        if up == "..":
            base, separator = _shortened(base, said, parent)
    rest = rest.rstrip("/")
    return f"{base}{separator}{rest}" if rest else base


def _shortened(base: str, said: str, parent: str) -> tuple[str, str]:
    """Return an address without its last part, and what stood before that."""
    cut = base.rfind("/")
    if cut >= 0:
        if base[:cut].endswith("/") or base.find("://") + 2 == cut:
            raise ValueError(f"{said} leads out of {mask(parent)}")
        return base[:cut], "/"
    cut = base.rfind(":")
    if cut < 0:
        raise ValueError(f"{said} leads out of {mask(parent)}")
    return base[:cut], ":"
