"""Which commits are on refs that a project trusts, of real repositories with pull requests."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs, read_trusted_refs
from tests.support.inline import run
from tests.support.origins import Origin

pytestmark = pytest.mark.world

PULL = "refs/pull/1/head"

T = TypeVar("T")


class Between(Inline):
    """A pool that does something else once, after what it was given first."""

    then: Callable[[], None] | None = None

    async def run(self, function: Callable[[], T]) -> T:
        result = await super().run(function)
        then, self.then = self.then, None
        if then is not None:
            then()
        return result


class TrustTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.origin = Origin(self.directory / "origin")
        self.url = self.origin.url
        self.base = self.origin.commit()
        self.mirror = GitMirror(self.directory / "mirrors", Inline())
        self.addCleanup(self.mirror.close)

    def pull_request(self) -> str:
        """Return the commit of a pull request that was opened after the newest commit of main."""
        self.origin.git("checkout", "-q", "-b", "theirs")
        commit = self.origin.commit("theirs")
        self.origin.git("update-ref", PULL, commit)
        self.origin.git("checkout", "-q", "main")
        self.origin.git("branch", "-q", "-D", "theirs")
        return commit

    def trusted(self, ref: str, refs: TrustedRefs = EVERY_REF) -> bool:
        return run(self.mirror.trusted(self.url, run(self.mirror.resolve(self.url, ref)), refs))

    def test_what_is_on_a_branch_or_tag_is_trusted_and_what_only_a_pull_request_has_is_not(self) -> None:
        later = self.origin.commit()
        self.origin.git("tag", "-a", "-m", "one", "v1", self.base)
        theirs = self.pull_request()
        for ref in ("main", "HEAD", "v1", self.base, later, "refs/heads/main", later[:12]):
            self.assertTrue(self.trusted(ref), ref)
        for ref in (PULL, theirs):
            self.assertFalse(self.trusted(ref), ref)
        self.assertFalse(self.trusted(PULL), "though it was fetched, and kept, by its id")

    def test_what_is_kept_for_builds_is_no_more_trusted_for_that(self) -> None:
        theirs = self.pull_request()
        run(self.mirror.resolve(self.url, PULL))
        run(self.mirror.pin(self.url, theirs))
        self.assertFalse(self.trusted(theirs))

    def test_a_pull_request_that_is_merged_is_trusted_from_then_on_also_by_its_id(self) -> None:
        theirs = self.pull_request()
        self.assertFalse(self.trusted(PULL))
        self.origin.git("merge", "-q", "--ff-only", theirs)
        self.assertTrue(self.trusted(theirs))
        self.assertTrue(self.trusted(PULL))

    def test_what_others_fetch_while_it_is_looked_for_counts(self) -> None:
        theirs = self.pull_request()
        pool = Between()
        self.mirror = GitMirror(self.directory / "mirrors", pool)
        self.addCleanup(self.mirror.close)
        run(self.mirror.resolve(self.url, PULL))

        def merged() -> None:
            self.origin.git("merge", "-q", "--ff-only", theirs)
            run(self.mirror.refresh(self.url))

        pool.then = merged
        self.assertTrue(run(self.mirror.trusted(self.url, theirs, EVERY_REF)))

    def test_what_a_branch_was_moved_away_from_is_trusted_no_longer(self) -> None:
        gone = self.origin.commit()
        self.assertTrue(self.trusted("main"))
        self.origin.git("reset", "-q", "--hard", self.base)
        self.origin.commit("anew")
        self.assertTrue(self.trusted("main"))
        self.assertFalse(self.trusted(gone))

    def test_only_the_refs_that_the_project_names_are_trusted(self) -> None:
        self.origin.git("checkout", "-q", "-b", "topic")
        topic = self.origin.commit("topic")
        self.origin.git("checkout", "-q", "main")
        main, release = read_trusted_refs("main"), read_trusted_refs("release/*")
        self.assertTrue(self.trusted(topic))
        self.assertFalse(self.trusted("topic", main))
        self.assertFalse(self.trusted(topic, main))
        self.assertTrue(self.trusted("topic", read_trusted_refs(["main", "t*"])))
        self.assertTrue(self.trusted("HEAD", main), "main is where it is")
        self.assertFalse(self.trusted("main", release))
        self.origin.git("branch", "release/1/2", topic)
        self.assertTrue(self.trusted(topic, release))

    def test_an_origin_that_is_away_makes_nothing_trusted_that_was_not_and_takes_nothing_back(self) -> None:
        theirs = self.pull_request()
        run(self.mirror.resolve(self.url, PULL))
        run(self.mirror.resolve(self.url, "main"))
        self.origin.path.rename(self.directory / "gone")
        self.assertTrue(self.trusted(self.base))
        self.assertFalse(self.trusted(theirs))

    def test_a_range_walks_on_to_the_branches_that_are_trusted_only(self) -> None:
        line = [self.base, self.origin.commit()]
        self.origin.git("checkout", "-q", "-b", "topic")
        topic = self.origin.commit("topic")
        self.origin.git("checkout", "-q", "main")
        self.pull_request()
        run(self.mirror.resolve(self.url, PULL))
        run(self.mirror.resolve(self.url, "main"))

        def near(refs: TrustedRefs) -> tuple[str, ...]:
            return run(self.mirror.acceptable(self.url, self.base, "9", refs))

        self.assertEqual(set(near(EVERY_REF)), {*line, topic})
        self.assertEqual(near(read_trusted_refs("main")), tuple(line))
        self.assertEqual(set(near(read_trusted_refs("to*"))), {*line, topic})
        self.assertEqual(near(read_trusted_refs("refs/tags/v*")), (self.base,))
