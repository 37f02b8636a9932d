"""A tree is exactly its commit, whatever the builds before did: the state machine, and one test for each kind.

What a tree must be is what a fresh clone with all submodules has; git itself makes that, once for each commit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import socket
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from twisted.logger import capturedLogs, formatEvent

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.layout import WRITTEN
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.errors import RepositoryUnreachable, SourceUnusable
from tests.support.inline import run
from tests.support.lanes import examples
from tests.support.origins import Origin
from tests.support.packages import require

CLONING = ("-c", "protocol.file.allow=always", "-c", "advice.detachedHead=false")

Manifest = dict[bytes, tuple[str, int, bytes]]


def seeded(seed: int) -> random.Random:
    """Return what draws the same every time."""
    return random.Random(seed)  # noqa: S311 - no secret


def manifest(top: Path) -> Manifest:
    """Return kind, mode and content of everything below a directory but ``.git``."""
    found: Manifest = {}
    inside = [os.fsencode(top)]
    while inside:
        with os.scandir(inside.pop()) as entries:
            for entry in entries:
                if entry.name == b".git":
                    continue
                mode = entry.stat(follow_symlinks=False).st_mode
                path = os.path.relpath(entry.path, os.fsencode(top))
                if stat.S_ISDIR(mode):
                    found[path] = ("directory", stat.S_IMODE(mode), b"")
                    inside.append(entry.path)
                elif stat.S_ISLNK(mode):
                    found[path] = ("link", 0, os.readlink(entry.path))  # noqa: PTH115 - bytes
                elif stat.S_ISREG(mode):
                    found[path] = ("file", stat.S_IMODE(mode), Path(os.fsdecode(entry.path)).read_bytes())
                else:
                    found[path] = ("something else", 0, b"")
    return found


def fresh_clone(origin: Origin, commit: str, into: Path) -> Path:
    """Return a new clone of an origin at a commit, with all submodules."""
    git = ("git", *CLONING)
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for arguments in (
        ("clone", "--quiet", "--no-checkout", origin.url, str(into)),
        ("-C", str(into), "checkout", "--quiet", commit),
        ("-C", str(into), "submodule", "--quiet", "update", "--init", "--recursive"),
    ):
        subprocess.run([*git, *arguments], env=environment, check=True, capture_output=True, umask=0o022)
    return into


class History:
    """An origin whose commits differ in all that commits can differ in, and what a clone of each has."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.origin = Origin(top / "origin")
        self.commits: list[str] = []
        self._write_files()
        self._write_attributes()
        self._write_submodules()
        self.wanted = [manifest(fresh_clone(self.origin, one, top / f"clone-{one}")) for one in self.commits]

    def put(self, name: bytes, content: bytes, mode: int = 0o644) -> None:
        path = self.origin.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)

    def commit(self) -> None:
        self.origin.git("add", "--all", "--force")
        self.origin.git("commit", "-q", "--allow-empty", "-m", f"{len(self.commits)}")
        self.commits.append(self.origin.git("rev-parse", "HEAD"))

    def _write_files(self) -> None:
        draw = seeded(1)
        self.put(b"Makefile", b"all:\n\techo hi\n")
        self.put(b"a/deep/er/file", b"one\n")
        self.put(b"run.sh", b"#!/bin/sh\n", 0o755)
        self.put(b"empty", b"")
        self.put(b"binary", draw.randbytes(3_000))
        self.put(b"large", draw.randbytes(2_500_000))
        for name in (
            b"latin \xff",
            b"new\nline",
            "caf\u00e9".encode(),
            "cafe\u0301".encode(),
            b"README",
            b"Readme",
            b"-x",
        ):
            self.put(name, b"of " + name + b"\n")
        (self.origin.path / "link").symlink_to("a/deep")
        (self.origin.path / "dangling").symlink_to("/nowhere/at all")
        self.commit()
        self.put(b"run.sh", b"#!/bin/sh\n", 0o644)
        self.put(b"Makefile", b"all:\n\techo yo\n", 0o755)
        self.commit()
        shutil.rmtree(self.origin.path / "a")
        self.put(b"a", b"a file where a directory was\n")
        (self.origin.path / "link").unlink()
        self.put(b"link/inner", b"a directory where a link was\n")
        (self.origin.path / "run.sh").unlink()
        (self.origin.path / "run.sh").symlink_to("binary")
        (self.origin.path / "large").unlink()
        self.put(b".gitignore", b"*.o\nbuild/\n")
        self.put(b"kept.o", b"committed although ignored\n")
        self.commit()

    def _write_attributes(self) -> None:
        for number in range(20):
            self.put(b"text/%d.txt" % number, b"one\r\ntwo\r\n")
        self.put(b"text/lf.txt", b"one\ntwo\n")
        self.put(b"text/id.c", b"/* $Id$ */\n")
        self.put(b"text/id", b"/* $Id$ */\n")
        self.put(b"wide.inf", "wide \u00e9\n".encode())
        self.commit()
        self.put(b".gitattributes", b"*.txt text eol=lf\n")
        self.commit()
        self.put(
            b".gitattributes",
            b"[attr]dos text eol=crlf\n*.txt dos\n*.c ident\n*.inf working-tree-encoding=UTF-16LE-BOM\n"
            b"Makefile filter=nobody\n.gitattributes text eol=crlf\nlarge -text\n",
        )
        self.put(b"text/.gitattributes", b"3.txt -text\nid ident\n")
        self.commit()
        self.put(b".gitattributes", b"* text=auto eol=crlf\nrun.sh text eol=lf\n")
        self.put(b"added.txt", b"one\ntwo\n")
        self.commit()
        (self.origin.path / ".gitattributes").unlink()
        self.commit()

    def _write_submodules(self) -> None:
        deep, middle, other = (Origin(self.top / name) for name in ("deep", "middle", "other"))
        deep.commit("f", "deep\n")
        middle.commit("code", "one\n")
        middle.git(*CLONING[:2], "submodule", "--quiet", "add", deep.url, "deep")
        middle.git("config", "--file", ".gitmodules", "submodule.deep.url", "../deep")
        middle.commit(".gitattributes", "code text eol=crlf\n")
        other.commit("elsewhere", "other\n")
        self.origin.git(*CLONING[:2], "submodule", "--quiet", "add", "../middle", "ext/middle")
        self.commit()
        middle.commit("code", "two\n")
        self.origin.git("-C", "ext/middle", "pull", "--quiet")
        self.commit()
        self.origin.git("rm", "--quiet", "--force", "ext/middle")
        shutil.rmtree(self.origin.path / ".git" / "modules" / "ext", ignore_errors=True)
        self.put(b"ext/middle/code", b"a directory where a submodule was\n")
        self.commit()
        self.origin.git("rm", "--quiet", "-r", "--force", "ext")
        self.origin.git(
            *CLONING[:2], "submodule", "--quiet", "add", "--force", "--name", "moved", other.url, "ext/middle"
        )
        self.commit()
        self.origin.git("tag", "-a", "-m", "first", "v1", self.commits[0])
        self.origin.git("tag", "light", self.commits[3])


@cache
def history() -> History:
    """Return the one history of this run of the tests; it is deleted when the process ends."""
    return History(Path(mkdtemp(dir=os.environ.get("TMPDIR"))).resolve())


# --- what builds do ---------------------------------------------------------------------------------------


def git(tree: Path, *arguments: str) -> None:
    """Run git as a build would, well or badly."""
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(tree), *CLONING, *arguments]
    subprocess.run(command, env={"PATH": os.environ["PATH"], **who}, check=False, capture_output=True, timeout=60)


def some_file(tree: Path, draw: random.Random) -> Path:
    found = [path for path in sorted(tree.iterdir()) if path.is_file() and not path.is_symlink()]
    return draw.choice(found) if found else tree / "nothing"


def rewrite_with_time_kept(tree: Path, draw: random.Random) -> None:
    path = some_file(tree, draw)
    if path.is_file():  # an earlier act may have put a pipe there
        before = path.stat()
        content = path.read_bytes()
        path.write_bytes(bytes(len(content)))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def hide(*flags: str) -> Callable[[Path, random.Random], None]:
    def act(tree: Path, draw: random.Random) -> None:
        path = some_file(tree, draw)
        git(tree, "update-index", *flags, path.name)
        path.write_bytes(b"of the build before\n")

    return act


def sparse(tree: Path, _: random.Random) -> None:
    git(tree, "sparse-checkout", "set", "--no-cone", "/other/")


def attributes(tree: Path, _: random.Random) -> None:
    (tree / ".git" / "info").mkdir(exist_ok=True)
    (tree / ".git" / "info" / "attributes").write_text("* text eol=crlf ident\n")
    git(tree, "config", "filter.nobody.smudge", "echo owned")
    git(tree, "config", "core.autocrlf", "true")


def refs(tree: Path, _: random.Random) -> None:
    git(tree, "tag", "-a", "-m", "built", "release-9")
    git(tree, "update-ref", "refs/replace/" + "1" * 40, "HEAD")
    git(tree, "checkout", "--orphan", "gone")
    git(tree, "commit", "--allow-empty", "-m", "x")


def rebase(tree: Path, _: random.Random) -> None:
    (tree / ".git" / "rebase-apply").mkdir(exist_ok=True)
    (tree / ".git" / "MERGE_HEAD").write_text("1" * 40 + "\n")


def hooks(tree: Path, _: random.Random) -> None:
    for name in ("post-checkout", "post-index-change"):
        (tree / ".git" / "hooks").mkdir(exist_ok=True)
        hook = tree / ".git" / "hooks" / name
        # "<>" does not wait where an act before put a pipe there
        hook.write_text(f"#!/bin/sh\necho owned 1<> {tree}/owned\n")
        hook.chmod(0o755)


def special_files(tree: Path, draw: random.Random) -> None:
    for name in ("GNUmakefile", some_file(tree, draw).name):
        (tree / name).unlink(missing_ok=True)
        os.mkfifo(tree / name)
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(tree, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket-{draw.random()}")
        os.close(here)
    if os.geteuid() == 0:
        os.mknod(tree / f"device-{draw.random()}", stat.S_IFCHR | 0o666, os.makedev(1, 5))


def hard_link(tree: Path, draw: random.Random) -> None:
    path = some_file(tree, draw)
    other = tree.parent / f"other-{draw.random()}"
    if path.exists():
        os.link(path, other)
        git_pack = next((tree / ".git" / "objects" / "pack").glob("*.pack"), None)
        if git_pack is not None:
            os.link(git_pack, tree / f"pack-{draw.random()}")


def no_rights(tree: Path, draw: random.Random) -> None:
    for one in (some_file(tree, draw), tree / "a", tree):
        if one.exists() and not one.is_symlink():
            one.chmod(draw.choice((0, 0o777, 0o4755, 0o500)))


def links(tree: Path, draw: random.Random) -> None:
    for name in ("a", "ext", "text", some_file(tree, draw).name):
        path = tree / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.symlink_to(draw.choice((tree.parent, history().origin.path, Path("/nowhere"))))


def deep(tree: Path, _draw: random.Random) -> None:
    here = os.open(tree, os.O_RDONLY)
    for _ in range(1_200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def old_times(tree: Path, draw: random.Random) -> None:
    os.utime(some_file(tree, draw), (1, 1))


def delete(tree: Path, draw: random.Random) -> None:
    target = draw.choice((some_file(tree, draw), tree / "text", tree / ".git", tree / ".git" / "index", tree))
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def own_git(tree: Path, draw: random.Random) -> None:
    subprocess.run(["rm", "-rf", str(tree / ".git")], check=True)
    draw.choice(
        (
            lambda: git(tree, "init", "-q"),
            lambda: os.mkfifo(tree / ".git"),
            lambda: (tree / ".git").write_text(f"gitdir: {history().origin.path}/.git\n"),
            lambda: (tree / ".git").symlink_to(history().origin.path / ".git"),
        )
    )()


def nested_repository(tree: Path, _: random.Random) -> None:
    git(tree, "init", "-q", "nested")
    (tree / "nested" / "file").write_text("x")
    (tree / "empty directory" / "inner").mkdir(parents=True, exist_ok=True)


IN_TREE = (
    rewrite_with_time_kept, hide("--assume-unchanged"), hide("--skip-worktree"), sparse, attributes, refs, rebase,
    hooks, special_files, hard_link, no_rights, links, deep, old_times, delete, own_git, nested_repository,
)  # fmt: skip


def packs(mirror: Path, kind: str = "pack") -> list[Path]:
    """Return the packs of a mirror, or their indices, as far as they are files."""
    found = sorted((mirror / "objects" / "pack").glob(f"*.{kind}"))
    return [path for path in found if path.is_file() and path.stat().st_size]


def flip(mirror: Path, draw: random.Random) -> None:
    for path in packs(mirror):
        path.chmod(0o600)
        with path.open("r+b") as stream:
            stream.seek(draw.randrange(path.stat().st_size))
            stream.write(b"\xa5\x5a")


def cut(mirror: Path, draw: random.Random) -> None:
    for path in (*packs(mirror), *packs(mirror, "idx")):
        path.chmod(0o600)
        os.truncate(path, draw.randrange(path.stat().st_size))


def lie(mirror: Path, draw: random.Random) -> None:
    """Let the index of each pack give one object's content for another's id, with right checksums."""
    for path in packs(mirror, "idx"):
        content = bytearray(path.read_bytes())
        if len(content) < 8 + 1024 + 40:
            continue  # it was cut off before
        (count,) = struct.unpack_from(">I", content, 8 + 255 * 4)
        if count > 1:
            begin = 8 + 1024 + count * 20
            one, two = draw.sample(range(count), 2)
            for start in (begin, begin + count * 4):
                first, second = (slice(start + 4 * number, start + 4 * number + 4) for number in (one, two))
                content[first], content[second] = content[second], content[first]
            content[-20:] = hashlib.sha1(content[:-20], usedforsecurity=False).digest()
            path.chmod(0o600)
            path.write_bytes(content)


def lie_alone(mirror: Path, draw: random.Random) -> None:
    """Put an object of its own in front of one that is in a pack, with something else in it."""
    for path in packs(mirror)[:1]:
        index = path.with_suffix(".idx").read_bytes()
        shown = subprocess.run(["git", "show-index"], input=index, check=False, capture_output=True)
        ids = [line.split()[1].decode() for line in shown.stdout.splitlines()]
        if ids:
            chosen = draw.choice(ids)
            (mirror / "objects" / chosen[:2]).mkdir(exist_ok=True)
            (mirror / "objects" / chosen[:2] / chosen[2:]).write_bytes(zlib.compress(b"blob 5\0evil\n"))


def no_packs(mirror: Path, _: random.Random) -> None:
    for path in packs(mirror):
        path.unlink()


def fifo_in_mirror(mirror: Path, draw: random.Random) -> None:
    name = draw.choice(("objects/pack/pack-x.pack", "refs/heads/x", "packed-refs", "config", "objects/pack", "HEAD"))
    path = mirror / name
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    if name.endswith("x.pack"):
        path.with_suffix(".idx").touch()


def alternates(mirror: Path, _: random.Random) -> None:
    (mirror / "objects" / "info").mkdir(exist_ok=True)
    (mirror / "objects" / "info" / "alternates").write_text("/nowhere\n")
    (mirror / "info").mkdir(exist_ok=True)
    (mirror / "info" / "grafts").write_text(f"{history().commits[-1]}\n")
    (mirror / "shallow.lock").touch()


def bad_settings(mirror: Path, draw: random.Random) -> None:
    (mirror / "config").unlink(missing_ok=True)
    (mirror / "config").write_text(draw.choice(("[core\n", "[core]\n\tworktree = /\n\tbare = false\n")))


def bad_refs(mirror: Path, _: random.Random) -> None:
    (mirror / "refs" / "heads").mkdir(parents=True, exist_ok=True)
    for name, text in (("refs/heads/main", "1" * 40), ("packed-refs", "nonsense")):
        (mirror / name).unlink(missing_ok=True)
        (mirror / name).write_text(f"{text}\n")


def no_mirror(mirror: Path, draw: random.Random) -> None:
    shutil.rmtree(mirror)
    draw.choice((lambda: None, mirror.touch, lambda: mirror.symlink_to(history().origin.path / ".git")))()


IN_MIRROR = (
    flip, cut, lie, lie_alone, no_packs, fifo_in_mirror, alternates, bad_settings, bad_refs, no_mirror,
)  # fmt: skip


class HostileBuilds(RuleBasedStateMachine):
    """Builds of one machine that do what they can to those after them; every tree is what a fresh clone has."""

    def __init__(self) -> None:
        super().__init__()
        self.history = history()
        self.top = Path(mkdtemp(dir=self.history.top))
        self.mirror = GitMirror(self.top / "mirrors", Inline())
        self.trees = Worktrees(self.mirror, self.top / "trees", Inline())
        self.paths: dict[int, Path] = {}

    @initialize(number=st.integers(0, 12))
    def first(self, number: int) -> None:
        self.checkout(number, 0)

    @rule(number=st.integers(0, 12), slot=st.integers(0, 1))
    def checkout(self, number: int, slot: int) -> None:
        number %= len(self.history.commits)
        path = run(self.trees.checkout(self.history.origin.url, self.history.commits[number], slot))
        found, wanted = manifest(path), self.history.wanted[number]
        assert found == wanted, sorted(set(found.items()) ^ set(wanted.items()))[:4]
        self.paths[slot] = path
        head = subprocess.run(
            ["git", "-C", str(path), "rev-parse", "HEAD"], check=True, capture_output=True, text=True, timeout=60
        )
        assert head.stdout.strip() == self.history.commits[number]

    @rule(slot=st.integers(0, 1), act=st.sampled_from(IN_TREE), seed=st.integers(0, 99))
    def spoil_tree(self, slot: int, act: Callable[[Path, random.Random], None], seed: int) -> None:
        path = self.paths.get(slot, self.paths[0])
        if path.is_dir():
            with contextlib.suppress(OSError):  # what an earlier act left may be in its way
                act(path, seeded(seed))

    @rule(act=st.sampled_from(IN_MIRROR), seed=st.integers(0, 99))
    def spoil_mirrors(self, act: Callable[[Path, random.Random], None], seed: int) -> None:
        for mirror in sorted((self.top / "mirrors").glob("*.git")):
            if mirror.is_dir() and not mirror.is_symlink() and (mirror / "objects" / "pack").is_dir():
                with contextlib.suppress(OSError):
                    act(mirror, seeded(seed))

    def teardown(self) -> None:
        self.mirror.close()
        subprocess.run(["rm", "-rf", str(self.top)], check=False)


HostileBuilds.TestCase.settings = settings(
    max_examples=examples(2, long=40), stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHostileBuilds = HostileBuilds.TestCase


# --- one test for each kind of what a tree or its project may be like ------------------------------------------


class Machine:
    """A build server's sources, and an origin to fetch from."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.origin = Origin(top / "origin")
        self.mirror = GitMirror(top / "mirrors", Inline())
        self.trees = Worktrees(self.mirror, top / "trees", Inline())

    def checkout(self, commit: str, slot: int = 0) -> Path:
        return run(self.trees.checkout(self.origin.url, commit, slot))

    def restarted(self) -> None:
        """Forget all that is in memory."""
        self.mirror = GitMirror(self.top / "mirrors", Inline())
        self.trees = Worktrees(self.mirror, self.top / "trees", Inline())

    def said(self, tree: Path, *arguments: str) -> str:
        command = ["git", "-C", str(tree), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    here = Machine(tmp_path)
    yield here
    here.mirror.close()


def test_all_files_have_one_time_and_git_s_modes_whatever_the_umask(machine: Machine) -> None:
    machine.origin.commit("a/b")
    commit = machine.origin.commit("c")
    before = os.umask(0o077)
    try:
        tree = machine.checkout(commit)
    finally:
        os.umask(before)
    for path in (tree / "a" / "b", tree / "c"):
        assert (path.stat().st_mtime_ns, stat.S_IMODE(path.stat().st_mode)) == (WRITTEN, 0o644)
    assert stat.S_IMODE((tree / "a").stat().st_mode) == 0o755


def test_a_build_that_closes_its_tree_closes_it_for_nobody_else(machine: Machine) -> None:
    """Seen only where the tests do not run as root."""
    commit = machine.origin.commit("a/b")
    tree = machine.checkout(commit)
    for closed in (tree / "a", tree / ".git", tree, tree.parent, machine.top / "trees", machine.top / "mirrors"):
        closed.chmod(0)
        assert (machine.checkout(commit) / "a" / "b").exists()


def entries(*entries: tuple[int, int, int]) -> bytes:
    """Return an access control list as Linux keeps it: tags, rights and ids."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


NOBODY_IN_PARTICULAR = 0xFFFF_FFFF
NO_EXECUTING = entries(*((tag, 4, NOBODY_IN_PARTICULAR) for tag in (0x01, 0x04, 0x20)))
FOR_A_USER = entries(
    (0x01, 6, NOBODY_IN_PARTICULAR), (0x02, 7, 65534), (0x04, 4, NOBODY_IN_PARTICULAR),
    (0x10, 7, NOBODY_IN_PARTICULAR), (0x20, 4, NOBODY_IN_PARTICULAR),
)  # fmt: skip


def put_on(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"this file system, or this user, has no {name}: {error.strerror}")


@pytest.mark.skipif(sys.platform != "linux", reason="extended attributes are as Linux has them")
def test_lists_of_rights_that_a_build_put_on_its_tree_rule_no_other_build(machine: Machine) -> None:
    """A default list of a directory takes the executable bit from whatever the next build makes there."""
    commit = machine.origin.commit("a/b")
    tree = machine.checkout(commit)
    for directory in (tree, tree / "a", tree / ".git"):
        put_on(directory, "system.posix_acl_default", NO_EXECUTING)
    put_on(tree / "a" / "b", "system.posix_acl_access", FOR_A_USER)
    put_on(tree / "a" / "b", "user.note", b"from the last build")
    machine.checkout(commit)
    for path in (tree, tree / "a", tree / "a" / "b", tree / ".git"):
        assert not [name for name in os.listxattr(path) if not name.startswith("security.")], path
    assert stat.S_IMODE((tree / "a" / "b").stat().st_mode) == 0o644
    for place in (tree, tree / "a", tree / ".git"):
        subprocess.run(["sh", "-c", f"umask 022; mkdir {place}/made"], check=True)
        assert stat.S_IMODE((place / "made").stat().st_mode) == 0o755


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can do that")
def test_what_root_s_build_put_on_its_tree_is_in_nobody_s_way(machine: Machine) -> None:
    """Flags of chattr(1), capabilities, another owner, and set-user-id bits, on content that is as it should be."""
    commit, other = machine.origin.commit("a/b"), machine.origin.commit("a/c")
    tree = machine.checkout(commit)
    capability = struct.pack("<IIIII", 0x0200_0000 | 1, 1 << 1, 0, 0, 0)
    places = (tree / "a" / "b", tree / "a", tree / ".git" / "objects" / "info", tree / ".git", tree, tree.parent)
    try:
        for flag in ("+i", "+a"):
            for also in (commit, other):
                (tree / "a" / "b").chmod(0o6755)
                (tree / "a").chmod(0o3777)
                put_on(tree / "a" / "b", "security.capability", capability)
                for path in (tree / "a" / "b", tree / "a"):
                    os.chown(path, 65534, 65534)
                if subprocess.run(["chattr", flag, *map(str, places)], check=False, capture_output=True).returncode:
                    pytest.skip("this file system knows no immutable files")
                machine.checkout(also)
                for path, mode in ((tree / "a" / "b", 0o644), (tree / "a", 0o755)):
                    found = path.stat()
                    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (mode, 0)
                    assert "security.capability" not in os.listxattr(path)
                (tree / "a" / "b").write_text("the next build may")
                (tree / "a" / "new").touch()
                (tree / "a" / "b").unlink()
                (tree / ".git" / "new").touch()
                machine.checkout(commit)
    finally:
        subprocess.run(["chattr", "-R", "-i", "-a", str(machine.top / "trees")], check=False, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a tree to an account")
def test_a_tree_that_was_given_to_an_account_stays_its_and_what_is_right_is_not_touched(machine: Machine) -> None:
    """To give thousands of files back and forth for each build would take longer than many builds."""
    origin, account = machine.origin, 1_900_000_000
    for name in ("a/stays", "a/changes"):
        origin.commit(name)
    first = origin.commit("goes")
    (origin.path / "a" / "link").symlink_to("stays")
    (origin.path / "a" / "changes").write_text("another text")
    second = origin.commit("b/new")
    tree = machine.checkout(first)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, account, account, follow_symlinks=False)
    os.chown(tree / "goes", 0, 0)
    before = (tree / "a" / "stays").stat().st_ctime_ns
    for commit in (second, first):
        machine.checkout(commit)
        owners = {path: path.lstat().st_uid for path in (tree, *tree.rglob("*")) if ".git" not in path.parts}
        assert set(owners.values()) == {account}, owners
        assert (tree / "a" / "stays").stat().st_ctime_ns == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file immutable")
@pytest.mark.parametrize("flag", ["+i", "+a"])
def test_a_mirror_that_root_s_build_made_immutable_goes_on(machine: Machine, flag: str) -> None:
    machine.checkout(machine.origin.commit("a"))
    places = [machine.top / "mirrors", machine.top / "trees"]
    if subprocess.run(["chattr", "-R", flag, *map(str, places)], check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no immutable files")
    try:
        assert (machine.checkout(machine.origin.commit("b")) / "b").exists()
        assert (machine.checkout(machine.origin.commit("c")) / "c").exists()
    finally:
        subprocess.run(["chattr", "-R", "-i", "-a", *map(str, places)], check=False, capture_output=True)


def test_a_build_s_git_describes_its_commit_by_the_tags_that_reach_it_and_no_others(machine: Machine) -> None:
    first = machine.origin.commit()
    second = machine.origin.commit()
    tree = machine.checkout(first)
    assert first.startswith(machine.said(tree, "describe", "--tags", "--always"))
    machine.origin.git("tag", "-a", "-m", "late", "v1", first)  # after the commit was fetched
    machine.origin.git("tag", "later", second)
    for _ in range(2):
        tree = machine.checkout(first)
        assert machine.said(tree, "describe") == "v1"
        assert machine.said(tree, "tag", "-l") == "v1"
        git(tree, "tag", "mine")
    tree = machine.checkout(second, 1)
    assert machine.said(tree, "describe") == f"v1-1-g{machine.said(tree, 'rev-parse', '--short', 'HEAD')}"
    assert machine.said(tree, "tag", "-l").split() == ["later", "v1"]
    assert machine.said(tree, "status", "--porcelain", "--ignored") == ""
    assert machine.said(tree, "config", "remote.origin.url") == machine.origin.url
    assert machine.said(tree, "rev-list", "--count", "HEAD") == "2"


def test_the_tags_are_those_of_before_while_the_origin_is_away(machine: Machine) -> None:
    commit = machine.origin.commit()
    machine.origin.git("tag", "v1")
    machine.checkout(commit)
    away = machine.origin.path.with_name("away")
    with capturedLogs() as lines:
        for times_said in (1, 2):
            machine.origin.path.rename(away)
            for _ in range(3):
                assert machine.said(machine.checkout(commit), "tag", "-l") == "v1"
            told = [one for one in lines if "those that came with its commits" in (formatEvent(one) or "")]
            assert len(told) == times_said, "once, and again after it had told them"
            away.rename(machine.origin.path)
            machine.checkout(commit)
    machine.origin.path.rename(away)
    machine.restarted()
    assert machine.said(machine.checkout(commit), "tag", "-l") == "v1"


def test_text_that_was_committed_with_crlf_before_it_was_declared_is_as_in_a_clone_though_there_is_much(
    machine: Machine,
) -> None:
    for number in range(2_000):
        path = machine.origin.path / "text" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"one\r\ntwo\r\n")
    machine.origin.commit("other")
    commit = machine.origin.commit(".gitattributes", "*.txt text eol=lf\n")
    wanted = manifest(fresh_clone(machine.origin, commit, machine.top / "clone"))
    for _ in range(2):
        assert manifest(machine.checkout(commit)) == wanted


def test_a_history_of_sha256_ids_is_laid_out_as_well(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    machine.origin = Origin(tmp_path / "wide", object_format="sha256")
    machine.origin.commit("a", "one\n")
    commit = machine.origin.commit(".gitattributes", "a text eol=crlf\n")
    for _ in range(2):
        tree = machine.checkout(commit)
        assert (tree / "a").read_bytes() == b"one\r\n"
        assert machine.said(tree, "status", "--porcelain") == ""
        (tree / "a").write_text("spoilt")


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", "..", "."])
def test_a_path_that_git_checks_out_nowhere_is_the_project_s_to_mend(machine: Machine, name: str) -> None:
    machine.origin.commit("a")
    blob = machine.origin.git("rev-parse", "HEAD:a")
    entry = f"100644 {name}\0".encode() + bytes.fromhex(blob)
    path = machine.top / "tree"
    path.write_bytes(entry)
    tree = machine.origin.git("hash-object", "-t", "tree", "-w", "--literally", str(path))
    commit = machine.origin.git("commit-tree", "-m", "bad", tree)
    machine.origin.git("branch", "bad", commit)
    with pytest.raises(SourceUnusable, match="git checks out nowhere"):
        machine.checkout(commit)
    assert (machine.checkout(machine.origin.git("rev-parse", "main")) / "a").exists()


def add_submodule(machine: Machine, url: str, path: str = "ext") -> None:
    machine.origin.git(*CLONING[:2], "submodule", "--quiet", "add", url, path)


def test_a_submodule_s_commit_that_was_never_pushed_is_the_project_s_to_mend(machine: Machine) -> None:
    library = Origin(machine.top / "library")
    library.commit("f")
    add_submodule(machine, library.url)
    good = machine.origin.commit("a")
    (machine.origin.path / "ext" / "f").write_text("unpushed\n")
    machine.origin.git("-C", "ext", "commit", "-qam", "unpushed")
    bad = machine.origin.commit("a")
    unpushed = machine.origin.git("-C", "ext", "rev-parse", "HEAD")
    with pytest.raises(SourceUnusable) as raised:
        machine.checkout(bad)
    for word in ("'ext'", unpushed, library.url, "push"):
        assert word in str(raised.value)
    assert (machine.checkout(good) / "ext" / "f").exists()


def test_a_submodule_without_a_url_is_the_project_s_to_mend(machine: Machine) -> None:
    machine.origin.commit("a")
    machine.origin.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},ext/none")
    machine.origin.git("commit", "-qm", "a gitlink alone")
    with pytest.raises(SourceUnusable, match=r"'ext/none' has no URL in .gitmodules"):
        machine.checkout(machine.origin.git("rev-parse", "HEAD"))


@pytest.mark.parametrize(
    "url", ["file:///nowhere/at/all", "ext::sh -c touch% owned", "-x", "../../../../../../../../x"]
)
def test_a_submodule_that_cannot_be_fetched_is_the_project_s_to_mend(machine: Machine, url: str) -> None:
    library = Origin(machine.top / "library")
    library.commit("f")
    add_submodule(machine, library.url)
    machine.origin.git("config", "--file", ".gitmodules", "submodule.ext.url", url)
    with pytest.raises(SourceUnusable, match="'ext'"):
        machine.checkout(machine.origin.commit("a"))


def test_a_submodule_that_its_project_never_checks_out_is_an_empty_directory(machine: Machine) -> None:
    library = Origin(machine.top / "library")
    library.commit("f")
    add_submodule(machine, library.url)
    machine.origin.git("config", "--file", ".gitmodules", "submodule.ext.update", "none")
    commit = machine.origin.commit("a")
    wanted = manifest(fresh_clone(machine.origin, commit, machine.top / "clone"))
    tree = machine.checkout(commit)
    assert manifest(tree) == wanted
    (tree / "ext" / "left").write_text("behind")
    assert manifest(machine.checkout(commit)) == wanted


@pytest.mark.parametrize("name", [".gitattributes", "d/.gitattributes"])
def test_a_submodule_may_be_called_as_the_file_of_attributes(machine: Machine, name: str) -> None:
    library = Origin(machine.top / "library")
    library.commit("f")
    machine.origin.commit("a")
    gitlink = f"160000,{library.git('rev-parse', 'HEAD')},{name}"
    machine.origin.git("config", "--file", ".gitmodules", "submodule.x.path", name)
    machine.origin.git("config", "--file", ".gitmodules", "submodule.x.url", "../library")
    machine.origin.git("add", ".gitmodules")
    machine.origin.git("update-index", "--add", "--cacheinfo", gitlink)
    machine.origin.git("commit", "-qm", "x")
    commit = machine.origin.git("rev-parse", "HEAD")
    wanted = manifest(fresh_clone(machine.origin, commit, machine.top / "clone"))
    assert manifest(machine.checkout(commit)) == wanted


@pytest.mark.parametrize("path", [".gitmodules", "ext"])
def test_gitmodules_that_is_no_file_is_the_project_s_to_mend(machine: Machine, path: str) -> None:
    machine.origin.commit("a" if path == ".gitmodules" else ".gitmodules/a")
    machine.origin.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{path}")
    machine.origin.git("commit", "-qm", "x")
    with pytest.raises(SourceUnusable, match=r"has no URL in \.gitmodules"):
        machine.checkout(machine.origin.git("rev-parse", "HEAD"))


def test_gitmodules_includes_no_file_of_the_machine(machine: Machine) -> None:
    library = Origin(machine.top / "library")
    library.commit("f")
    add_submodule(machine, library.url)
    secret = machine.top / "secret"
    secret.write_text("this is no configuration\n")
    machine.origin.git("config", "--file", ".gitmodules", "include.path", str(secret))
    commit = machine.origin.commit("a")
    assert (machine.checkout(commit) / "ext" / "f").exists()


def test_a_submodule_s_name_that_git_refuses_is_the_project_s_to_mend(machine: Machine) -> None:
    library = Origin(machine.top / "library")
    library.commit("f")
    add_submodule(machine, library.url)
    machine.origin.git("config", "--file", ".gitmodules", "--rename-section", "submodule.ext", "submodule.../x")
    with pytest.raises(SourceUnusable, match=r"'ext' is named '\.\./x'"):
        machine.checkout(machine.origin.commit("a"))


def test_an_encoding_without_a_name_is_told_in_git_s_words(machine: Machine) -> None:
    machine.origin.commit("a.crlf")
    machine.origin.commit(".gitattributes", "b working-tree-encoding\n*.crlf text eol=crlf\n")
    # git adds no file any more that has such an attribute.
    blob = machine.origin.git("rev-parse", "HEAD:a.crlf")
    machine.origin.git("update-index", "--add", "--cacheinfo", f"100644,{blob},b")
    commit = machine.origin.git("commit-tree", "-m", "x", machine.origin.git("write-tree"))
    machine.origin.git("update-ref", "refs/heads/other", commit)
    with pytest.raises(SourceUnusable, match=r"'b' out as its attributes say: fatal: .*working-tree-encoding"):
        machine.checkout(commit)


# --- Git LFS ------------------------------------------------------------------------------------------------

LARGE = b"large " * 5_000


def with_lfs(machine: Machine, *, push: bool = True) -> tuple[str, Path]:
    """Return a commit with a file in an LFS store, and the bare repository that has both."""
    require("git-lfs", "git-lfs")
    bare = machine.top / "bare.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    git(machine.origin.path, "lfs", "install", "--local", "--skip-smudge")
    (machine.origin.path / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (machine.origin.path / "a.bin").write_bytes(LARGE)
    commit = machine.origin.commit("b")
    git(machine.origin.path, "remote", "add", "origin", f"file://{bare}")
    git(machine.origin.path, "push", "-q", "origin", "main", *(() if push else ("--no-verify",)))
    return commit, bare


def test_files_in_git_lfs_come_with_their_content_and_are_compared_with_it(machine: Machine) -> None:
    commit, bare = with_lfs(machine)
    url = f"file://{bare}"
    tree = run(machine.trees.checkout(url, commit, 0))
    assert (tree / "a.bin").read_bytes() == LARGE
    (tree / "a.bin").write_bytes(bytes(len(LARGE)))
    assert (run(machine.trees.checkout(url, commit, 0)) / "a.bin").read_bytes() == LARGE


@pytest.mark.parametrize("how", ["never pushed", "deleted", "damaged"])
def test_a_file_that_its_lfs_store_lacks_is_the_project_s_to_mend(machine: Machine, how: str) -> None:
    commit, bare = with_lfs(machine, push=how != "never pushed")
    for path in [one for one in (bare / "lfs").rglob("*") if one.is_file()]:
        path.chmod(0o644)
        path.unlink() if how == "deleted" else path.write_bytes(bytes(len(LARGE)))
    why = "invalid hash" if how == "damaged" else "missing object"
    with pytest.raises(SourceUnusable, match=rf"^a\.bin cannot be had from the Git LFS store .*{why}.*git lfs push"):
        run(machine.trees.checkout(f"file://{bare}", commit, 0))


def test_an_lfs_store_that_does_not_answer_is_no_mistake_of_the_project(machine: Machine) -> None:
    require("git-lfs", "git-lfs")
    (machine.origin.path / ".lfsconfig").write_text("[lfs]\n\turl = http://127.0.0.1:1/store\n")
    commit, bare = with_lfs(machine, push=False)
    with pytest.raises(RepositoryUnreachable, match=r"a\.bin cannot be had .*refused"):
        run(machine.trees.checkout(f"file://{bare}", commit, 0))


def test_without_git_lfs_the_build_ends_and_names_the_file_and_the_program(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit, bare = with_lfs(machine)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "sh", "env"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(SourceUnusable, match=r"a\.bin.*git-lfs"):
        run(machine.trees.checkout(f"file://{bare}", commit, 0))
