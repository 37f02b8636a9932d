"""A commit that the metaserver has reaches build servers whose origin does not give it out, and nothing else does."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buildtool.adapters.vcs.git.ids import Unreadable
from buildtool.adapters.vcs.git_mirrors import bundles
from buildtool.adapters.vcs.git_mirrors.bundles import Bundles
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.errors import BadUpload, CommitGone, NotFound, RepositoryUnreachable, Unavailable, UnknownRef
from buildtool.ports.metaserver import Bundle
from tests.adapters.vcs.git_mirrors.mirrors import Mirrored
from tests.support.origins import Origin


def git(path: Path, *arguments: str) -> str:
    done = subprocess.run(["git", f"--git-dir={path}", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class BundleTests(Mirrored):
    def setUp(self) -> None:
        super().setUp()
        self.clock = cast("IReactorTime", reactor)
        self.bundles = Bundles(self.mirror, self.directory / "bundles", self.threads, self.clock)
        self.addCleanup(self.bundles.stop)
        self.there = GitMirror(self.directory / "elsewhere", self.threads)
        self.addCleanup(self.there.close)
        self.copied = 0

    async def copy(self, path: Path, url: str = "", commit: str = "") -> None:
        """What a build server fetches from the metaserver."""
        self.copied += 1
        bundle = await self.bundles.of(url or self.url, commit or self.lost)
        shutil.copyfile(bundle.path, path)

    @staticmethod
    async def ended(_path: Path) -> None:
        """What a build server hears whose attempt has ended."""
        raise NotFound("that attempt has ended")

    async def history(self) -> None:
        """A line with tags, whose newest commit is seen, pinned, and then overwritten at the origin."""
        self.origin.commit("a")
        self.origin.git("tag", "light")
        self.origin.commit("b")
        self.origin.git("tag", "-a", "-m", "one", "v1.0")
        base = self.origin.git("rev-parse", "HEAD")
        self.lost = self.origin.commit("lost")
        self.origin.git("checkout", "-q", "-b", "side", base)
        self.origin.commit("side")
        self.origin.git("tag", "-a", "-m", "not reached", "v2.0")
        await self.mirror.resolve(self.url, "main")
        await self.mirror.pin(self.url, self.lost)
        self.origin.git("branch", "-qf", "main", base)
        self.prune()

    def prune(self) -> None:
        self.origin.git("reflog", "expire", "--expire=now", "--all")
        self.origin.git("gc", "-q", "--prune=now")

    async def check_taken(self) -> None:
        path = self.there.mirror(self.url).path
        self.assertEqual(git(path, "describe", "--long", self.lost), f"v1.0-1-g{self.lost[:7]}")
        git(path, "fsck", "--full", "--strict")

    async def test_a_commit_that_was_overwritten_comes_from_the_metaserver_with_the_tags_that_lead_to_it(self) -> None:
        await self.history()
        await self.there.fetch_commit(self.url, self.lost, self.copy)
        await self.check_taken()
        self.assertEqual(await self.there.resolve(self.url, self.lost), self.lost)
        self.assertEqual(self.copied, 1)
        later = GitMirror(self.directory / "elsewhere", self.threads)
        self.addCleanup(later.close)
        await later.fetch_commit(self.url, self.lost)

    async def test_who_shared_what_another_build_found_nothing_with_asks_with_the_own_ticket(self) -> None:
        """That other build may have ended meanwhile, and its ticket with it."""
        await self.history()
        with self.assertRaises(CommitGone):  # and there is a mirror, which looked at the origin
            await self.there.fetch_commit(self.url, self.lost, self.ended)
        await deferLater(self.clock, 0)  # and that one has ended
        mirror = self.there.mirror(self.url)
        # Each joins as it is asked, so the third shares with the second, whose ticket is shown.
        waiting = [
            Deferred.fromCoroutine(self.there._copies.take(mirror, self.lost, copy, UnknownRef("gone")))
            for copy in (self.ended, self.ended, self.copy)
        ]
        first, second, third = await DeferredList(waiting, consumeErrors=True)
        for failed in (first, second):
            self.assertIn(CommitGone.__name__, str(failed[1]))
        self.assertEqual((third, self.copied), ((True, None), 1))
        await self.check_taken()

    async def test_it_comes_though_the_origin_is_away_altogether(self) -> None:
        await self.history()
        shutil.rmtree(self.origin.path)
        await self.there.fetch_commit(self.url, self.lost, self.copy)
        await self.check_taken()
        path = self.there.mirror(self.url).path
        self.assertEqual(git(path, "tag").split(), ["light", "v1.0"])

    async def test_a_mirror_that_has_most_of_it_takes_the_rest(self) -> None:
        await self.history()
        await self.there.resolve(self.url, "main")
        await self.there.fetch_commit(self.url, self.lost, self.copy)
        await self.check_taken()

    async def test_one_that_the_origin_has_is_not_asked_for(self) -> None:
        commit = self.origin.commit("a")
        await self.there.fetch_commit(self.url, commit, self.copy)
        self.assertEqual(self.copied, 0)

    async def test_ids_of_sha256_work_alike(self) -> None:
        shutil.rmtree(self.origin.path)
        self.origin = Origin(self.origin.path, object_format="sha256")
        await self.history()
        await self.there.fetch_commit(self.url, self.lost, self.copy)
        await self.check_taken()

    async def test_the_tags_in_a_bundle_are_the_newest(self) -> None:
        commit = self.lost = self.origin.commit("a")
        await self.mirror.resolve(self.url, "main")
        self.origin.git("tag", "-a", "-m", "late", "late")
        bundle = await self.bundles.of(self.url, commit)
        header = bundle.path.read_bytes().partition(b"\n\n")[0]
        self.assertIn(b" refs/tags/late", header)

    async def test_what_is_nowhere_any_more_is_said_so_and_what_to_do(self) -> None:
        self.origin.commit("a")
        gone = "1" * 40
        error = await self.refusal(self.there.fetch_commit(self.url, gone, lambda path: self.copy(path, commit=gone)))
        self.assertIsInstance(error, CommitGone)
        self.assertIn("push it again", str(error))

    async def test_while_the_origin_is_away_nobody_says_that_a_commit_is_nowhere(self) -> None:
        gone = "1" * 40
        shutil.rmtree(self.origin.path)
        error = await self.refusal(self.there.fetch_commit(self.url, gone, lambda path: self.copy(path, commit=gone)))
        self.assertIsInstance(error, RepositoryUnreachable)

    async def test_a_metaserver_that_is_away_decides_nothing(self) -> None:
        self.origin.commit("a")

        async def away(_path: Path) -> None:
            raise Unavailable("no metaserver")

        error = await self.refusal(self.there.fetch_commit(self.url, "1" * 40, away))
        self.assertIsInstance(error, Unavailable)
        self.assertIsInstance(await self.refusal(self.there.fetch_commit(self.url, "1" * 40)), UnknownRef)

    async def test_no_bundle_that_is_not_what_was_asked_for_is_taken(self) -> None:
        await self.history()
        other = await self.mirror.resolve(self.url, "side")
        good = (await self.bundles.of(self.url, self.lost)).path.read_bytes()
        foreign = (await self.bundles.of(self.url, other)).path.read_bytes()
        header, _, pack = good.partition(b"\n\n")
        spoilt = bytearray(good)
        spoilt[-40] ^= 0xFF
        for data in (
            b"",
            b"nonsense",
            foreign,
            foreign.replace(other.encode(), self.lost.encode()),
            good[:-30],
            bytes(spoilt),
            header + b"\n",
            header + b"\n" + self.lost.encode() + b" refs/heads/main\n\n" + pack,
            header + b"\n" + self.lost.encode() + b" refs/tags/../../x\n\n" + pack,
            header + b"\n" + b"2" * 40 + b" refs/tags/x\n\n" + pack,
            header + b"\n" + b"x" * 100_000 + b"\n\n" + pack,
        ):

            async def hostile(path: Path, data: bytes = data) -> None:
                path.write_bytes(data)

            error = await self.refusal(self.there.fetch_commit(self.url, self.lost, hostile))
            self.assertIsInstance(error, BadUpload, data[:60])
            self.assertEqual(sorted((self.directory / "elsewhere").glob("*.bundle*")), [])
        await self.there.fetch_commit(self.url, self.lost, self.copy)
        await self.check_taken()

    async def test_no_bundle_of_tags_that_lead_nowhere_is_taken_and_no_file_is_left(self) -> None:
        await self.history()
        await self.there.fetch_commit(self.url, self.lost, self.copy)
        good = (await self.bundles.tags(self.url, self.lost)).path.read_bytes()
        self.assertIn(b"-" + self.lost.encode(), good)
        whole = (await self.bundles.of(self.url, self.lost)).path.read_bytes()
        header, _, pack = good.partition(b"\n\n")
        given = [b""]

        async def sent(path: Path) -> None:
            path.write_bytes(given[0])

        for data in (
            b"",
            whole,
            good[:-30],
            header + b"\n",
            header + b"\n" + b"2" * 40 + b" refs/tags/x\n\n" + pack,
            header + b"\n" + self.lost.encode() + b" refs/heads/main\n\n" + pack,
            header + b"\n" + self.lost.encode() + b" refs/tags/../../x\n\n" + pack,
            header + b"\n" + self.lost.encode() + b" refs/tags/a\n" + self.lost.encode() + b" refs/tags/a/b\n\n" + pack,
            header + b"\n" + b"x" * 100_000 + b"\n\n" + pack,
        ):
            given[0] = data
            error = await self.refusal(self.there.tags_of(self.url, self.lost, sent))
            self.assertIsInstance(error, BadUpload, data[:200])
            self.assertEqual(sorted((self.directory / "elsewhere").glob("*.bundle*")), [])
        given[0] = good
        found = await self.there.tags_of(self.url, self.lost, sent)
        self.assertEqual(set(found), {"refs/tags/light", "refs/tags/v1.0"})
        await self.check_taken()

    async def test_tags_are_packed_anew_once_the_origin_has_others_and_their_file_has_nothing_else(self) -> None:
        commit = await self.mirror.resolve(self.url, self.origin.commit("a", os.urandom(50_000).hex()))
        first = await self.bundles.tags(self.url, commit)
        self.assertLess(first.size, 1_000)
        self.patch(bundles, "TAGS_FRESH", 0.0)
        self.bundles._tagged.clear()
        self.origin.git("tag", "-a", "-m", "late", "late")
        again = await self.bundles.tags(self.url, commit)
        self.assertIn(b" refs/tags/late\n", again.path.read_bytes())
        self.assertLess(again.size, 1_000)
        self.assertEqual([one.name for one in (self.directory / "bundles").iterdir()], [again.path.name])
        self.assertIsInstance(await self.refusal(self.bundles.tags("svn://example.org/x", "r1")), NotFound)

    async def test_a_bundle_is_made_once_shared_and_made_again_when_it_was_taken_away(self) -> None:
        await self.history()
        first = await self.bundles.of(self.url, self.lost)
        self.assertEqual(await self.bundles.of(self.url, self.lost), first)
        self.assertEqual([one.name for one in (self.directory / "bundles").iterdir()], [first.path.name])
        shutil.rmtree(self.directory / "bundles")
        again = await self.bundles.of(self.url, self.lost)
        self.assertTrue(again.path.exists())
        self.assertIsInstance(again, Bundle)

    async def test_a_mirror_that_is_damaged_is_mended_before_it_is_packed(self) -> None:
        await self.history()
        path = self.mirror.mirror(self.url).path
        for index in (path / "objects" / "pack").glob("*.idx"):
            index.unlink()
        await self.there.fetch_commit(self.url, self.lost, self.copy)
        await self.check_taken()

    async def test_damage_that_only_reading_finds_is_mended_though_the_origin_is_away(self) -> None:
        await self.history()
        mirror = self.mirror.mirror(self.url)
        for pack in (mirror.path / "objects" / "pack").glob("*.idx"):
            pack.unlink()
        self.mirror.keeper.left(mirror)  # so it does not show that anybody touched it
        shutil.rmtree(self.origin.path)
        await self.mirror.reading(self.url, self.reading_fails_once)
        await self.there.fetch_commit(self.url, self.lost, self.copy)
        await self.check_taken()

    async def reading_fails_once(self) -> None:
        """What git says of a pack that it cannot read."""
        mirror = self.mirror.mirror(self.url)
        if not list((mirror.path / "objects" / "pack").glob("*.idx")):
            raise Unreadable("cannot be read")

    async def test_subversion_has_no_bundles(self) -> None:
        error = await self.refusal(self.bundles.of("svn://example.org/x", "r1"))
        self.assertIsInstance(error, NotFound)


class ShallowTests(Mirrored):
    """An origin that has only the last part of its history is mirrored as it is, and grows as it does."""

    def shallow(self, depth: int) -> tuple[str, Path]:
        path = self.directory / "shallow.git"
        command = ["git", "clone", "-q", "--bare", f"--depth={depth}", self.origin.url, str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return f"file://{path}", path

    async def test_its_commits_are_there_and_those_cut_off_are_said_to_be(self) -> None:
        line = [self.origin.commit() for _ in range(5)]
        url, path = self.shallow(2)
        self.assertEqual(await self.mirror.resolve(url, "main"), line[4])
        self.assertEqual(await self.mirror.resolve(url, line[3]), line[3])
        self.assertEqual(await self.mirror.acceptable(url, line[4], "4"), (line[4], line[3]))
        error = await self.refusal(self.mirror.resolve(url, line[1]))
        self.assertIsInstance(error, UnknownRef)
        self.assertIn("shallow", str(error))
        git(path, "fetch", "-q", "--deepen=1", self.origin.url, "main")
        line.append(self.origin.commit())
        git(path, "fetch", "-q", self.origin.url, "+main:main")
        self.assertEqual(await self.mirror.resolve(url, "main"), line[5])
        self.assertEqual(await self.mirror.resolve(url, line[2]), line[2])
        git(path, "fetch", "-q", "--unshallow", self.origin.url, "main")
        self.assertEqual(await self.mirror.resolve(url, line[0]), line[0])
        self.assertEqual(await self.mirror.acceptable(url, line[5], "9"), tuple(reversed(line)))

    async def test_a_commit_of_it_comes_as_a_bundle_and_the_mirror_is_mended_like_any_other(self) -> None:
        for _ in range(4):
            self.origin.commit("big", os.urandom(2_000).hex())
        url, path = self.shallow(2)
        commit = await self.mirror.resolve(url, "main")
        await self.mirror.pin(url, commit)
        packing = Bundles(self.mirror, self.directory / "bundles", self.threads, cast("IReactorTime", reactor))
        self.addCleanup(packing.stop)
        shutil.rmtree(path)
        for index in (self.mirror.mirror(url).path / "objects" / "pack").glob("*.idx"):
            index.unlink()

        async def copy(target: Path) -> None:
            shutil.copyfile((await packing.of(url, commit)).path, target)

        there = GitMirror(self.directory / "elsewhere", self.threads)
        self.addCleanup(there.close)
        await there.fetch_commit(url, commit, copy)
        own = there.mirror(url).path
        self.assertEqual(len(git(own, "rev-list", commit).split()), 2)
        git(own, "fsck", "--full", "--strict")
