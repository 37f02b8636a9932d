"""Submodules of a private origin: given out of its mirrors where one login is for both, and nowhere else."""

import shutil
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.vcs.git_mirrors.bundles import Bundles
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees import parts as parts_module
from buildtool.adapters.vcs.git_worktrees.parts import SourceParts
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.errors import NotFound
from buildtool.model.access.origin_logins import OriginLogins
from buildtool.protocol.source_parts import WHOLE, SourceKind, SourcePart
from tests.adapters.vcs.git_mirrors.mirrors import Mirrored
from tests.support.git_http import PrivateOrigin
from tests.support.origins import Origin, git

LOGIN = "joe:pass word"


class SubmoduleCase(Mirrored):
    """A metaserver with a login for all below a private site, and the repository ``app`` of a project there."""

    def setUp(self) -> None:
        super().setUp()
        self.private = PrivateOrigin(self.directory, LOGIN)
        self.addCleanup(self.private.close)
        self.logins = OriginLogins(((self.private.site, LOGIN),))
        self.metaserver = GitMirror(self.directory / "metaserver", self.threads, self.login)
        self.addCleanup(self.metaserver.close)
        clock = cast("IReactorTime", reactor)
        bundles = Bundles(self.metaserver, self.directory / "bundles", self.threads, clock)
        self.addCleanup(bundles.stop)
        self.parts = SourceParts(
            self.metaserver, bundles, self.threads, clock, self.shares
        )  # fmt: skip
        self.app = Origin(self.directory / "app")
        self.commit = ""

    def login(self, url: str) -> str:
        return self.logins.url(url)

    def shares(self, url: str, submodule: str) -> bool:
        return self.logins.shares(url, submodule)

    def at(self, name: str) -> str:
        return f"{self.private.site}{name}/.git"

    def link(self, origin: Origin, path: str, url: str, commit: str, more: str = "") -> str:
        """Put a submodule into a repository, and return the id of its next commit."""
        with (origin.path / ".gitmodules").open("a") as modules:
            modules.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n{more}')
        origin.git("add", ".gitmodules")
        origin.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        origin.git("commit", "-q", "-m", f"with {path}")
        return origin.git("rev-parse", "HEAD")

    async def given(self, *inside: str, kind: SourceKind = SourceKind.COMMIT) -> Path:
        """Return the bundle of the submodule at these paths in one another in the newest commit."""
        self.commit = await self.metaserver.resolve(self.at("app"), "main")
        return (await self.parts.give(self.at("app"), self.commit, SourcePart(kind, inside))).path

    async def refused(self, *inside: str) -> str:
        error = await self.refusal(self.given(*inside))
        self.assertIsInstance(error, NotFound)
        return str(error)


class PrivateSubmoduleTests(SubmoduleCase):
    async def test_a_checkout_has_submodules_in_one_another_with_their_tags_by_the_metaservers_login_alone(
        self,
    ) -> None:
        deep, lib = Origin(self.directory / "deep"), Origin(self.directory / "lib")
        lib.commit("libs.txt")
        inner = deep.commit("deep.txt", "deep\n")
        deep.git("tag", "-a", "-m", "one", "v1")
        self.link(self.app, "vendor/lib", "../../lib/.git", self.link(lib, "nested", "../../deep/.git", inner))
        there = GitMirror(self.directory / "build-server", self.threads, lambda url: url)
        self.addCleanup(there.close)
        trees = Worktrees(there, self.directory / "trees", self.threads)
        asked: list[SourcePart] = []

        async def copy(path: Path, part: SourcePart = WHOLE, /) -> None:
            asked.append(part)
            shutil.copyfile((await self.parts.give(self.at("app"), self.commit, part)).path, path)

        self.commit = await self.metaserver.resolve(self.at("app"), "main")
        tree = await trees.checkout(self.at("app"), self.commit, 0, copy)
        self.assertEqual((tree / "vendor/lib/nested/deep.txt").read_text(), "deep\n")
        self.assertEqual(git(tree / "vendor/lib/nested", "describe"), "v1")
        self.assertIn(SourcePart(SourceKind.TAGS, ("vendor/lib", "nested")), asked)
        deep.git("tag", "-d", "v1")
        asked.clear()
        await trees.checkout(self.at("app"), self.commit, 0, copy)
        self.assertEqual({one.kind for one in asked}, {SourceKind.TAGS}, "what is mirrored is not fetched again")

    async def test_a_submodule_under_another_entry_or_none_is_not_given_out_and_not_asked_for(self) -> None:
        """Or whoever may commit to one project would read every repository for which the metaserver has a login."""
        secret = Origin(self.directory / "secret")
        commit = secret.commit("secret")
        self.link(self.app, "lib", self.at("secret"), commit)
        self.logins = OriginLogins(((self.at("app"), LOGIN), (self.at("secret"), LOGIN)))
        self.assertIn("no entry that leads to", await self.refused("lib"))
        self.logins = OriginLogins(((self.private.site, LOGIN), (f"{self.private.site}secret/", LOGIN)))
        self.assertIn("no entry that leads to", await self.refused("lib"))
        self.logins = OriginLogins(((self.at("app"), LOGIN),))
        self.assertIn("no entry that leads to", await self.refused("lib"))
        self.assertFalse([one for one in (self.directory / "metaserver").iterdir() if "secret" in one.name])
        self.logins = OriginLogins(((self.private.site, LOGIN),))
        self.assertTrue((await self.given("lib")).exists())

    async def test_of_a_repository_without_a_login_no_submodule_is_given_out(self) -> None:
        lib = Origin(self.directory / "lib")
        self.link(self.app, "lib", self.at("lib"), lib.commit("a"))
        commit = await self.metaserver.resolve(self.app.url, "main")
        asked = len(self.private.asked)
        error = await self.refusal(self.parts.give(self.app.url, commit, SourcePart(inside=("lib",))))
        self.assertIsInstance(error, NotFound)
        self.assertEqual(len(self.private.asked), asked)

    async def test_what_gitmodules_says_of_other_places_leads_nowhere(self) -> None:
        lib = Origin(self.directory / "lib")
        commit, site = lib.commit("a"), self.private.site
        urls = [
            lib.url, str(lib.path), "ssh://127.0.0.1/lib", "git://127.0.0.1/lib", f"{site}lib/.git?x=1",
            f"{site}%6cib/.git", f"{site}lib/.git#x", f"{site}x/../lib/.git", f"{site}x\\\\lib",
            site.replace("127.0.0.1", "localhost"), site.replace("http", "https"), site.replace("//", "//joe:x@"),
            "http://",
        ]  # fmt: skip
        for number, url in enumerate(urls):
            self.link(self.app, f"lib{number}", f'"{url}"', commit)
        top = await self.metaserver.resolve(self.at("app"), "main")
        asked = len(self.private.asked)
        for number, url in enumerate(urls):
            error = await self.refusal(self.parts.give(self.at("app"), top, SourcePart(inside=(f"lib{number}",))))
            self.assertIn("no entry that leads to", str(error), url)
        self.assertEqual(len(self.private.asked), asked)
        for url in ("ext::sh -c true", "../../../lib/.git", "-u", "x" * 3_000):
            (self.app.path / ".gitmodules").unlink()
            self.link(self.app, "lib0", f'"{url}"', commit)
            self.assertIn("cannot be fetched from", await self.refused("lib0"), url)
        self.assertFalse([one for one in (self.directory / "metaserver").iterdir() if "lib" in one.name])

    async def test_what_is_no_submodule_or_not_wanted_or_not_there_is_not_found(self) -> None:
        lib = Origin(self.directory / "lib")
        commit = lib.commit("a")
        self.app.commit("src/file")
        self.link(self.app, "lib", self.at("lib"), commit, "\tupdate = none\n")
        self.link(self.app, "gone", self.at("lib"), "1" * 40)
        self.link(self.app, "none", self.at("nothing"), "1" * 40)
        for path in ("lib", "src", "src/file", "src/file/x", "", "..", "/lib", "lib/", "a/b/c", "\udcff", "x" * 4_000):
            self.assertIn("has no submodule", await self.refused(path), path)
        self.assertIn("has no commit 1111", await self.refused("gone"))
        self.assertIn("cannot read", await self.refused("none"))

    async def test_more_than_the_bounds_allow_is_refused(self) -> None:
        lib, other = Origin(self.directory / "lib"), Origin(self.directory / "other")
        self.link(self.app, "lib", self.at("lib"), lib.commit("a"))
        self.link(self.app, "other", self.at("other"), other.commit("a"))
        self.patch(parts_module, "REPOSITORIES", 1)
        await self.given("lib")
        self.assertIn("more than 1 repositories", await self.refused("other"))
        await self.given("lib", kind=SourceKind.TAGS)
        self.patch(parts_module, "READ_LIMIT", 300)
        with (self.app.path / ".gitmodules").open("a") as modules:
            modules.write("#" * 300)
        self.app.git("commit", "-q", "-m", "large", ".gitmodules")
        self.assertIn("more than the 300 that can be read", await self.refused("lib"))
