"""A private origin: the metaserver alone has its login, build servers get the commit from there."""

import base64
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTime
from twisted.logger import capturedLogs, formatEvent

from buildtool.adapters.vcs.git_mirrors import bundles as bundles_module
from buildtool.adapters.vcs.git_mirrors.bundles import Bundles
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.errors import RepositoryUnreachable
from buildtool.model.access.origin_logins import OriginLogins
from buildtool.protocol.source_parts import WHOLE, SourceKind, SourcePart
from tests.adapters.vcs.git_mirrors.mirrors import Mirrored
from tests.support.git_http import PrivateOrigin
from tests.support.origins import git

PASSWORD = "p:a/ss@w%rd"
ENCODED = "p%3Aa%2Fss%40w%25rd"
NOBODY = f"Basic {base64.b64encode(b':').decode()}"


def processes() -> Iterator[bytes]:
    """Yield the command line of each process that runs now, as every user of the machine sees them."""
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield one.read_bytes()


class PrivateOriginTests(Mirrored):
    def setUp(self) -> None:
        super().setUp()
        self.listed: list[bytes] = []
        self.private = PrivateOrigin(self.directory, f"joe:{PASSWORD}", look=lambda: self.listed.extend(processes()))
        self.addCleanup(self.private.close)
        self.url = f"{self.private.site}origin/.git"
        self.logins = OriginLogins(((self.private.site, f"joe:{PASSWORD}"),))
        self.metaserver = self.made("metaserver", self.logins)
        self.there = self.made("build-server", OriginLogins())

    def made(self, name: str, logins: OriginLogins) -> GitMirror:
        made = GitMirror(self.directory / name, self.threads, logins.url)
        self.addCleanup(made.close)
        return made

    def check_untold(self, *places: Path, words: str) -> None:
        """The password is in no file below these places, nor in what was said."""
        for secret in (PASSWORD, ENCODED):
            self.assertNotIn(secret, words)
            for path in (one for place in places for one in place.rglob("*") if one.is_file()):
                self.assertNotIn(secret.encode(), path.read_bytes(), path)

    async def test_a_build_server_without_the_login_has_the_commit_from_the_metaserver(self) -> None:
        commit = self.origin.commit("a")
        bundles = Bundles(self.metaserver, self.directory / "bundles", self.threads, cast("IReactorTime", reactor))
        self.addCleanup(bundles.stop)

        async def copy(path: Path) -> None:
            shutil.copyfile((await bundles.of(self.url, commit)).path, path)

        with capturedLogs() as lines:
            self.assertEqual(await self.metaserver.resolve(self.url, "main"), commit)
            await self.metaserver.pin(self.url, commit)
            right = max(self.private.asked, key=len)
            self.private.asked.clear()
            await self.refusal(self.there.fetch_commit(self.url, commit))
            self.assertNotIn(right, self.private.asked, "the build server had none to show")
            self.assertEqual(await self.there.fetch_commit(self.url, commit, copy), commit)
        told = "\n".join(formatEvent(one) or "" for one in lines)
        self.check_untold(*(self.directory / one for one in ("metaserver", "build-server", "bundles")), words=told)

    async def test_its_tags_are_what_they_are_now_whatever_a_build_server_had_before(self) -> None:
        self.patch(bundles_module, "TAGS_FRESH", 0.0)
        packing = Bundles(self.metaserver, self.directory / "bundles", self.threads, cast("IReactorTime", reactor))
        self.addCleanup(packing.stop)
        trees = Worktrees(self.there, self.directory / "trees", self.threads)
        commit = ""

        async def copy(path: Path, part: SourcePart = WHOLE, /) -> None:
            give = packing.tags if part.kind is SourceKind.TAGS else packing.of
            shutil.copyfile((await give(self.url, commit)).path, path)

        async def describe() -> str:
            await self.metaserver.resolve(self.url, commit)
            tree = await trees.checkout(self.url, commit, 0, copy)
            tags = git(tree, "tag", "--list").split()
            kinds = [f"{git(tree, 'cat-file', '-t', one)} {one} {git(tree, 'rev-parse', f'{one}^0')}" for one in tags]
            return ", ".join([git(tree, "describe", "--always", "--long"), *kinds])

        commit = first = self.origin.commit("a")
        self.assertEqual(await describe(), f"{first[:7]}")
        self.origin.git("tag", "light")
        self.origin.git("tag", "-a", "-m", "set later", "v1")
        self.assertEqual(await describe(), f"v1-0-g{first[:7]}, commit light {first}, tag v1 {first}")
        commit = second = self.origin.commit("b")
        self.origin.git("tag", "-f", "-a", "-m", "moved", "v1")
        self.assertEqual(await describe(), f"v1-0-g{second[:7]}, commit light {first}, tag v1 {second}")
        self.origin.git("tag", "-d", "v1", "light")
        self.origin.git("tag", "-a", "-m", "a directory where a tag was", "v1/final", first)
        self.origin.git("tag", "-a", "-m", "of a tag", "outer", "v1/final")
        found = await describe()
        self.assertEqual(found, f"outer-1-g{second[:7]}, tag outer {first}, tag v1/final {first}")
        commit = first
        self.origin.git("tag", "-d", "v1/final", "outer")
        self.origin.git("tag", "v1", second)
        self.assertEqual(await describe(), first[:7])
        commit = second
        self.assertEqual(await describe(), f"{second[:7]}, commit v1 {second}")
        commit = third = self.origin.commit("c")
        self.assertEqual(await describe(), f"{third[:7]}, commit v1 {second}", "a bundle brings nothing that is gone")

    async def test_a_submodule_that_asks_for_a_login_is_named_and_what_to_do_is_said(self) -> None:
        trees = Worktrees(self.there, self.directory / "trees", self.threads)
        (self.origin.path / ".gitmodules").write_text(f'[submodule "lib"]\n\tpath = lib\n\turl = {self.url}\n')
        self.origin.git("update-index", "--add", "--cacheinfo", f"160000,{self.origin.commit('a')},lib")
        self.origin.git("commit", "-q", "-m", "with a submodule")
        error = await self.refusal(trees.checkout(self.origin.url, self.origin.git("rev-parse", "HEAD"), 0))
        self.assertRegex(
            str(error), r"^the submodule 'lib' cannot be fetched: .*origin_logins are the metaserver's alone"
        )

    async def test_what_is_said_where_a_login_is_wrong_or_missing_has_none_in_it(self) -> None:
        commit = self.origin.commit("a")
        wrong = self.made("wrong", OriginLogins(((self.private.site, f"joe:{PASSWORD}!"),)))
        own = f"http://joe:{ENCODED}!@{self.private.site.removeprefix('http://')}origin/.git"
        for mirror, url in ((wrong, self.url), (self.there, self.url), (self.there, own)):
            error = await self.refusal(mirror.resolve(url, "main"))
            self.assertIsInstance(error, RepositoryUnreachable)
            self.check_untold(self.directory / "wrong", words=str(error))
        await self.refusal(self.there.fetch_commit(self.url, commit))

    async def test_no_process_has_a_login_among_its_arguments(self) -> None:
        commit = self.origin.commit("a")
        own = f"http://joe:{ENCODED}@{self.private.site.removeprefix('http://')}origin/.git"
        for mirror, url in ((self.metaserver, self.url), (self.there, own)):
            self.assertEqual(await mirror.resolve(url, "main"), commit)
        self.assertTrue(any(b"remote-http" in one for one in self.listed), "git was looked at while it asked")
        for secret in (PASSWORD, ENCODED):
            self.assertEqual([one for one in self.listed if secret.encode() in one], [])

    async def test_a_login_goes_to_no_other_site_that_an_origin_leads_to(self) -> None:
        other = PrivateOrigin(self.directory, "somebody:else")
        self.addCleanup(other.close)
        leading = PrivateOrigin(self.directory, f"joe:{PASSWORD}", other.site.replace("127.0.0.1", "localhost"))
        self.addCleanup(leading.close)
        mirror = self.made("led", OriginLogins(((leading.site, f"joe:{PASSWORD}"),)))
        await self.refusal(mirror.resolve(f"{leading.site}origin/.git", "main"))
        self.assertTrue(any(leading.asked), "the login was shown where it belongs")
        self.assertTrue(other.asked, "git was led there")
        self.assertEqual([one for one in other.asked if one not in ("", NOBODY)], [])
