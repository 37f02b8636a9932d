"""The same tree packs to the same bytes; nothing from outside the tree gets in; what was packed comes out again."""

import hashlib
import os
import resource
import stat
import subprocess
import zipfile
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.archive import Member, content_digest, make_zip, verify
from buildtool.errors import BadArchive, DeliverableMissing, MachineFault
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
        assert verify(root / "out.zip") == (packed.digest, packed.size)
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
    assert make_zip(restored, ["out"], tmp_path / "again.zip").digest == verify(tmp_path / "out.zip")[0]


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


def test_links_inside_the_tree_are_kept_dangling_ones_too(tmp_path: Path) -> None:
    lay_out(tmp_path, {"lib/libx.so.1": (b"", False)})
    (tmp_path / "lib" / "libx.so").symlink_to("libx.so.1")
    (tmp_path / "lib" / "back").symlink_to("../lib")
    (tmp_path / "lib" / "later").symlink_to("not-yet")
    packed = make_zip(tmp_path, ["lib"], tmp_path / "out.zip")
    assert [(member.mode, member.name) for member in packed.manifest] == [
        ("120000", "lib/back"), ("120000", "lib/later"), ("120000", "lib/libx.so"), ("100644", "lib/libx.so.1"),
    ]  # fmt: skip


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


def test_what_is_neither_file_nor_directory_nor_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "pipe")
    with pytest.raises(BadArchive, match="neither"):
        make_zip(tmp_path, ["out"], tmp_path / "out.zip")


def test_a_deliverable_that_is_not_there_or_empty_is_missing_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty", "empty/"):
        with pytest.raises(DeliverableMissing, match=name.rstrip("/")):
            make_zip(tmp_path, [name], tmp_path / "out.zip")


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
