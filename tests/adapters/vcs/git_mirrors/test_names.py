"""What a ref resolves to is what the origin says now, whatever refs are called and whatever happens to the mirror."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.errors import BuildToolError, UnknownRef
from tests.support.lanes import examples
from tests.support.origins import Origin


def outcome(mirror: GitMirror, url: str, ref: str) -> str | BuildToolError:
    """What ``ref`` resolves to, or the error."""
    found: list[str | Failure] = []
    Deferred.fromCoroutine(mirror.resolve(url, ref)).addBoth(found.append)
    (one,) = found
    if isinstance(one, Failure):
        if not isinstance(one.value, BuildToolError):
            one.raiseException()
        assert isinstance(one.value, BuildToolError)
        return one.value
    return one


class Names(RuleBasedStateMachine):
    """An origin that anybody may push anything to; refs are named like ids, like refs, and like what is ours."""

    form = "sha1"

    @initialize()
    def begin(self) -> None:
        self.place = TemporaryDirectory()
        self.directory = Path(self.place.name)
        self.origin = Origin(self.directory / "origin", object_format=self.form)
        self.mirror = GitMirror(self.directory / "mirrors", Inline())
        self.commits = [self.origin.commit(str(number)) for number in range(3)]
        self.tags: list[str] = []

    def teardown(self) -> None:
        if hasattr(self, "mirror"):
            self.mirror.close()
            self.place.cleanup()

    def name(self, kind: int, pick: int) -> str:
        """A name that might be mistaken for something else."""
        commit = self.commits[pick % len(self.commits)]
        names = (
            commit,
            commit.upper(),
            commit[:7],
            commit[:4],
            commit + "0" * (64 - len(commit)) if len(commit) < 64 else commit[:40],
            f"{pick % 10}" * 40,
            "HEAD",
            f"refs/heads/{commit}",
            f"pins/{commit}",
            f"fetched/{commit}",
            f"x@{commit[:7]}",
            "origin/main",
            "topic/a",
        )
        return names[kind % len(names)]

    @rule(kind=st.integers(0, 12), pick=st.integers(0, 99), tag=st.booleans())
    def push(self, kind: int, pick: int, tag: bool) -> None:
        """A branch or tag is made or moved."""
        where = "tags" if tag else "heads"
        living = self.living()
        target = living[(pick * 7 + kind) % len(living)]
        self.origin.git("update-ref", f"refs/{where}/{self.name(kind, pick)}", target)

    @rule(kind=st.integers(0, 12), pick=st.integers(0, 99), tag=st.booleans())
    def delete(self, kind: int, pick: int, tag: bool) -> None:
        where = "tags" if tag else "heads"
        self.origin.git("update-ref", "-d", f"refs/{where}/{self.name(kind, pick)}")

    @rule(kind=st.integers(0, 12), pick=st.integers(0, 99))
    def annotate(self, kind: int, pick: int) -> None:
        living = self.living()
        self.origin.git("tag", "-a", "-f", "-m", f"{kind}", "--", f"t{pick % 3}", living[pick % len(living)])
        self.tags.append(self.origin.git("rev-parse", f"refs/tags/t{pick % 3}"))

    @rule()
    def commit(self) -> None:
        self.commits.append(self.origin.commit("file", f"{len(self.commits)}\n"))

    @rule()
    def force_push(self) -> None:
        """The newest commit goes from its branch, and from the origin."""
        self.origin.git("reset", "-q", "--hard", self.commits[0])
        self.origin.git("reflog", "expire", "--expire=now", "--all")
        self.origin.git("gc", "-q", "--prune=now")

    @rule()
    def restart(self) -> None:
        self.mirror.close()
        self.mirror = GitMirror(self.directory / "mirrors", Inline())

    @precondition(lambda self: self.mirror.mirror(self.origin.url).path.exists())
    @rule(how=st.integers(0, 3))
    def damage(self, how: int) -> None:
        path = self.mirror.mirror(self.origin.url).path
        if how == 0:
            shutil.rmtree(path)
        elif how == 1:
            (path / "packed-refs").write_text("nonsense")
        else:
            for file in (path / "objects" / "pack").glob("*.idx" if how == 2 else "*.pack"):
                file.chmod(0o644)
                file.write_bytes(file.read_bytes()[:-30])

    # --- what is asked ----------------------------------------------------------------------------------

    def kinds(self) -> dict[str, str]:
        """What the origin has: the kind of each object, by its id."""
        answer = self.origin.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
        return dict(line.split() for line in answer.splitlines())

    def living(self) -> list[str]:
        """Commits that the origin still has."""
        kinds = self.kinds()
        return [one for one in self.commits if one in kinds]

    def refs(self) -> dict[str, str]:
        lines = self.origin.git("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)").splitlines()
        return {words[0]: words[-1] for words in (line.split() for line in lines)}

    @rule(kind=st.integers(0, 12), pick=st.integers(0, 99))
    def ask_by_name(self, kind: int, pick: int) -> None:
        name = self.name(kind, pick)
        found = outcome(self.mirror, self.origin.url, name)
        digits = len(self.commits[0])
        if len(name) == digits and all(one in "0123456789abcdefABCDEF" for one in name):
            self.check_id(name.lower(), found)
            return
        refs = self.refs()
        if name == "HEAD":
            assert found == self.origin.git("rev-parse", "main")
            return
        names = (name,) if name.startswith("refs/") else (f"refs/heads/{name}", f"refs/tags/{name}")
        meant = {refs[one] for one in names if one in refs}
        if len(meant) == 1:
            assert {found} == meant, (name, found)
        elif meant:
            assert isinstance(found, UnknownRef)
            assert "branch and a tag" in str(found)
        else:
            self.check_prefix(name.lower(), found)

    @rule(pick=st.integers(0, 99), length=st.integers(4, 12))
    def ask_by_id(self, pick: int, length: int) -> None:
        everything = [*self.commits, *self.tags]
        one = everything[pick % len(everything)]
        self.check_id(one, outcome(self.mirror, self.origin.url, one))
        short = one[:length]
        if not {f"refs/heads/{short}", f"refs/tags/{short}"} & self.refs().keys():
            self.check_prefix(short, outcome(self.mirror, self.origin.url, short))

    def check_id(self, one: str, found: object) -> None:
        """An id is that commit, or the one that its tag is of, or nothing at all: never what a name says."""
        kind = self.kinds().get(one, "")
        if kind == "commit":
            assert found == one, (one, found)
        elif kind == "tag":
            assert found == self.origin.git("rev-parse", f"{one}^{{commit}}"), (one, found)
        else:
            # Only the mirror may have it still: a commit that was overwritten, or what a tag of that time was of.
            assert isinstance(found, UnknownRef) or found == one or one in self.tags, (one, found)

    def check_prefix(self, prefix: str, found: object) -> None:
        """An abbreviation is the one commit that it abbreviates, among those of the origin and those seen earlier."""
        there = {one for one in (*self.commits, *self.tags) if one.startswith(prefix)}
        if isinstance(found, str):
            assert any(found == one or one in self.tags for one in there), (prefix, found)
        else:
            assert isinstance(found, UnknownRef)
            reachable = set(self.origin.git("rev-list", "--all").split())
            assert len(there) > 1 or not (there & reachable), (prefix, found)

    @invariant()
    def the_branch_is_what_it_is(self) -> None:
        if hasattr(self, "mirror"):
            main = self.origin.git("rev-parse", "refs/heads/main")
            assert outcome(self.mirror, self.origin.url, "main") == main


class NamesOfSha256(Names):
    form = "sha256"


TestNames = Names.TestCase
TestNames.settings = settings(max_examples=examples(4, long=40), stateful_step_count=12, deadline=None)
TestNamesOfSha256 = NamesOfSha256.TestCase
TestNamesOfSha256.settings = settings(max_examples=examples(2, long=15), stateful_step_count=12, deadline=None)


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_a_branch_called_like_the_id_of_a_commit_hides_neither(tmp_path: Path, form: str) -> None:
    origin = Origin(tmp_path / "origin", object_format=form)
    one, two = origin.commit("one"), origin.commit("two")
    origin.git("update-ref", f"refs/heads/{one}", two)
    origin.git("update-ref", f"refs/tags/{two}", one)
    mirror = GitMirror(tmp_path / "mirrors", Inline())
    assert outcome(mirror, origin.url, one) == one
    assert outcome(mirror, origin.url, two) == two
    assert outcome(mirror, origin.url, f"refs/heads/{one}") == two
    assert outcome(mirror, origin.url, f"refs/tags/{two}") == one
    assert outcome(mirror, origin.url, "HEAD") == two
    assert outcome(mirror, origin.url, one[:10]) == one


def test_a_branch_as_long_as_an_id_of_another_kind_is_followed_and_gone_when_it_is_deleted(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "origin")
    name = "a" * 64
    one = origin.commit("one")
    origin.git("update-ref", f"refs/heads/{name}", one)
    mirror = GitMirror(tmp_path / "mirrors", Inline())
    assert outcome(mirror, origin.url, name) == one
    two = origin.commit("two")
    origin.git("update-ref", f"refs/heads/{name}", two)
    assert outcome(mirror, origin.url, name) == two
    origin.git("update-ref", "-d", f"refs/heads/{name}")
    assert isinstance(outcome(mirror, origin.url, name), UnknownRef)


def test_the_ids_of_trees_and_files_are_no_commits_and_said_so(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "origin")
    commit = origin.commit("one")
    mirror = GitMirror(tmp_path / "mirrors", Inline())
    outcome(mirror, origin.url, "main")
    for what, words in (("HEAD^{tree}", "a tree"), ("HEAD:one", "a blob")):
        one = origin.git("rev-parse", what)
        error = outcome(mirror, origin.url, one)
        assert isinstance(error, UnknownRef)
        assert words in str(error)
        assert isinstance(outcome(mirror, origin.url, one[:12]), UnknownRef)
    assert outcome(mirror, origin.url, commit) == commit


def test_a_commit_that_was_not_there_is_found_as_soon_as_it_is(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "origin")
    origin.commit("one")
    elsewhere = Origin(tmp_path / "elsewhere")
    elsewhere.git("pull", "-q", str(origin.path), "main")
    new = elsewhere.commit("two")
    mirror = GitMirror(tmp_path / "mirrors", Inline())
    for _ in range(3):
        assert isinstance(outcome(mirror, origin.url, new), UnknownRef)
    origin.git("fetch", "-q", str(elsewhere.path), "main:refs/changes/1")
    assert outcome(mirror, origin.url, new) == new
    newer = elsewhere.commit("three")
    assert isinstance(outcome(mirror, origin.url, newer), UnknownRef)
    origin.git("fetch", "-q", str(elsewhere.path), "main:topic")
    assert outcome(mirror, origin.url, newer) == newer
