"""A mirror that is damaged in any way is found, made anew, said once, and neither blamed on its origin nor believed."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.errors import RepositoryUnreachable, UnknownRef
from tests.adapters.vcs.git_mirrors.mirrors import Mirrored
from tests.support.logs import listening
from tests.support.origins import Origin

Damage = Callable[[Path], object]


def packs(path: Path, kind: str) -> list[Path]:
    return sorted((path / "objects" / "pack").glob(f"*.{kind}"))


def spoil(file: Path, offset: int | None = None) -> None:
    """Change some bytes in the middle of a file, and leave its length and time stamp as they were."""
    stat = file.stat()
    data = bytearray(file.read_bytes())
    at = len(data) // 2 if offset is None else offset
    for place in range(at, min(at + 4, len(data))):
        data[place] ^= 0xFF
    file.chmod(0o644)
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def cut(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(b"")


def lead_nowhere(path: Path) -> None:
    (path / "refs" / "heads" / "main").unlink()
    (path / "packed-refs").write_text(f"{'1' * 40} refs/heads/main\n")


def become_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("a file")


def become_a_pipe(name: str) -> Damage:
    def damage(path: Path) -> None:
        (path / name).unlink(missing_ok=True)
        os.mkfifo(path / name)

    return damage


def become_a_link(name: str) -> Damage:
    def damage(path: Path) -> None:
        (path / name).unlink()
        (path / name).symlink_to("/dev/zero")

    return damage


def each(kind: str, act: Damage) -> Damage:
    def damage(path: Path) -> None:
        found = packs(path, kind)
        assert found
        for file in found:
            act(file)

    return damage


def rewrite(name: str, text: str) -> Damage:
    return lambda path: (path / name).write_text(text)


def unpacked(act: Damage) -> Damage:
    """Do something to every blob, when each object is a file of its own."""

    def damage(path: Path) -> None:
        for pack in packs(path, "pack"):
            held = path.parent / pack.name
            pack.rename(held)
            for other in pack.parent.glob(f"{pack.stem}.*"):
                other.unlink()
            with held.open("rb") as stream:
                subprocess.run(["git", f"--git-dir={path}", "unpack-objects", "-q"], stdin=stream, check=True)
            held.unlink()
        files = [one for one in (path / "objects").glob("??/*") if len(one.parent.name) == 2]
        assert files
        for file in files:
            act(file)

    return damage


DAMAGES: dict[str, Damage] = {
    "a pack is missing": each("pack", Path.unlink),
    "a pack is spoilt": each("pack", spoil),
    "a pack has a spoilt header": each("pack", lambda file: spoil(file, 0)),
    "a pack is cut off": each("pack", cut),
    "a pack is empty": each("pack", empty),
    "an index is missing": each("idx", Path.unlink),
    "an index is spoilt": each("idx", spoil),
    "an index is cut off": each("idx", cut),
    "objects are gone": lambda path: shutil.rmtree(path / "objects"),
    "an object is missing": unpacked(Path.unlink),
    "an object is spoilt": unpacked(spoil),
    "an object is cut off": unpacked(cut),
    "HEAD is missing": lambda path: (path / "HEAD").unlink(),
    "HEAD is nonsense": rewrite("HEAD", "nonsense"),
    "HEAD is elsewhere": rewrite("HEAD", "ref: refs/heads/other\n"),
    "packed-refs is nonsense": rewrite("packed-refs", "nonsense\n"),
    "a packed ref leads nowhere": lead_nowhere,
    "a ref is nonsense": rewrite("refs/heads/main", "nonsense"),
    "a ref is empty": rewrite("refs/heads/main", ""),
    "a ref leads nowhere": rewrite("refs/heads/main", "2" * 40 + "\n"),
    "all refs are gone": lambda path: shutil.rmtree(path / "refs"),
    "the configuration is missing": lambda path: (path / "config").unlink(),
    "the configuration is nonsense": rewrite("config", "[core\n"),
    "the configuration says that ids are other": rewrite(
        "config", "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
    ),
    "the copy of the configuration is missing": lambda path: path.with_suffix(".config").unlink(),
    "everything is gone": shutil.rmtree,
    "everything is gone with all that lies beside it": lambda path: shutil.rmtree(path.parent),
    "HEAD is a pipe": become_a_pipe("HEAD"),
    "the configuration is a pipe": become_a_pipe("config"),
    "packed-refs is a pipe": become_a_pipe("packed-refs"),
    "a ref is a link to elsewhere": become_a_link("refs/heads/main"),
    "it is a file": become_a_file,
}

ONE_OF_EACH = {
    "a pack is spoilt",
    "an index is missing",
    "an object is cut off",
    "HEAD is a pipe",
    "packed-refs is nonsense",
    "the configuration says that ids are other",
    "everything is gone",
}
"""What is tried with every change: one for each way in which damage is found."""

INTACT = (
    "an index is missing",
    "an index is spoilt",
    "an index is cut off",
    "HEAD is missing",
    "HEAD is a pipe",
    "a ref is a link to elsewhere",
    "packed-refs is nonsense",
    "a ref is nonsense",
    "all refs are gone",
    "the configuration is nonsense",
    "the copy of the configuration is missing",
)


@contextmanager
def said() -> Iterator[list[str]]:
    """What the log says of mirrors that were damaged; filled when the block ends."""
    found: list[str] = []
    with listening() as lines:
        yield found
    found += [line for line in lines if "made anew" in line]


class DamageTests(Mirrored):
    async def damaged(self, damage: Damage) -> tuple[str, str, GitMirror]:
        """A mirror with a pin that the origin lost, damaged; the pinned commit and the newest."""
        self.origin.commit("a")
        lost = self.origin.commit("lost")
        await self.mirror.resolve(self.url, "main")
        await self.mirror.pin(self.url, lost)
        self.origin.git("reset", "-q", "--hard", "HEAD~1")
        self.origin.git("reflog", "expire", "--expire=now", "--all")
        self.origin.git("gc", "-q", "--prune=now")
        newest = self.origin.commit("kept")
        await self.mirror.resolve(self.url, "main")
        damage(self.mirror.mirror(self.url).path)
        return lost, newest, self.mirror

    async def check_whole(self, mirror: GitMirror) -> None:
        path = mirror.mirror(self.url).path
        subprocess.run(["git", f"--git-dir={path}", "fsck", "--full", "--strict"], check=True, capture_output=True)

    async def check(self, name: str, damage: Damage, *, restart: bool) -> None:
        self.setUp()
        _, newest, mirror = await self.damaged(damage)
        if restart:
            mirror = self.restarted()
        self.origin.git("branch", "-f", "other", newest)
        with said() as lines:
            self.assertEqual(await mirror.resolve(self.url, "main"), newest, name)
            self.assertEqual(await mirror.resolve(self.url, "other"), newest, name)
            moved = self.origin.commit("moved")
            self.assertEqual(await mirror.resolve(self.url, "main"), moved, name)
            self.assertEqual(await mirror.resolve(self.url, newest[:12]), newest, name)
            self.assertEqual(await mirror.acceptable(self.url, moved, "1"), (moved, newest), name)
            await mirror.pin(self.url, moved)
            self.assertIsInstance(await self.refusal(mirror.resolve(self.url, "absent")), UnknownRef)
        self.assertEqual(len(lines), 1, (name, lines))
        await self.check_whole(mirror)
        with said() as lines:
            again = self.origin.commit("again")
            self.assertEqual(await self.restarted().resolve(self.url, "main"), again)
        self.assertEqual(lines, [])

    async def test_damage_is_mended_while_the_program_runs_or_after_a_restart(self) -> None:
        await self.check_kinds(*ONE_OF_EACH)

    @pytest.mark.long
    async def test_damage_of_every_kind_is_mended_while_the_program_runs_or_after_a_restart(self) -> None:
        await self.check_kinds(*DAMAGES.keys() - ONE_OF_EACH)

    async def check_kinds(self, *names: str) -> None:
        for number, (name, damage) in enumerate(DAMAGES.items()):
            if name in names:
                # Of a mirror of which nothing is left nobody knows after a restart that it was there.
                await self.check(name, damage, restart=number % 2 == 0 and "beside" not in name)

    async def test_locks_that_a_killed_git_left_do_not_matter_while_the_program_runs(self) -> None:
        self.origin.commit("a")
        await self.mirror.resolve(self.url, "main")
        path = self.mirror.mirror(self.url).path
        for name in ("packed-refs.lock", "refs/heads/main.lock", "config.lock", "shallow.lock", "objects/x.lock"):
            (path / name).touch()
        commit = self.origin.commit("b")
        with said() as lines:
            self.assertEqual(await self.mirror.resolve(self.url, "main"), commit)
            await self.mirror.pin(self.url, commit)
        self.assertEqual(lines, [])
        self.assertEqual(list(path.rglob("*.lock")), [])

    async def test_pins_that_the_origin_has_no_more_survive_where_their_objects_do(self) -> None:
        await self.check_pins("an index is spoilt", "all refs are gone")

    @pytest.mark.long
    async def test_such_pins_survive_every_kind_of_damage_that_leaves_their_objects(self) -> None:
        await self.check_pins(*INTACT)

    async def check_pins(self, *names: str) -> None:
        for number, name in enumerate(names):
            self.setUp()
            lost, _, mirror = await self.damaged(DAMAGES[name])
            if number % 2:
                mirror = self.restarted()
            newest = self.origin.commit("newest")
            self.assertEqual(await mirror.resolve(self.url, "main"), newest, name)
            later = self.restarted()
            self.assertEqual(await later.resolve(self.url, lost), lost, name)
            path = later.mirror(self.url).path
            subprocess.run(["git", f"--git-dir={path}", "gc", "-q", "--prune=now"], check=True)
            self.assertEqual(await self.restarted().resolve(self.url, lost), lost, name)
            await self.check_whole(later)

    async def test_a_pin_survives_beside_what_is_spoilt_in_its_own_pack(self) -> None:
        self.origin.commit("a", os.urandom(20_000).hex())
        base = self.origin.git("rev-parse", "HEAD")
        lost = self.origin.commit("lost")
        self.origin.git("checkout", "-q", "-b", "side", base)
        self.origin.commit("big", os.urandom(200_000).hex())
        await self.mirror.resolve(self.url, "main")
        await self.mirror.pin(self.url, lost)
        self.origin.git("branch", "-qf", "main", base)
        path = self.mirror.mirror(self.url).path
        (pack,) = packs(path, "pack")
        order = subprocess.run(
            ["git", f"--git-dir={path}", "verify-pack", "-v", str(pack)], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        blobs = [line.split() for line in order if " blob " in line]
        biggest = max(blobs, key=lambda words: int(words[2]))
        spoil(pack, int(biggest[4]) + 1_000)
        mirror = self.restarted()
        newest = self.origin.commit("newest")
        with said() as lines:
            self.assertEqual(await mirror.resolve(self.url, "side"), newest)
        self.assertEqual(len(lines), 1)
        shutil.rmtree(self.origin.path)
        self.assertEqual(await self.restarted().resolve(self.url, lost), lost)
        await self.check_whole(mirror)

    async def test_a_mirror_is_mended_though_its_origin_is_away_and_gives_what_it_has(self) -> None:
        self.origin.commit("a")
        commit = self.origin.commit("b")
        await self.mirror.resolve(self.url, "main")
        await self.mirror.pin(self.url, commit)
        path = self.mirror.mirror(self.url).path
        for file in packs(path, "idx"):
            file.unlink()
        self.origin.path.rename(self.directory / "away")
        mirror = self.restarted()
        self.assertIsInstance(await self.refusal(mirror.resolve(self.url, "main")), RepositoryUnreachable)
        await mirror.pin(self.url, commit)
        self.assertEqual(await mirror.resolve(self.url, commit), commit)
        await self.check_whole(mirror)

    async def test_a_repository_that_was_made_anew_with_other_ids_is_mirrored_anew(self) -> None:
        self.origin.commit("a")
        await self.mirror.resolve(self.url, "main")
        shutil.rmtree(self.origin.path)
        other = Origin(self.origin.path, object_format="sha256")
        commit = other.commit("b")
        self.assertEqual(await self.mirror.resolve(self.url, "main"), commit)
        self.assertEqual(await self.mirror.resolve(self.url, commit), commit)
        self.assertEqual(await self.restarted().resolve(self.url, commit), commit)
        shutil.rmtree(self.origin.path)
        back = Origin(self.origin.path)
        commit = back.commit("c")
        self.assertEqual(await self.restarted().resolve(self.url, commit), commit)

    async def test_an_origin_that_is_damaged_itself_is_named_and_the_mirror_stays(self) -> None:
        self.origin.commit("a")
        await self.mirror.resolve(self.url, "main")
        commit = self.origin.commit("b")
        (self.origin.path / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
        with said() as lines:
            for _ in range(3):
                self.assertIsInstance(await self.refusal(self.mirror.resolve(self.url, "main")), RepositoryUnreachable)
        self.assertEqual(lines, [])
        await self.check_whole(self.mirror)

    async def test_one_that_was_being_made_anew_when_the_program_ended_is_finished(self) -> None:
        lost, newest, _ = await self.damaged(lambda path: path.rename(path.with_name(f"{path.name}.old")))
        mirror = self.restarted()
        self.assertEqual(await mirror.resolve(self.url, "main"), newest)
        self.assertEqual(await mirror.resolve(self.url, lost), lost)
        self.assertFalse(mirror.mirror(self.url).old.exists())
