"""The same tree packs to the same bytes; nothing from outside the tree gets in; what was packed comes out again."""

import errno
import hashlib
import os
import resource
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.storage.archive.packing import Member, content_digest, make_zip
from buildtool.errors import BadArchive, BuildFailed, DeliverableMissing, MachineFault
from buildtool.ports.buildserver import Halted
from tests.support.packages import require

PARTS = st.sampled_from(["a", "b", "bin", "lib.so.1", "é", "Z", "a b", "雪", "-x", "a.b"])
FILES = st.tuples(st.binary(max_size=300), st.booleans())
TREES: st.SearchStrategy[dict[str, tuple[bytes, bool]]] = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "/".join(["top", *parts])), FILES, min_size=1, max_size=8
).filter(lambda tree: not any(other.startswith(f"{name}/") for name in tree for other in tree))


def lay_out(root: Path, tree: dict[str, tuple[bytes, bool]], *, backwards: bool = False) -> None:
    for name in sorted(tree, reverse=backwards):
        content, executable = tree[name]
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if executable else 0o644)


@given(TREES, st.randoms(use_true_random=False))
def test_the_same_tree_gives_the_same_bytes_wherever_and_whenever_it_was_made(
    tree: dict[str, tuple[bytes, bool]], random: Random
) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        first, second = Path(one), Path(two) / "deeper" / "still"
        lay_out(first, tree)
        before = os.umask(0o077)
        try:
            lay_out(second, tree, backwards=True)
            for name, (_, executable) in tree.items():
                (second / name).chmod(0o700 if executable else 0o600)
                moment = random.randrange(2**31)
                os.utime(second / name, (moment, moment))
            there = make_zip(second, ["top"], Path(two) / "out.zip")
        finally:
            os.umask(before)
        here = make_zip(first, sorted(tree, reverse=True), first / "out.zip")
        assert here == there
        assert (first / "out.zip").read_bytes() == (Path(two) / "out.zip").read_bytes()


@given(TREES)
def test_what_was_packed_comes_out_again(tree: dict[str, tuple[bytes, bool]]) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        lay_out(root, tree)
        packed = make_zip(root, ["top"], root / "out.zip")
        assert _digest_and_size(root / "out.zip") == (packed.digest, packed.size)
        assert packed.size == (root / "out.zip").stat().st_size
        with zipfile.ZipFile(root / "out.zip") as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            assert names == sorted(tree, key=str.encode)
            for info in archive.infolist():
                content, executable = tree[info.filename]
                assert archive.read(info) == content
                assert info.external_attr >> 16 == (0o100755 if executable else 0o100644)
                assert info.date_time == (1980, 1, 1, 0, 0, 0)
                assert info.create_system == 3
        assert [member.name for member in packed.manifest] == names
        for member in packed.manifest:
            assert member.digest == hashlib.sha256(tree[member.name][0]).hexdigest()


@given(TREES, st.data())
def test_any_change_of_name_content_or_executable_bit_changes_both_digests(
    tree: dict[str, tuple[bytes, bool]], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(tree)))
    content, executable = tree[name]
    rest = {other: file for other, file in tree.items() if other != name}
    changed = data.draw(
        st.sampled_from(
            [
                {**rest, name: (content, not executable)},
                {**rest, name: (content + b"\0", executable)},
                {**rest, f"{name}~": (content, executable)},
                {**rest, "top/one-more": (b"", False), name: (content, executable)},
            ]
        )
    )
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        lay_out(Path(one), tree)
        lay_out(Path(two), changed)
        before = make_zip(Path(one), ["top"], Path(one) / "out.zip")
        after = make_zip(Path(two), ["top"], Path(two) / "out.zip")
        assert before.digest != after.digest
        assert before.content_digest != after.content_digest


def test_the_content_digest_is_what_its_definition_says(tmp_path: Path) -> None:
    lay_out(tmp_path, {"bin/tool": (b"tool", True), "README": (b"text", False)})
    (tmp_path / "bin" / "alias").symlink_to("tool")
    packed = make_zip(tmp_path, ["bin", "README"], tmp_path / "out.zip")
    lines = [
        f"100644 {hashlib.sha256(b'text').hexdigest()} README\n",
        f"120000 {hashlib.sha256(b'tool').hexdigest()} bin/alias\n",
        f"100755 {hashlib.sha256(b'tool').hexdigest()} bin/tool\n",
    ]
    assert packed.content_digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert content_digest(packed.manifest) == packed.content_digest
    assert packed.manifest[0] == Member("100644", hashlib.sha256(b"text").hexdigest(), "README")


def test_the_unzip_program_restores_files_modes_and_links(tmp_path: Path) -> None:
    unzip = require("unzip", "unzip")
    lay_out(tmp_path, {"out/bin/tool": (os.urandom(300_000), True), "out/é": (b"", False)})
    (tmp_path / "out" / "alias").symlink_to("bin/tool")
    make_zip(tmp_path, ["out"], tmp_path / "out.zip")
    restored = tmp_path / "restored"
    subprocess.run([unzip, "-q", str(tmp_path / "out.zip"), "-d", str(restored)], check=True)
    assert (restored / "out/bin/tool").read_bytes() == (tmp_path / "out/bin/tool").read_bytes()
    assert stat.S_IMODE((restored / "out/bin/tool").stat().st_mode) == 0o755
    assert (restored / "out/alias").readlink() == Path("bin/tool")
    assert make_zip(restored, ["out"], tmp_path / "again.zip").digest == _digest_and_size(tmp_path / "out.zip")[0]


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../secret", "../..", "../out/../../secret", "inner/../../../secret"]
)
def test_a_link_that_leads_out_of_the_tree_is_refused(tmp_path: Path, target: str) -> None:
    root = tmp_path / "root"
    lay_out(root, {"out/file": (b"", False), "out/inner/file": (b"", False)})
    (tmp_path / "secret").write_text("secret")
    (root / "out" / "link").symlink_to(target)
    with pytest.raises(BadArchive, match="link"):
        make_zip(root, ["out"], tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_link_that_leads_out_through_another_link_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    lay_out(root, {"a/b/file": (b"", False)})
    (root / "a" / "b" / "up").symlink_to("../..")
    (root / "a" / "b" / "out").symlink_to("up/../secret")
    with pytest.raises(BadArchive, match="link"):
        make_zip(root, ["a"], tmp_path / "out.zip")


def test_a_name_that_leads_out_through_a_linked_directory_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    lay_out(tmp_path, {"secrets/key": (b"", False)})
    (root / "dist").symlink_to("../secrets")
    with pytest.raises(BadArchive):
        make_zip(root, ["dist/key"], tmp_path / "out.zip")


def test_links_to_what_is_packed_are_kept(tmp_path: Path) -> None:
    lay_out(tmp_path, {"lib/libx.so.1.2": (b"", False), "share/x": (b"", False)})
    for name, target in (("lib/libx.so.1", "libx.so.1.2"), ("lib/libx.so", "./libx.so.1"), ("lib/back", "../lib"),
                         ("lib/x", "back/../share/x"), ("top", ".")):  # fmt: skip
        (tmp_path / name).symlink_to(target)
    packed = make_zip(tmp_path, ["lib", "share", "top"], tmp_path / "out.zip")
    assert [member.name for member in packed.manifest if member.mode == "120000"] == [
        "lib/back", "lib/libx.so", "lib/libx.so.1", "lib/x", "top"
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["not-there", "libx.so", "../share/x", "../share", "empty", "hop", "self", "libx/y"])
def test_a_link_to_what_is_not_packed_is_refused_by_both_names(tmp_path: Path, target: str) -> None:
    """Where it is unpacked it would lead nowhere, whatever is there in the tree."""
    lay_out(tmp_path, {"lib/a": (b"", False), "share/x": (b"", False), "libx/y": (b"", False)})
    (tmp_path / "lib" / "empty").mkdir()
    (tmp_path / "lib" / "hop").symlink_to("../share/x")
    (tmp_path / "lib" / "self").symlink_to("self")
    (tmp_path / "lib" / "link").symlink_to(target)
    with pytest.raises(BadArchive, match=r"link.*(not delivered|circle|leads out)"):
        make_zip(tmp_path, ["lib"], tmp_path / "out.zip")


def test_a_member_below_a_packed_link_is_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, {"lib64/x": (b"", False)})
    (tmp_path / "lib").symlink_to("lib64")
    with pytest.raises(BadArchive, match="as a link"):
        make_zip(tmp_path, ["lib", "lib/x"], tmp_path / "out.zip")
    assert [one.name for one in make_zip(tmp_path, ["lib/x"], tmp_path / "out.zip").manifest] == ["lib/x"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        ".",
        "./a",
        "a//b",
        "a\\b",
        "a\nb",
        "a\0b",
        "\x85",
        "\ud800",
        "a" * 1001,
    ],
)
def test_a_hostile_name_is_refused_by_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadArchive) as raised:
        make_zip(tmp_path, [name], tmp_path / "out.zip")
    assert "\n" not in str(raised.value)


@given(st.text(max_size=20))
def test_no_name_whatever_gets_anything_else_than_a_refusal_or_a_missing_file(name: str) -> None:
    with TemporaryDirectory() as directory, pytest.raises((BadArchive, DeliverableMissing)):
        make_zip(Path(directory), [name], Path(directory) / "out.zip")


def test_a_file_whose_name_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "out") + b"/\xff")).touch()
    except OSError:
        return  # this file system (as on macOS) has no such names
    with pytest.raises(BadArchive, match="UTF-8"):
        make_zip(tmp_path, ["out"], tmp_path / "out.zip")


@pytest.mark.parametrize(
    ("kind", "words"), [(stat.S_IFIFO, "a named pipe"), (stat.S_IFSOCK, "a socket"), (stat.S_IFCHR, "a device")]
)
def test_what_is_neither_file_nor_directory_nor_link_is_refused_as_what_it_is(
    tmp_path: Path, kind: int, words: str
) -> None:
    (tmp_path / "out").mkdir()
    try:
        os.mknod(tmp_path / "out" / "it", kind | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip(f"only root can make {words}")
    for name in ("out", "out/it"):
        with pytest.raises(BadArchive, match=f"it is {words}, neither file"):
            make_zip(tmp_path, [name], tmp_path / "out.zip")


def test_a_name_with_a_backslash_is_refused_for_that(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a\\b").touch()
    with pytest.raises(BadArchive, match="backslash"):
        make_zip(tmp_path, ["out"], tmp_path / "out.zip")


@contextmanager
def anybody() -> Iterator[None]:
    """Be a user to whom modes mean something: root may read everything."""
    before = os.geteuid()
    if not before:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o311])
@pytest.mark.parametrize("name", ["out/tool", "out/directory"])
def test_what_may_not_be_read_is_the_projects_to_mend(mode: int, name: str) -> None:
    """A build that installs its program as 0111 does so on every machine."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o777)
        with anybody():
            lay_out(root, {"out/tool": (b"x", False), "out/directory/file": (b"x", False)})
            (root / name).chmod(mode)
            try:
                with pytest.raises(BadArchive, match=f"'{name}.*may not be read"):
                    make_zip(root, ["out"], root / "out.zip")
                if mode == 0 and name == "out/directory":
                    with pytest.raises(BadArchive, match="may not be read"):
                        make_zip(root, [f"{name}/file"], root / "out.zip")
            finally:
                (root / name).chmod(0o700)


def test_a_file_that_the_disk_does_not_give_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading fails in two ways: what the tree forbids is the project's, what the disk cannot is not."""
    lay_out(tmp_path, {"out/a": (b"a", False)})
    for number, whose in ((errno.EIO, MachineFault), (errno.EMFILE, MachineFault), (errno.EACCES, BadArchive),
                          (errno.ENOENT, BadArchive), (errno.ELOOP, BadArchive)):  # fmt: skip

        def broken(path: Path, flags: int, number: int = number) -> int:
            raise OSError(number, os.strerror(number), str(path))

        with monkeypatch.context() as patched:
            patched.setattr("buildtool.adapters.storage.archive.packing.os.open", broken)
            with pytest.raises(whose):
                make_zip(tmp_path, ["out"], tmp_path / "out.zip")


@pytest.mark.parametrize("how", ["grows", "shrinks", "is replaced", "is rewritten", "goes", "becomes a pipe"])
def test_a_deliverable_that_changes_while_it_is_packed_is_refused(tmp_path: Path, how: str) -> None:
    root = tmp_path / "root"
    lay_out(root, {"a": (b"a", False), "z": (b"z" * 300_000, False)})
    last, steps = root / "z", 0

    def meddle() -> None:
        nonlocal steps
        steps += 1
        if steps != 6:  # the files were looked at, and the first is being written
            return
        match how:
            case "grows":
                with last.open("ab") as file:
                    file.write(b"more")
            case "shrinks":
                os.truncate(last, 10)
            case "is replaced":
                (root / "new").write_bytes(b"z" * 300_000)
                os.utime(root / "new", ns=(last.stat().st_atime_ns, last.stat().st_mtime_ns))
                (root / "new").rename(last)
            case "is rewritten":
                last.write_bytes(b"y" * 300_000)
            case _:
                last.unlink()
                if how != "goes":
                    os.mkfifo(last)

    with pytest.raises(BadArchive, match="'z' cannot be packed: it changed meanwhile"):
        make_zip(root, ["a", "z"], tmp_path / "out.zip", None, meddle)
    assert steps >= 6
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_what_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte takes no disk, and would be read for hours."""
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "big").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BuildFailed, match="'out/big' has 1099511627776 bytes, more than the 1000000 that"):
        make_zip(tmp_path, ["out"], tmp_path / "out.zip", 1_000_000)
    lay_out(tmp_path, {f"many/{number}": (b"x" * 1000, False) for number in range(11)})
    with pytest.raises(BuildFailed, match="11000 bytes with all before it, more than the 10000 that"):
        make_zip(tmp_path, ["many"], tmp_path / "out.zip", 10_000)
    lay_out(tmp_path, {"noise": (os.urandom(9_990), False)})
    with pytest.raises(BuildFailed, match="more than the 10000 bytes"):
        make_zip(tmp_path, ["noise"], tmp_path / "out.zip", 10_000)


@given(TREES, st.integers(0, 60))
def test_packing_ends_at_whatever_step_it_is_told_to_and_leaves_nothing(
    tree: dict[str, tuple[bytes, bool]], steps: int
) -> None:
    left = steps

    def check() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Halted("enough")

    with TemporaryDirectory() as directory:
        root = Path(directory)
        lay_out(root, tree)
        try:
            make_zip(root, ["top"], root / "out.zip", None, check)
        except Halted:
            assert [path.name for path in root.iterdir()] == ["top"]
        else:
            assert steps > len(tree)


def test_packing_of_a_long_file_is_asked_often_whether_to_go_on(tmp_path: Path) -> None:
    steps = 0

    def check() -> None:
        nonlocal steps
        steps += 1

    with (tmp_path / "big").open("wb") as file:
        file.truncate(64 * 2**20)
    make_zip(tmp_path, ["big"], tmp_path / "out.zip", None, check)
    assert steps > 64


def test_more_files_than_are_packed_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty directories count, too: they have no members, and are walked all the same."""
    monkeypatch.setattr("buildtool.adapters.storage.archive.packing.MEMBER_LIMIT", 20)
    lay_out(tmp_path, {f"files/{number}": (b"", False) for number in range(21)})
    for number in range(21):
        (tmp_path / "directories" / str(number)).mkdir(parents=True)
    lay_out(tmp_path, {f"split/{number % 3}/{number}": (b"", False) for number in range(21)})
    for name in ("files", "directories", "split"):
        with pytest.raises(BadArchive, match="more than 20 files"):
            make_zip(tmp_path, [name], tmp_path / "out.zip")


def test_a_deliverable_that_is_not_there_or_empty_is_missing_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty", "empty/"):
        with pytest.raises(DeliverableMissing, match=name.rstrip("/")):
            make_zip(tmp_path, [name], tmp_path / "out.zip")


def test_a_promised_name_that_cannot_be_looked_at_is_told_for_what_it_is(tmp_path: Path) -> None:
    """Nothing of it "changed meanwhile": each reason is said as it is."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    cases = {
        "file/below": (DeliverableMissing, "'file/below' was promised, but it is not there: 'file' is no directory"),
        "file/below/it": (DeliverableMissing, "not there: 'file' is no directory"),
        "absent/below": (DeliverableMissing, "'absent/below' was promised, but it is not there"),
        "n" * 300: (BadArchive, "cannot be packed: no file here can have so long a name"),
        "absent/" + "n" * 300: (DeliverableMissing, "it is not there"),
        "loop/below": (BadArchive, "links lead in a circle on the way to it"),
        "loop": (BadArchive, "it is a link that leads in a circle"),
    }
    for name, (kind, words) in cases.items():
        with pytest.raises(kind) as raised:
            make_zip(tmp_path, [name], tmp_path / "out.zip")
        assert words in str(raised.value)
        assert len(str(raised.value)) < 400


def test_what_is_wrong_is_said_however_long_the_name_is(tmp_path: Path) -> None:
    name = "/".join(["d" * 240] * 4)
    (tmp_path / name).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(BadArchive, match=r"d\.\.\.d+' cannot be packed: it is a named pipe") as raised:
        make_zip(tmp_path, ["d" * 240], tmp_path / "out.zip")
    assert len(str(raised.value)) < 400


def test_names_that_overlap_are_packed_once(tmp_path: Path) -> None:
    lay_out(tmp_path, {"out/a": (b"a", False), "out/b": (b"b", False)})
    packed = make_zip(tmp_path, ["out", "out/a", "out/"], tmp_path / "out.zip")
    assert [member.name for member in packed.manifest] == ["out/a", "out/b"]


def test_an_archive_appears_whole_or_not_at_all_and_leaves_nothing_else(tmp_path: Path) -> None:
    lay_out(tmp_path / "root", {"out/a": (b"a", False)})
    (tmp_path / "zips").mkdir()
    output = tmp_path / "zips" / "out.zip"
    output.write_text("older")
    with pytest.raises(DeliverableMissing):
        make_zip(tmp_path / "root", ["out", "absent"], output)
    assert output.read_text() == "older"
    make_zip(tmp_path / "root", ["out"], output)
    assert list(output.parent.iterdir()) == [output]
    assert zipfile.is_zipfile(output)


def test_a_place_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    lay_out(tmp_path, {"out/a": (b"a", False)})
    with pytest.raises(MachineFault, match="no-such-directory"):
        make_zip(tmp_path, ["out"], tmp_path / "no-such-directory" / "out.zip")


def test_an_archive_that_cannot_be_written_to_its_end_is_the_machines_fault_and_leaves_nothing(tmp_path: Path) -> None:
    lay_out(tmp_path / "root", {"out/a": (os.urandom(100_000), False)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(MachineFault):
            make_zip(tmp_path / "root", ["out"], tmp_path / "out.zip")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def _digest_and_size(path: Path) -> tuple[str, int]:
    data = path.read_bytes()
    return hashlib.sha256(data).hexdigest(), len(data)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("README", "readme"),
        ("caf\u00e9", "cafe\u0301"),
        ("d/\u00c4.h", "d/a\u0308.h"),
        ("lib", "LIB/a.so"),
        ("ss", "\u00df"),
    ],
)
def test_names_that_some_systems_take_for_one_are_refused(tmp_path: Path, one: str, other: str) -> None:
    for name in (one, other):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadArchive, match="some systems take it for"):
        make_zip(tmp_path, [one, other], tmp_path / "out.zip")


def test_directories_whose_names_differ_in_case_are_packed(tmp_path: Path) -> None:
    for name in ("A/x", "a/y"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    packed = make_zip(tmp_path, ["A", "a"], tmp_path / "out.zip")
    assert [member.name for member in packed.manifest] == ["A/x", "a/y"]


def test_a_hard_link_is_packed_as_a_file_of_its_own(tmp_path: Path) -> None:
    """It leads nowhere: what it holds is read once for each name, and nothing in the archive tells of it."""
    (tmp_path / "one").write_bytes(b"x")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    packed = make_zip(tmp_path, ["one", "two"], tmp_path / "out.zip")
    assert [(member.name, member.mode) for member in packed.manifest] == [("one", "100644"), ("two", "100644")]
