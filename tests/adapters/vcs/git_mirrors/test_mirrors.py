"""Mirrors and work trees of real repositories: refs, ranges, pins, and trees that are reused."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase, TestCase

from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.vcs.git.command import NOWHERE, GitCommand, explain
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror, directory_name
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut
from buildtool.adapters.vcs.refs import RevisionsNear, RevisionSpan, apart, check_ref, check_url, mask, parse_revrange
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import BuildToolError, MachineFault, RepositoryUnreachable, UnknownRef, UsageError
from buildtool.model.search.commits import CommitNote
from tests.support.origins import Origin

HOSTILE_REFS = [
    "",
    "-x",
    "--upload-pack=touch /tmp/owned",
    "a..b",
    "a b",
    "main~1",
    "v1^{}",
    "a:b",
    "a\nb",
    "a\0b",
    "\x7f",
    "*",
    "a[b",
    "a\\b",
    "@",
    "a@{1}",
    "/a",
    "a/",
    "a//b",
    ".a",
    "a/.b",
    "a.lock",
    "a.lock/b",
    "a.",
    "\ud800",
    "x" * 251,
    "main?",
]


@pytest.mark.parametrize("ref", HOSTILE_REFS)
def test_what_cannot_be_a_ref_is_refused_before_git_sees_it(ref: str) -> None:
    with pytest.raises(UnknownRef) as raised:
        check_ref(ref, "https://u:secret@example.org/p.git")
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


@given(st.text(max_size=30))
def test_every_ref_that_is_let_through_is_one_that_git_accepts(ref: str) -> None:
    try:
        check_ref(ref, "file:///p")
    except UnknownRef:
        return
    assert subprocess.run(["git", "check-ref-format", f"refs/heads/{ref}"], check=False).returncode == 0


@pytest.mark.parametrize(
    "url",
    ["", "-x", "--upload-pack=x", "ext::sh -c id", "fd::3", "relative/path", "ftp://x/y", "https://x/\ny", "a" * 3000,
     "transport::address", "-o:path"],
)  # fmt: skip
def test_what_is_no_address_of_a_repository_is_refused(url: str) -> None:
    with pytest.raises(RepositoryUnreachable):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    ["file:///a", "/srv/git/p.git", "https://u:p@h/p.git", "ssh://h:22/p", "git@example.org:p/q.git", "git://h/p"],
)
def test_usual_addresses_are_accepted(url: str) -> None:
    check_url(url)


def test_a_password_is_masked_wherever_it_stands() -> None:
    assert mask("fatal: https://joe:pa@ss@example.org/x: no") == "fatal: https://***@example.org/x: no"
    assert mask("https://h/x?a=1&private_token=tok&b") == "https://h/x?a=1&private_token=***&b"
    assert "secret" not in directory_name("https://joe:secret@example.org/x.git")


@pytest.mark.parametrize(
    ("url", "site", "bare", "login"),
    [
        ("https://joe:p%40ss%3A@h:8/x@y.git", "https://h:8", "https://h:8/x@y.git", ("joe", "p@ss:")),
        ("HTTP://token@[::1]/x", "HTTP://[::1]", "HTTP://[::1]/x", ("token", "")),
        ("https://h/x@y", "", "https://h/x@y", None),
        ("ssh://git@h/x", "", "ssh://git@h/x", None),
        ("https://joe:a%0Ahost=evil@h/x", "", "https://joe:a%0Ahost=evil@h/x", None),
    ],
)
def test_a_login_is_taken_out_of_an_address(url: str, site: str, bare: str, login: tuple[str, str] | None) -> None:
    assert apart(url) == (site, bare, login)


@pytest.mark.parametrize(
    "site", ["https://h:443", "HTTPS://H", "http://[::1]:80", "http://a_b.example", "https://ü.de"]
)
def test_git_is_told_a_login_for_its_own_site_alone(site: str, tmp_path: Path) -> None:
    url = f"u:p%40%3D%25s%5Cn%24x'%22@{site.partition('://')[2]}/x"
    command = GitCommand(tmp_path / "gitconfig")

    def told(asked: str) -> list[str]:
        given = f"url={asked}/y.git\n\n".encode()
        answer = command.run(["credential", "fill"], url=f"{site.partition(':')[0]}://{url}", given=given)
        return answer.text.splitlines()[-2:]

    assert told(site) == ["username=u", "password=p@=%s\\n$x'\""]
    for other in (f"{site}0", "https://elsewhere.example"):
        assert told(other) == ["username=", "password="]


@given(st.integers(0, 1000))
def test_a_number_is_a_range_of_steps(steps: int) -> None:
    assert parse_revrange(f" {steps} ") == RevisionsNear(steps)


def test_two_refs_with_dots_between_are_a_span() -> None:
    assert parse_revrange("v1..main") == RevisionSpan("v1", "main")


@pytest.mark.parametrize("text", ["a...b", "..b", "a..", "..", "a", "-1", "1.5", "1001", "a..b..c", "٣", "a..-b"])
def test_any_other_range_is_a_usage_error(text: str) -> None:
    with pytest.raises((UsageError, UnknownRef)):
        parse_revrange(text)


@given(st.text(max_size=40))
def test_a_range_is_understood_or_refused_whatever_is_typed(text: str) -> None:
    try:
        assert isinstance(parse_revrange(text), (RevisionsNear, RevisionSpan))
    except (UsageError, UnknownRef) as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_the_telling_line_of_git_is_chosen() -> None:
    text = "fatal: 'x' does not appear to be a git repository\nfatal: Could not read from remote repository.\n\nPlease"
    assert explain(ProcessOutput(128, b"", text)) == "fatal: 'x' does not appear to be a git repository"
    ssh = "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\nand it exists."
    assert explain(ProcessOutput(128, b"", ssh)) == "git@h: Permission denied (publickey)."
    assert explain(ProcessOutput(3, b"", "")) == "it ended with code 3"


def test_a_git_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    # Only what git starts holds the fifo open for writing, so its end of file says that all of it is gone.
    os.mkfifo(tmp_path / "held")
    reading = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(TimedOut):
            GitCommand(tmp_path / "gitconfig").run(
                ["-c", f"alias.x=!exec 9>{tmp_path}/held; sleep 600 & sleep 600", "x"], git_dir=NOWHERE, limit=0.5
            )
        os.set_blocking(reading, True)
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)


def test_a_git_that_answers_without_end_is_ended_unless_it_is_read_line_by_line(tmp_path: Path) -> None:
    command = GitCommand(tmp_path / "gitconfig")
    with pytest.raises(MachineFault, match="bytes"):
        command.run(["-c", "alias.x=!yes", "x"], git_dir=NOWHERE)
    lines: list[bytes] = []
    answer = command.run(["-c", "alias.x=!seq 20000; echo no >&2; exit 3", "x"], git_dir=NOWHERE, on_line=lines.append)
    assert (answer.code, answer.out, answer.err) == (3, b"", "no\n")
    assert lines == [b"%d" % number for number in range(1, 20001)]


class RoundsTests(SynchronousTestCase):
    """A shared act never answers with what it saw before it was asked."""

    def test_those_who_ask_during_a_run_share_the_next_one(self) -> None:
        rounds: SingleFlight[int] = SingleFlight()
        runs: list[Deferred[int]] = []

        def act() -> Deferred[int]:
            runs.append(Deferred())
            return runs[-1]

        first = Deferred.fromCoroutine(rounds.share("k", act))
        second = Deferred.fromCoroutine(rounds.share("k", act))
        third = Deferred.fromCoroutine(rounds.share("k", act))
        other = Deferred.fromCoroutine(rounds.share("other", act))
        self.assertEqual(len(runs), 2)
        runs[0].callback(1)
        self.assertEqual(self.successResultOf(first), 1)
        self.assertNoResult(second)
        self.assertEqual(len(runs), 3)
        runs[2].callback(2)
        self.assertEqual([self.successResultOf(second), self.successResultOf(third)], [2, 2])
        runs[1].callback(3)
        self.assertEqual(self.successResultOf(other), 3)
        again = Deferred.fromCoroutine(rounds.share("k", act))
        runs[3].callback(4)
        self.assertEqual(self.successResultOf(again), 4)

    def test_all_who_share_a_run_that_fails_are_told_and_the_next_run_is_unharmed(self) -> None:
        rounds: SingleFlight[int] = SingleFlight()
        runs: list[Deferred[int]] = []

        def act() -> Deferred[int]:
            runs.append(Deferred())
            return runs[-1]

        asked = [Deferred.fromCoroutine(rounds.share("k", act)) for _ in range(3)]
        runs[0].callback(1)
        runs[1].errback(RuntimeError("no"))
        self.assertEqual(self.successResultOf(asked[0]), 1)
        self.failureResultOf(asked[1], RuntimeError)
        self.failureResultOf(asked[2], RuntimeError)
        again = Deferred.fromCoroutine(rounds.share("k", act))
        runs[2].callback(2)
        self.assertEqual(self.successResultOf(again), 2)


class Repositories(TestCase):
    """An origin, a mirror directory, and counted git processes."""

    timeout = 60

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()
        self.origin = Origin(self.directory / "origin")
        self.url = self.origin.url
        self.threads = Threads(cast("IReactorFromThreads", reactor), 4, "git")
        self.addCleanup(self.threads.stop)
        self.mirror = GitMirror(self.directory / "mirrors", self.threads)
        self.addCleanup(self.mirror.close)

    def restarted(self) -> GitMirror:
        """The mirrors as a program sees them that has just started."""
        mirror = GitMirror(self.directory / "mirrors", self.threads)
        self.addCleanup(mirror.close)
        return mirror

    async def refusal(self, mirror: GitMirror, ref: str, url: str | None = None) -> BuildToolError:
        try:
            found = await mirror.resolve(url or self.url, ref)
        except BuildToolError as error:
            self.assertNotIn("\n", str(error))
            return error
        return self.fail(f"{ref} resolved to {found}")


class ResolveTests(Repositories):
    """What a ref means is asked of the origin, and everything that resolved is in the mirror."""

    async def test_a_branch_is_what_it_is_at_the_origin_now(self) -> None:
        first = self.origin.commit()
        self.assertEqual(await self.mirror.resolve(self.url, "main"), first)
        second = self.origin.commit()
        self.assertEqual(await self.mirror.resolve(self.url, "main"), second)
        self.assertEqual(await self.mirror.resolve(self.url, "HEAD"), second)
        self.assertEqual(await self.mirror.resolve(self.url, "refs/heads/main"), second)

    async def test_a_branch_that_was_overwritten_is_followed(self) -> None:
        self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        self.origin.git("checkout", "-q", "--orphan", "new")
        other = self.origin.commit("other")
        self.origin.git("branch", "-qf", "main", "new")
        self.assertEqual(await self.mirror.resolve(self.url, "main"), other)

    async def test_branches_with_slashes_replace_a_branch_of_the_first_part(self) -> None:
        self.origin.commit()
        self.origin.git("branch", "topic")
        await self.mirror.resolve(self.url, "topic")
        self.origin.git("branch", "-D", "topic")
        self.origin.git("checkout", "-q", "-b", "topic/sub")
        commit = self.origin.commit()
        self.assertEqual(await self.mirror.resolve(self.url, "topic/sub"), commit)

    async def test_a_commit_in_the_mirror_says_what_it_is_about_and_one_that_is_not_says_nothing(self) -> None:
        self.origin.commit()
        (self.origin.path / "file").write_text("other")
        commit = self.origin.commit_all("Mend\nit\n\nAt last.")
        self.origin.git("branch", commit, "HEAD~1")
        self.assertEqual(await self.mirror.resolve(self.url, "main"), commit)
        self.assertEqual(await self.mirror.about(self.url, commit), CommitNote("Mend it", "A", 1704067200.0))
        self.assertIsNone(await self.mirror.about(self.url, "0" * 40))
        (self.origin.path / "message").write_text("x" * 2_000_000)
        self.origin.git("commit", "-q", "--allow-empty", "-F", "message")
        huge = await self.mirror.resolve(self.url, "main")
        self.assertIsNone(await self.mirror.about(self.url, huge))

    async def test_tags_are_peeled_to_their_commit(self) -> None:
        commit = self.origin.commit()
        self.origin.git("tag", "light")
        self.origin.git("tag", "-a", "-m", "annotated", "v1.0")
        for tag in ("light", "v1.0", "refs/tags/v1.0"):
            self.assertEqual(await self.mirror.resolve(self.url, tag), commit)

    async def test_a_tag_of_something_else_than_a_commit_is_refused(self) -> None:
        self.origin.commit()
        self.origin.git("tag", "tree", "HEAD^{tree}")
        self.origin.git("tag", "-a", "-m", "a tree", "treetag", "HEAD^{tree}")
        for tag in ("tree", "treetag"):
            self.assertIsInstance(await self.refusal(self.mirror, tag), UnknownRef)

    async def test_a_name_that_is_both_branch_and_tag_of_different_commits_must_be_spelt_out(self) -> None:
        first = self.origin.commit()
        self.origin.git("tag", "both")
        second = self.origin.commit()
        self.origin.git("branch", "both")
        self.assertIn("refs/heads/both", str(await self.refusal(self.mirror, "both")))
        self.assertEqual(await self.mirror.resolve(self.url, "refs/tags/both"), first)
        self.assertEqual(await self.mirror.resolve(self.url, "refs/heads/both"), second)

    async def test_a_ref_that_is_neither_branch_nor_tag_is_found_by_its_full_name(self) -> None:
        self.origin.commit()
        self.origin.git("checkout", "-q", "--detach")
        commit = self.origin.commit()
        self.origin.git("update-ref", "refs/pull/1/head", commit)
        self.origin.git("checkout", "-q", "main")
        self.assertEqual(await self.mirror.resolve(self.url, "refs/pull/1/head"), commit)

    async def test_a_detached_head_on_no_branch_is_found(self) -> None:
        self.origin.commit()
        self.origin.git("checkout", "-q", "--detach")
        commit = self.origin.commit()
        self.assertEqual(await self.mirror.resolve(self.url, "HEAD"), commit)

    async def test_full_and_abbreviated_ids_are_accepted(self) -> None:
        first = self.origin.commit()
        second = self.origin.commit()
        for typed, meant in ((first, first), (second[:7], second), (first.upper(), first), (first[:12], first)):
            self.assertEqual(await self.mirror.resolve(self.url, typed), meant)

    async def test_a_new_commit_is_found_by_its_id(self) -> None:
        self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        commit = self.origin.commit()
        self.assertEqual(await self.mirror.resolve(self.url, commit), commit)
        short = self.origin.commit()
        self.assertEqual(await self.mirror.resolve(self.url, short[:10]), short)

    async def test_a_commit_that_no_branch_holds_any_more_is_found_by_its_full_id(self) -> None:
        self.origin.commit()
        lost = self.origin.commit()
        self.origin.git("reset", "-q", "--hard", "HEAD~1")
        self.assertEqual(await self.mirror.resolve(self.url, lost), lost)

    async def test_an_ambiguous_abbreviation_is_refused(self) -> None:
        seen: dict[str, str] = {}
        tree = self.origin.git("write-tree")
        twice = ""
        for number in range(3000):
            commit = self.origin.git("commit-tree", "-m", str(number), tree)
            if seen.setdefault(commit[:4], commit) != commit:
                twice = commit[:4]
                break
        for name, one in enumerate((seen[twice], commit)):
            self.origin.git("branch", f"b{name}", one)
        self.assertIn("several", str(await self.refusal(self.mirror, twice)))

    async def test_a_branch_whose_name_looks_like_an_id_is_a_branch(self) -> None:
        self.origin.commit()
        self.origin.git("branch", "cafe")
        commit = self.origin.git("rev-parse", "cafe")
        self.assertEqual(await self.mirror.resolve(self.url, "cafe"), commit)

    async def test_what_does_not_exist_is_an_unknown_ref_that_names_ref_and_repository(self) -> None:
        self.origin.commit()
        for ref in ("absent", "refs/heads/absent", "0" * 40, "f" * 39, "refs/pull/1/head", *HOSTILE_REFS):
            error = await self.refusal(self.mirror, ref)
            self.assertIsInstance(error, UnknownRef)
            self.assertIn(self.url, str(error))

    async def test_an_empty_repository_has_no_refs(self) -> None:
        for ref in ("HEAD", "main", "0" * 40, "abcdef"):
            self.assertIsInstance(await self.refusal(self.mirror, ref), UnknownRef)

    async def test_a_deleted_branch_is_unknown_although_it_was_mirrored(self) -> None:
        self.origin.commit()
        self.origin.git("branch", "topic")
        await self.mirror.resolve(self.url, "topic")
        self.origin.git("branch", "-D", "topic")
        self.assertIsInstance(await self.refusal(self.mirror, "topic"), UnknownRef)

    async def test_a_repository_of_sha256_ids_works_the_same(self) -> None:
        origin = Origin(self.directory / "wide", object_format="sha256")
        commit = origin.commit()
        self.assertEqual(len(commit), 64)
        for ref in (commit[:10], "main", commit, "HEAD"):
            self.assertEqual(await self.mirror.resolve(origin.url, ref), commit)

    async def test_a_repository_that_does_not_answer_is_unreachable_and_named(self) -> None:
        for url in (f"file://{self.directory}/absent", str(self.directory), "https://joe:secret@127.0.0.1:1/p.git"):
            error = await self.refusal(self.mirror, "main", url)
            self.assertIsInstance(error, RepositoryUnreachable)
            self.assertNotIn("secret", str(error))
            self.assertIn(mask(url), str(error))
            self.assertIsInstance(await self.refusal(self.mirror, "0" * 40, url), RepositoryUnreachable)

    async def test_the_addresses_of_nothing_are_unreachable(self) -> None:
        self.assertIsInstance(await self.refusal(self.mirror, "main", "ext::sh -c id"), RepositoryUnreachable)

    async def test_a_mirrored_commit_needs_no_network(self) -> None:
        commit = self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        shutil.rmtree(self.origin.path)
        for mirror in (self.mirror, self.restarted()):
            self.assertEqual(await mirror.resolve(self.url, commit), commit)
            await mirror.fetch_commit(self.url, commit)
            self.assertIsInstance(await self.refusal(mirror, "main"), RepositoryUnreachable)

    async def test_many_who_ask_at_once_all_get_the_newest(self) -> None:
        self.origin.commit()
        early = [Deferred.fromCoroutine(self.mirror.resolve(self.url, "main")) for _ in range(5)]
        newest = self.origin.commit()
        late = [Deferred.fromCoroutine(self.mirror.resolve(self.url, "main")) for _ in range(5)]
        self.assertEqual(await gatherResults(late, consumeErrors=True), [newest] * 5)
        await gatherResults(early, consumeErrors=True)

    async def test_the_variables_and_settings_of_whoever_started_the_program_do_not_matter(self) -> None:
        commit = self.origin.commit()
        other = Origin(self.directory / "other")
        other.commit("else")
        hooks = self.directory / "gitconfig-hostile"
        hooks.write_text(f'[url "{other.url}"]\n\tinsteadOf = {self.url}\n')
        for name, value in {
            "GIT_DIR": str(other.path / ".git"),
            "GIT_INDEX_FILE": "/nonexistent",
            "GIT_CONFIG_GLOBAL": str(hooks),
            "GIT_OBJECT_DIRECTORY": "/nonexistent",
            "GIT_NAMESPACE": "elsewhere",
            "GIT_TRACE": "1",
        }.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)
        self.assertEqual(await self.mirror.resolve(self.url, "main"), commit)
        trees = Worktrees(self.mirror, self.directory / "trees", self.threads)
        path = await trees.checkout(self.url, commit, 0)
        self.assertEqual((path / "file").read_text(), (self.origin.path / "file").read_text())

    async def test_locks_that_a_killed_git_left_do_not_matter_after_a_restart(self) -> None:
        self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        path = self.mirror.mirror(self.url).path
        for name in ("packed-refs.lock", "refs/heads/main.lock", "HEAD.lock", "FETCH_HEAD.lock"):
            (path / name).touch()
        commit = self.origin.commit()
        self.assertEqual(await self.restarted().resolve(self.url, "main"), commit)

    async def test_half_a_mirror_from_a_crash_does_not_matter(self) -> None:
        commit = self.origin.commit()
        path = self.mirror.mirror(self.url).path
        (path.with_name(f"{path.name}.new") / "objects").mkdir(parents=True)
        self.assertEqual(await self.mirror.resolve(self.url, "main"), commit)

    async def test_after_close_git_is_not_started_any_more(self) -> None:
        self.origin.commit()
        self.mirror.close()
        self.assertIsInstance(await self.refusal(self.mirror, "main"), MachineFault)

    async def test_a_pinned_commit_survives_an_overwritten_branch_and_garbage_collection(self) -> None:
        self.origin.commit()
        lost = self.origin.commit("lost")
        await self.mirror.resolve(self.url, "main")
        await self.mirror.pin(self.url, lost)
        await self.mirror.pin(self.url, lost)
        self.origin.git("reset", "-q", "--hard", "HEAD~1")
        self.origin.git("reflog", "expire", "--expire=now", "--all")
        self.origin.git("gc", "-q", "--prune=now")
        kept = self.origin.commit("kept")
        self.assertEqual(await self.mirror.resolve(self.url, "main"), kept)
        path = self.mirror.mirror(self.url).path
        subprocess.run(["git", f"--git-dir={path}", "gc", "-q", "--prune=now"], check=True)
        self.assertEqual(await self.restarted().resolve(self.url, lost), lost)

    async def test_a_commit_that_is_not_there_cannot_be_pinned(self) -> None:
        self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        for commit in ("1" * 40, "main", "-d"):
            with pytest.raises(UnknownRef):
                await self.mirror.pin(self.url, commit)

    async def test_a_build_server_can_fetch_a_pinned_commit_from_the_mirror(self) -> None:
        self.origin.commit()
        lost = self.origin.commit("lost")
        await self.mirror.resolve(self.url, "main")
        await self.mirror.pin(self.url, lost)
        self.origin.git("reset", "-q", "--hard", "HEAD~1")
        await self.mirror.resolve(self.url, "main")
        elsewhere = GitMirror(self.directory / "elsewhere", self.threads)
        self.addCleanup(elsewhere.close)
        url = f"file://{self.mirror.mirror(self.url).path}"
        await elsewhere.fetch_commit(url, lost)
        self.assertEqual(await elsewhere.resolve(url, lost), lost)


class AcceptableTests(Repositories):
    """Which commits a range accepts, and in which order."""

    async def test_steps_reach_both_ways_along_the_first_parents_nearest_first_and_older_before_newer(self) -> None:
        line = [self.origin.commit() for _ in range(6)]
        await self.mirror.resolve(self.url, "main")
        accepted = await self.mirror.acceptable(self.url, line[3], "2")
        self.assertEqual(accepted, (line[3], line[2], line[4], line[1], line[5]))
        self.assertEqual(await self.mirror.acceptable(self.url, line[3], ""), (line[3],))
        self.assertEqual(await self.mirror.acceptable(self.url, line[3], "0"), (line[3],))
        self.assertEqual(len(await self.mirror.acceptable(self.url, line[3], "1000")), 6)

    async def test_merged_commits_are_no_steps_and_do_not_lead_to_descendants(self) -> None:
        base = self.origin.commit()
        self.origin.git("checkout", "-q", "-b", "side")
        side = self.origin.commit("side")
        self.origin.git("checkout", "-q", "main")
        trunk = self.origin.commit("trunk")
        self.origin.git("merge", "-q", "--no-ff", "-m", "merge", "side")
        merge = self.origin.git("rev-parse", "HEAD")
        await self.mirror.resolve(self.url, "main")
        self.assertEqual(await self.mirror.acceptable(self.url, merge, "5"), (merge, trunk, base))
        self.assertEqual(await self.mirror.acceptable(self.url, side, "5"), (side, base))
        self.assertEqual(set(await self.mirror.acceptable(self.url, base, "1")), {base, trunk, side})
        self.origin.git("branch", "-D", "side")
        self.origin.commit("later")
        await self.mirror.resolve(self.url, "main")
        self.assertEqual(await self.mirror.acceptable(self.url, base, "1"), (base, trunk))

    async def test_a_span_is_the_line_from_its_end_back_to_its_beginning_both_included(self) -> None:
        line = [self.origin.commit() for _ in range(5)]
        self.origin.git("tag", "-a", "-m", "one", "v1", line[1])
        await self.mirror.resolve(self.url, "main")
        self.assertEqual(await self.mirror.acceptable(self.url, line[4], "v1..main"), tuple(reversed(line[1:])))
        self.assertEqual(await self.mirror.acceptable(self.url, line[1], "v1..v1"), (line[1],))

    async def test_a_span_whose_beginning_is_not_on_the_line_is_refused(self) -> None:
        self.origin.commit()
        self.origin.git("checkout", "-q", "-b", "side")
        self.origin.commit("side")
        self.origin.git("checkout", "-q", "main")
        end = self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        for beginning in ("side", "absent"):
            with pytest.raises(UnknownRef, match=beginning):
                await self.mirror.acceptable(self.url, end, f"{beginning}..main")

    async def test_a_range_that_accepts_too_many_is_refused(self) -> None:
        self.origin.commit()
        tree = self.origin.git("write-tree")
        base = self.origin.git("rev-parse", "HEAD")
        stream = "".join(
            f"commit refs/heads/main\ncommitter A <a@example.org> {number} +0000\ndata 1\nx\n"
            + (f"from {base}\n" if number == 1 else "")
            for number in range(1, 1200)
        )
        subprocess.run(
            ["git", "-C", str(self.origin.path), "fast-import", "--quiet"], input=stream.encode(), check=True
        )
        self.assertTrue(tree)
        tip = await self.mirror.resolve(self.url, "main")
        middle = self.origin.git("rev-parse", "main~600")
        with pytest.raises(UsageError):
            await self.mirror.acceptable(self.url, middle, "600")
        self.assertEqual(len(await self.mirror.acceptable(self.url, tip, "999")), 1000)
        with pytest.raises(UnknownRef):
            await self.mirror.acceptable(self.url, tip, f"{base}..main")


class WorktreeTests(Repositories):
    """A work tree holds exactly its commit, whatever the build before did to it."""

    def setUp(self) -> None:
        super().setUp()
        self.trees = Worktrees(self.mirror, self.directory / "trees", self.threads)

    def assert_holds(self, path: Path, commit: str) -> None:
        def git(*arguments: str) -> str:
            done = subprocess.run(["git", "-C", str(path), *arguments], check=True, capture_output=True, text=True)
            return done.stdout.strip()

        self.assertEqual(git("rev-parse", "HEAD"), commit)
        self.assertEqual(git("status", "--porcelain", "--ignored"), "")

    def made(self, path: Path) -> int:
        """What tells one making of a work tree from another."""
        return path.stat().st_ino

    async def test_a_slot_is_switched_from_commit_to_commit_in_the_same_directory(self) -> None:
        first = self.origin.commit("a")
        second = self.origin.commit("b/c")
        path = await self.trees.checkout(self.url, first, 0)
        self.assert_holds(path, first)
        self.assertFalse((path / "b").exists())
        made = self.made(path)
        self.assertEqual(await self.trees.checkout(self.url, second, 0), path)
        self.assert_holds(path, second)
        self.assertTrue((path / "b" / "c").exists())
        self.assertEqual(self.made(path), made)

    async def test_slots_are_apart_and_may_be_checked_out_and_fetched_for_at_once(self) -> None:
        commits = [self.origin.commit() for _ in range(3)]
        for _ in range(3):
            commits.append(self.origin.commit())
            wanted = [commits[-1 - slot % 4] for slot in range(6)]
            paths = await gatherResults(
                [
                    Deferred.fromCoroutine(self.trees.checkout(self.url, commit, slot))
                    for slot, commit in enumerate(wanted)
                ],
                consumeErrors=True,
            )
            self.assertEqual(len(set(paths)), len(wanted))
            for path, commit in zip(paths, wanted, strict=True):
                self.assert_holds(path, commit)
            # The next round makes half of the trees afresh, beside others that are switched and a fetch.
            for path in paths[::2]:
                shutil.rmtree(path)

    async def test_whatever_a_build_left_behind_is_gone_after_the_next_checkout(self) -> None:
        (self.origin.path / ".gitignore").write_text("*.o\n")
        commit = self.origin.commit("a/b")
        path = await self.trees.checkout(self.url, commit, 0)
        made = self.made(path)
        (path / "x.o").write_text("object")
        (path / "new").mkdir()
        (path / "new" / "file").write_text("new")
        (path / "a" / "b").write_text("changed")
        (path / ".gitignore").unlink()
        subprocess.run(["git", "init", "-q", str(path / "nested")], check=True)
        (path / "nested" / "file").write_text("nested")
        subprocess.run(["git", "-C", str(path), "add", "new"], check=True)
        await self.trees.checkout(self.url, commit, 0)
        self.assert_holds(path, commit)
        self.assertEqual(self.made(path), made)

    async def test_a_directory_without_files_that_a_build_left_is_gone_after_the_next_checkout(self) -> None:
        commit = self.origin.commit("a/b")
        path = await self.trees.checkout(self.url, commit, 0)
        made = self.made(path)
        (path / "a" / "empty" / "inner").mkdir(parents=True)
        await self.trees.checkout(self.url, commit, 0)
        self.assertEqual([one.name for one in (path / "a").iterdir()], ["b"])
        self.assertEqual(self.made(path), made)

    async def test_whatever_was_put_in_the_place_of_a_tree_or_its_git_directory_goes(self) -> None:
        commit = self.origin.commit("a")
        path = await self.trees.checkout(self.url, commit, 0)

        def corrupt() -> None:
            (path / ".git" / "index").write_bytes(b"nonsense")

        def replace_by_file() -> None:
            shutil.rmtree(path)
            path.write_text("a file")

        def replace_by_link() -> None:
            shutil.rmtree(path)
            path.symlink_to(self.origin.path)

        def replace_parent_by_link() -> None:
            shutil.rmtree(path.parent)
            path.parent.symlink_to(self.origin.path.parent)

        def link_git_directory() -> None:
            shutil.rmtree(path / ".git")
            (path / ".git").symlink_to(self.origin.path / ".git")

        def own_repository() -> None:
            shutil.rmtree(path / ".git")
            subprocess.run(["git", "init", "-q", str(path)], check=True)

        for damage in (
            (path / ".git" / "index.lock").touch,
            corrupt,
            lambda: shutil.rmtree(path / ".git"),
            lambda: shutil.rmtree(path),
            replace_by_file,
            replace_by_link,
            replace_parent_by_link,
            link_git_directory,
            own_repository,
        ):
            damage()
            self.assertEqual(await self.trees.checkout(self.url, commit, 0), path)
            self.assert_holds(path, commit)
            self.assertFalse(path.is_symlink())
        self.assertTrue((self.origin.path / "a").exists())
        self.assertTrue((self.origin.path / ".git" / "HEAD").exists())

    async def test_hooks_and_settings_that_a_build_planted_are_not_run(self) -> None:
        commit = self.origin.commit("a")
        path = await self.trees.checkout(self.url, commit, 0)
        mirror = self.mirror.mirror(self.url).path
        (mirror / "hooks").mkdir(exist_ok=True)
        hook = mirror / "hooks" / "post-checkout"
        hook.write_text(f"#!/bin/sh\ntouch {self.directory}/owned\n")
        hook.chmod(0o755)
        await self.trees.checkout(self.url, commit, 0)
        await self.trees.checkout(self.url, commit, 1)
        self.assert_holds(path, commit)
        self.assertFalse((self.directory / "owned").exists())

    async def test_settings_that_a_build_made_in_its_tree_rule_no_later_checkout(self) -> None:
        """``git config`` in a work tree writes to the mirror: it may run a program, hide files, or be nonsense."""
        commit = self.origin.commit("a")
        path = await self.trees.checkout(self.url, commit, 0)
        hooks = self.directory / "hooks"
        hooks.mkdir()
        for name in ("post-checkout", "fsmonitor"):
            (hooks / name).write_text(f"#!/bin/sh\ntouch {self.directory}/owned\n")
            (hooks / name).chmod(0o755)
        own = self.mirror.mirror(self.url).path / "config"

        def run(*arguments: str) -> None:
            subprocess.run(["git", "-C", str(path), *arguments], check=True, capture_output=True)

        def spoil() -> None:
            own.write_text("[core\n")

        for damage in (
            lambda: run("config", "core.hooksPath", str(hooks)),
            lambda: run("config", "core.fsmonitor", str(hooks / "fsmonitor")),
            lambda: run("sparse-checkout", "set", "nothing"),
            spoil,
            own.unlink,
        ):
            damage()
            await self.trees.checkout(self.url, commit, 0)
            self.assert_holds(path, commit)
            self.assertTrue((path / "a").exists())
            self.assertFalse((self.directory / "owned").exists())

    async def test_a_mirror_that_a_build_deleted_is_fetched_anew(self) -> None:
        commit = self.origin.commit("a")
        await self.trees.checkout(self.url, commit, 0)
        shutil.rmtree(self.mirror.mirror(self.url).path)
        self.assert_holds(await self.trees.checkout(self.url, commit, 0), commit)

    async def test_a_tree_of_an_earlier_run_of_the_program_is_not_reused(self) -> None:
        """After a crash a build may still be running there, and write to what is checked out."""
        commit = self.origin.commit("a")
        path = await self.trees.checkout(self.url, commit, 0)
        held = os.open(path, os.O_RDONLY)  # so that its inode is not used again
        self.addCleanup(os.close, held)
        made = self.made(path)
        later = Worktrees(self.mirror, self.directory / "trees", self.threads)
        self.assertEqual(await later.checkout(self.url, commit, 0), path)
        self.assert_holds(path, commit)
        self.assertNotEqual(self.made(path), made)
        made = self.made(path)
        await later.checkout(self.url, commit, 0)
        self.assertEqual(self.made(path), made)

    async def test_submodules_are_checked_out_at_their_commits_and_cleaned(self) -> None:
        library = Origin(self.directory / "library")
        library.commit("code", "one\n")
        plain = self.origin.commit("a")
        self.origin.git("submodule", "--quiet", "add", "../library", "deps/library")
        old = self.origin.commit("a", "with a submodule\n")
        library.commit("code", "two\n")
        self.origin.git("-C", "deps/library", "pull", "-q")
        new = self.origin.commit("a", "with a newer submodule\n")
        for commit, text in ((old, "one\n"), (new, "two\n"), (old, "one\n"), (plain, None), (new, "two\n")):
            path = await self.trees.checkout(self.url, commit, 0)
            self.assert_holds(path, commit)
            code = path / "deps" / "library" / "code"
            self.assertEqual(code.read_text() if code.exists() else None, text)
            if text is not None:
                code.with_name("left").write_text("behind")
                code.write_text("changed")

    async def test_a_commit_that_does_not_exist_is_unknown(self) -> None:
        self.origin.commit()
        with pytest.raises(UnknownRef):
            await self.trees.checkout(self.url, "2" * 40, 0)

    async def test_a_commit_that_is_no_longer_mirrored_is_fetched(self) -> None:
        self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        commit = self.origin.commit()
        self.assert_holds(await self.trees.checkout(self.url, commit, 0), commit)
