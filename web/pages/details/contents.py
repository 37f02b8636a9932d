"""An artifact and the files in it, and how one of them is given out.

Pure. A build server may be hostile, so no file is anything that a browser runs: it is kept by whoever fetches it, in
a type that no page can load as a script or style. Tested by tests/web/sections/test_contents.py.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from urllib.parse import quote

from attrs import frozen

from buildtool.model.options import shown
from buildtool.model.records import Artifact
from buildtool.model.text import size_words
from buildtool.ports.artifacts import ArtifactFile, FileKind, FilesFound

from ...urls import Urls, file_of, files_of
from .. import badges, words
from ..common import moment
from ..views import Moment, PageLink

FEW = 12
"""Files that are shown on the page of a build."""

MANY = 500
"""Files on one page of their list."""

_PLAIN = frozenset(string.ascii_letters + string.digits + "+._-")

_KINDS = {FileKind.FILE: "", FileKind.PROGRAM: "program", FileKind.LINK: "link"}

_TYPES = {
    **dict.fromkeys(("txt", "log", "md", "rst", "csv", "c", "h", "cc", "cpp", "py", "sh", "ini", "toml", "yaml", "map"),
                    "text/plain; charset=utf-8"),
    "json": "application/json", "pdf": "application/pdf", "zip": "application/zip", "whl": "application/zip",
    "gz": "application/gzip", "tgz": "application/gzip", "xz": "application/x-xz", "tar": "application/x-tar",
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
}  # fmt: skip
"""The types of files by how their names end: none that a browser runs, or takes for a page."""

_ANY = "application/octet-stream"


@frozen
class ArtifactCard:
    """A Build's artifact. ``withdrawn`` says why it is no longer given out; then ``url`` and ``verify`` are empty."""

    name: str
    url: str
    size: str
    digest: str
    content_digest: str
    verify: str
    platform: str
    kind: str
    server: PageLink
    took: str
    built: Moment
    withdrawn: str
    need: str = ""


@frozen
class FileRow:
    """A file in its list; ``url`` is empty for a link, which has no bytes of its own."""

    name: str
    url: str
    size: str
    kind: str


@frozen
class FilesCard:
    """The first files on the page of a build; ``more`` leads to all where these are not."""

    count: str
    rows: tuple[FileRow, ...]
    more: str


@frozen
class FilesPage:
    """A page of the list of all files; ``earlier`` and ``later`` lead on."""

    id: int
    build: str
    artifact: str
    url: str
    lead: str
    rows: tuple[FileRow, ...]
    earlier: str
    later: str


def artifact_card(artifact: Artifact, urls: Urls, now: float) -> ArtifactCard:
    """Return what is shown of an artifact on the page of its build; ``now`` is wall time in seconds."""
    kept = not artifact.withdrawn
    plain = re.fullmatch(r"[\w.+-]+", artifact.name, re.ASCII) and not artifact.name.startswith("-")
    return ArtifactCard(
        name=artifact.name,
        url=urls.artifact(artifact.digest, artifact.name) if kept else "",
        size=size_words(artifact.size),
        digest=artifact.digest,
        content_digest=artifact.content_digest,
        verify=f'echo "{artifact.digest}  {artifact.name}" | sha256sum -c' if kept and plain else "",
        platform=words.platform(artifact.platform, words.RUNS_FROM),
        need=shown(artifact.need),
        kind=badges.made(artifact.kind, artifact.evidence),
        server=PageLink(urls.server(artifact.server), artifact.server),
        took=words.duration(artifact.seconds),
        built=moment(artifact.built_at, now),
        withdrawn=artifact.withdrawn,
    )


def files_card(build_id: int, found: FilesFound, urls: Urls) -> FilesCard:
    """Return what is shown of the files in an artifact on the page of its build."""
    more = files_of(urls, build_id) if found.count > len(found.files) else ""
    return FilesCard(words.count(found.count, "file"), _rows(build_id, found.files, urls), more)


def files_page(build_id: int, name: str, url: str, found: FilesFound, skip: int, urls: Urls) -> FilesPage:
    """Return a page of the list; ``name`` and ``url`` are the artifact's."""
    last = skip + len(found.files)
    lead = words.count(found.count, "file")
    if found.files and len(found.files) < found.count:
        lead = f"{skip + 1:,} to {last:,} of {lead}"
    return FilesPage(
        build_id, urls.build(build_id), name, url, f"{lead}.", _rows(build_id, found.files, urls),
        files_of(urls, build_id, max(0, skip - MANY)) if skip else "",
        files_of(urls, build_id, last) if last < found.count and found.files else "",
    )  # fmt: skip


def _rows(build_id: int, files: Sequence[ArtifactFile], urls: Urls) -> tuple[FileRow, ...]:
    return tuple(
        FileRow(
            one.name, "" if one.kind is FileKind.LINK else file_of(urls, build_id, one.name), size_words(one.size),
            _KINDS[one.kind],
        )
        for one in files
    )  # fmt: skip


def type_of(name: str) -> str:
    """Return the Content-Type of a file by its name."""
    return _TYPES.get(name.rpartition(".")[2].lower(), _ANY) if "." in name else _ANY


def disposition_of(name: str) -> str:
    """Return the Content-Disposition of a file: it is kept under the last part of its name, and never shown."""
    last = name.rpartition("/")[2]
    plain = "".join(char if char in _PLAIN else "_" for char in last)[:200].lstrip(".-") or "file"
    exactly = "" if plain == last else f"; filename*=UTF-8''{quote(last, safe='')}"
    return f'attachment; filename="{plain}"{exactly}'
