"""Files of artifacts: all are listed, each comes as it was packed, and a zip that lies ends in an error."""

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.archive import contents
from buildtool.adapters.storage.archive.contents import PIECE, ArchiveContents
from buildtool.adapters.storage.archive.packing import make_zip
from buildtool.adapters.storage.artifacts import ArtifactStore, stored_path
from buildtool.adapters.storage.filesystem import RealDisk
from buildtool.errors import Damaged, NotFound, UsageError
from buildtool.ports.artifacts import FileKind
from tests.adapters.storage.archive.test_checking import FILE, zipped
from tests.support.inline import run

T = TypeVar("T")


@define
class Kept:
    """A state directory in which artifacts are kept."""

    directory: Path
    contents: ArchiveContents = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.contents = ArchiveContents(ArtifactStore(self.directory, Inline()), Inline())

    def keep(self, data: bytes, digest: str = "") -> str:
        """Keep bytes under their digest, and return it."""
        digest = digest or hashlib.sha256(data).hexdigest()
        path = stored_path(self.directory, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return digest

    def content(self, digest: str, name: str) -> bytes:
        """Return a file, read piece by piece."""
        reader, pieces = run(self.contents.open(digest, name)), list[bytes]()
        try:
            while piece := run(reader.read()):
                assert len(piece) <= PIECE
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            reader.close()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


NAMES = st.lists(st.sampled_from(["a", "b", "lib.so.1", "é", "a b", "雪"]), min_size=1, max_size=2).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, st.binary(max_size=99) | st.integers(0, 3 * PIECE), max_size=4),
    st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]),
)
def test_each_file_comes_as_it_was_packed(kept: Kept, drawn: Mapping[str, bytes | int], method: int) -> None:
    """A number stands for so many zeros."""
    files = {name: bytes(data) for name, data in drawn.items()}
    digest = kept.keep(zipped(*((name, data, FILE) for name, data in files.items()), method=method))
    listed = run(kept.contents.files(digest, 0, 100))
    assert (listed.count, {one.name: one.size for one in listed.files}) == (
        len(files), {name: len(data) for name, data in files.items()},
    )  # fmt: skip
    for name, data in files.items():
        assert kept.content(digest, name) == data
    with pytest.raises(NotFound):
        kept.content(digest, "no such")


def test_what_packing_makes_is_listed_in_its_order_page_by_page_with_its_kinds(kept: Kept) -> None:
    tree = kept.directory / "tree"
    (tree / "lib").mkdir(parents=True)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "lib/x").write_bytes(b"x" * 5)
    (tree / "latest").symlink_to("run")
    packed = make_zip(tree, ["run", "lib", "latest"], kept.directory / "out.zip")
    kept.keep((kept.directory / "out.zip").read_bytes(), packed.digest)
    found = [run(kept.contents.files(packed.digest, at, 2)) for at in (0, 2, 4)]
    assert [one.count for one in found] == [3, 3, 3]
    assert [(it.name, it.size, it.kind) for one in found for it in one.files] == [
        ("latest", 3, FileKind.LINK), ("lib/x", 5, FileKind.FILE), ("run", 10, FileKind.PROGRAM),
    ]  # fmt: skip
    with pytest.raises(NotFound, match="is a link"):
        kept.content(packed.digest, "latest")


def with_fields(data: bytes, **fields: int) -> bytes:
    """Return a zip of one member that says of it otherwise in both places, as a hostile build server could."""
    changed = bytearray(data)
    entry, local = data.index(b"PK\1\2"), 0
    for name, (there, here) in {"sum": (16, 14), "size": (24, 22)}.items():
        if name in fields:
            struct.pack_into("<L", changed, entry + there, fields[name])
            struct.pack_into("<L", changed, local + here, fields[name])
    return bytes(changed)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("said", [{"size": 10}, {"size": 500_000}, {"sum": 7}])
def test_a_zip_that_lies_ends_in_an_error_and_in_no_more_bytes_than_it_announced(
    kept: Kept, method: int, said: dict[str, int]
) -> None:
    """A megabyte of zeros packs into a thousand bytes."""
    digest = kept.keep(with_fields(zipped(("bomb", bytes(1_000_000), FILE), method=method), **said))
    reader, made = run(kept.contents.open(digest, "bomb")), list[bytes]()

    def read_all() -> None:
        while piece := run(reader.read()):
            made.append(piece)

    with pytest.raises(Damaged, match="'bomb' in this artifact has"):
        read_all()
    assert len(b"".join(made)) <= said.get("size", 1_000_000)
    reader.close()


def test_what_is_too_large_is_not_unpacked(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = kept.keep(zipped(("large", bytes(1_001), FILE)))
    monkeypatch.setattr(contents, "LARGEST", 1_000)
    with pytest.raises(UsageError, match="is fetched with the whole artifact"):
        kept.content(digest, "large")


@pytest.mark.parametrize("spoil", [b"", b"no zip", b"PK\5\6" + bytes(18)])
def test_what_is_no_archive_or_not_what_its_digest_says_is_damaged(kept: Kept, spoil: bytes) -> None:
    digest = kept.keep(spoil)
    if spoil.startswith(b"PK"):
        assert run(kept.contents.files(digest, 0, 9)).count == 0
        with pytest.raises(NotFound):
            kept.content(digest, "a")
    else:
        with pytest.raises(Damaged):
            run(kept.contents.files(digest, 0, 9))
        with pytest.raises(Damaged):
            kept.content(digest, "a")
    other = kept.keep(zipped(("a", b"b", FILE)), "0" * 64)
    with pytest.raises(Damaged):
        kept.content(other, "a")
    for digest in ("1" * 64, "../../etc/passwd"):
        with pytest.raises(NotFound):
            run(kept.contents.files(digest, 0, 9))
        with pytest.raises(NotFound):
            kept.content(digest, "a")


@define
class Later(Inline):
    """An executor whose functions run when the test says so."""

    waiting: list[Deferred[None]] = field(factory=list)

    async def run(self, function: Callable[[], T]) -> T:
        self.waiting.append(Deferred())
        found: Deferred[T] = Deferred()
        self.waiting[-1].addCallback(lambda _: found.callback(function()))
        return await found


def test_who_leaves_meanwhile_leaves_nothing_open(tmp_path: Path) -> None:
    closed = list[int]()

    class Closing(RealDisk):
        """A disk that says what is closed."""

        def close(self, file: int) -> None:
            closed.append(file)
            super().close(file)

    later = Later()
    digest = Kept(tmp_path).keep(zipped(("a", b"b", FILE)))
    store = ArtifactStore(tmp_path, later, Closing())
    opening = Deferred.fromCoroutine(ArchiveContents(store, Inline()).open(digest, "a"))
    opening.addErrback(lambda failure: failure.trap(CancelledError))
    opening.cancel()
    assert closed == []
    later.waiting.pop().callback(None)
    assert len(closed) == 1


def test_reading_it_as_other_programs_do_gives_the_same(kept: Kept) -> None:
    data = zipped(("a/b", b"text\n" * 100_000, FILE), ("c", b"", FILE))
    digest = kept.keep(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            assert kept.content(digest, name) == archive.read(name)
