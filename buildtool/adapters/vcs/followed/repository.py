"""The copy of a followed repository's branch or tag: fetched, compared with what holds, and shown. All of it blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.followed.bounded_git import BoundedGit
from buildtool.adapters.vcs.git.command import NOWHERE, explain, need, unreachable
from buildtool.adapters.vcs.git.ids import SHA256_DIGITS
from buildtool.adapters.vcs.git_mirrors.mirror import unlock
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut
from buildtool.adapters.vcs.refs import is_full_id, mask
from buildtool.errors import MachineFault, RepositoryUnreachable
from buildtool.model.guest.following import Kinship
from buildtool.model.text import one_line, size_words

LIST_LIMIT = 60.0
"""Seconds that the repository has to tell where its branch is."""

FETCH_LIMIT = 300.0
"""Seconds that a fetch may take."""

READ_LIMIT = 60.0
"""Seconds that a look at what was fetched may take."""

WHOLE = 256 * 1024 * 1024
"""The bytes that the copy may have altogether before it is made anew."""

MOST_NAMES = 8
"""Most names of changed files that are told."""

TIP = "refs/followed/tip"
"""What was fetched last: a commit, or a tag."""

TAGS = "refs/tags/"
_HELD = "refs/followed/held"
_EMPTY = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
"""The tree without files, by how long ids are."""
_SEEN = 4_096
_LONGEST = 200


@frozen
class CommitWords:
    """The words of a commit about itself, harmless to show: no more than a claim. ``at`` is in seconds of wall time."""

    author: str
    subject: str
    at: float


@frozen
class ChangedFiles:
    """The names of files that differ, the first few, and how many there are."""

    names: tuple[str, ...]
    count: int

    @property
    def words(self) -> str:
        """What is said of them."""
        more = f" and {self.count - len(self.names)} more" if self.count > len(self.names) else ""
        files = "file" if self.count == 1 else "files"
        return f"{self.count} {files} changed: {', '.join(self.names)}{more}" if self.count else "no file changed"


@frozen
class FollowedRepository:
    """The copy below ``git.place`` of one branch of ``url``; ``branch`` is "" for the one that its HEAD is.

    ``limit`` are the seconds that a fetch may take, ``whole`` the bytes that the copy may have before it is made anew.
    """

    git: BoundedGit
    url: str
    branch: str = ""
    limit: float = FETCH_LIMIT
    whole: int = WHOLE

    @property
    def path(self) -> Path:
        """Where the copy is."""
        return self.git.place / "repository.git"

    @property
    def words(self) -> str:
        """What is followed, without passwords."""
        return mask(f"{self.url}#{self.branch}" if self.branch else self.url)

    def fetch(self, tag: str = "") -> str:
        """Fetch the branch or a tag as it is now; return the commit that it leads to. Raises RepositoryUnreachable."""
        wanted = f"refs/heads/{self.branch}" if self.branch else "HEAD"
        wanted = f"{TAGS}{tag}" if tag else wanted
        there = self._listed(wanted)
        self._make(len(there))
        if self._answer("rev-parse", "--verify", "--quiet", TIP) != there:
            words = ("fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head",
                     "origin", f"+{wanted}:{TIP}")  # fmt: skip
            answer = self._network(words, self.limit, self.path)
            if answer.code:
                # The origin answers, so it may be the copy.
                damaged = MachineFault(f"the copy of {self.words} was damaged, and is made anew")
                raise damaged if self.mend() else self._unreached(answer)
        found = self._answer("rev-parse", "--verify", "--quiet", f"{TIP}^{{commit}}")
        if not is_full_id(found):
            raise RepositoryUnreachable(f"cannot read {self.words}: no commit came")
        return found

    def kinship(self, held: str, tip: str) -> Kinship:
        """Return where ``tip`` is in history, seen from ``held`` ("" is nothing). Raises MachineFault."""
        if not held:
            return Kinship.FIRST
        if held == tip:
            return Kinship.SAME
        if not self.has(held):
            return Kinship.FORKED
        if self._descends(held, tip):
            return Kinship.NEWER
        return Kinship.OLDER if self._descends(tip, held) else Kinship.FORKED

    def has(self, commit: str) -> bool:
        """Return whether a commit is in the copy."""
        return self._answer("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}") == commit

    def mend(self) -> bool:
        """Remove the copy where it is damaged, so that the next fetch makes it anew; return whether it was.

        Raises MachineFault.
        """
        if not self.path.exists() or self._run(("fsck", "--no-dangling", "--no-progress")).code == 0:
            return False
        try:
            remove_tree(self.path)
        except OSError as error:
            raise MachineFault(f"cannot remove {self.path}, which is damaged: {error.strerror or error}") from error
        return True

    def keep(self, commit: str) -> None:
        """Keep a commit that holds, whatever becomes of the branch. Raises MachineFault."""
        unlock(self.path)
        self._need("update-ref", _HELD, commit)

    def about(self, commit: str) -> CommitWords:
        """Return what a commit says of itself. Raises MachineFault."""
        answer = self._need("log", "-1", "--no-show-signature", "--format=%ct%x00%an <%ae>%x00%s", commit)
        when, author, subject = answer.out.decode("utf-8", "replace")[:_SEEN].split("\0", 2)
        return CommitWords(one_line(author, _LONGEST), one_line(subject, _LONGEST), float(when))

    def changed(self, old: str, new: str) -> ChangedFiles:
        """Return which files differ between two commits; without an ``old`` one, all there are. Raises MachineFault."""
        found = self._run(["diff-tree", "-r", "-z", "--name-only", "--no-renames", _from(old, new), new])
        said = need(found, MachineFault, self._trouble).out.decode("utf-8", "replace").split("\0")[:-1]
        names = [one_line(name, _LONGEST) for name in said]
        return ChangedFiles(tuple(names[:MOST_NAMES]), len(names))

    def diff(self, old: str, new: str, on_line: Callable[[bytes], None]) -> None:
        """Read what differs between two commits, all of it as text, line by line. Raises MachineFault."""
        words = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--text", "--no-renames", "--stat", "--patch",
                 _from(old, new), new)  # fmt: skip
        last = bytearray()

        def take(piece: bytes) -> None:
            *lines, rest = (bytes(last) + piece).split(b"\n")
            last[:] = rest
            for line in lines:
                on_line(line)

        answer = self._run(words, sink=take)
        if last:
            on_line(bytes(last))
        need(answer, MachineFault, self._trouble)

    # --- inside -----------------------------------------------------------------------------------------

    def _listed(self, wanted: str) -> str:
        """Return the id that the repository says its branch is at. Raises RepositoryUnreachable."""
        found: list[str] = []

        def line(text: bytes) -> None:
            one, _, name = text[:_SEEN].decode("utf-8", "replace").partition("\t")
            if name == wanted and is_full_id(one) and not found:
                found.append(one.lower())

        words = ("ls-remote", "--quiet", "--end-of-options", "origin", wanted)
        answer = self._network(words, min(LIST_LIMIT, self.limit), NOWHERE, line)
        if answer.code:
            raise self._unreached(answer)
        if not found:
            what = f"branch {self.branch!r}" if self.branch else "commit"
            if wanted.startswith(TAGS):
                raise RepositoryUnreachable(f"{mask(self.url)} has no tag {wanted.removeprefix(TAGS)!r} any more")
            raise RepositoryUnreachable(f"{mask(self.url)} has no {what}: name one as URL#BRANCH")
        return found[0]

    def _make(self, digits: int) -> None:
        """Make the copy unless it is there with ids of so many digits, and not too large. Raises MachineFault."""
        form = "sha256" if digits == SHA256_DIGITS else "sha1"
        try:
            if self.path.exists():
                unlock(self.path)  # what a git that was killed has left
                size = sum(one.stat().st_size for one in self.path.rglob("*") if one.is_file())
                if size <= self.whole and self._answer("rev-parse", "--show-object-format") == form:
                    return
            new = self.path.with_name("repository.new")
            remove_tree(new)
            new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            words = ("init", "--quiet", "--bare", "--template=", f"--object-format={form}", str(new))
            need(self.git.run(words, settings=self.git.settings), MachineFault, f"cannot make {self.path}: ")
            self._keep_held(new)
            remove_tree(self.path)
            new.rename(self.path)
        except OSError as error:
            raise MachineFault(f"cannot keep {self.path}: {error.strerror or error}") from error

    def _keep_held(self, new: Path) -> None:
        """Fetch what holds into a copy that is made anew, as far as the old one still has it."""
        if self._answer("rev-parse", "--verify", "--quiet", _HELD):
            words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(self.path), f"{_HELD}:{_HELD}")
            self.git.run(words, git_dir=new, limit=READ_LIMIT, settings=self.git.settings)

    def _network(
        self, words: Sequence[str], limit: float, git_dir: Path, on_line: Callable[[bytes], None] | None = None
    ) -> ProcessOutput:
        try:
            return self.git.run(
                words, git_dir=git_dir, url=self.url, limit=limit, on_line=on_line, settings=self.git.settings
            )
        except TimedOut as error:
            raise RepositoryUnreachable(f"cannot read {self.words}: {error}") from error

    def _unreached(self, answer: ProcessOutput) -> Exception:
        too_much = ("File too large", "signal 25", "index-pack", "Out of memory", "out of memory")
        if any(one in answer.err for one in too_much) and self.path.exists():
            said = f"cannot read {self.words}: more than {size_words(self.git.fetched)} came, or what git cannot read"
            return RepositoryUnreachable(f"{said}: {explain(answer)}")
        return unreachable(self.words, answer)

    def _descends(self, old: str, new: str) -> bool:
        answer = self._run(("merge-base", "--is-ancestor", old, new))
        if answer.code not in (0, 1):
            need(answer, MachineFault, self._trouble)
        return answer.code == 0

    @property
    def _trouble(self) -> str:
        return f"cannot read {self.path}: "

    def _answer(self, *words: str) -> str:
        """Return what git says, "" where it fails."""
        if not self.path.exists():
            return ""
        answer = self._run(words)
        return "" if answer.code else answer.text

    def _need(self, *words: str) -> ProcessOutput:
        return need(self._run(words), MachineFault, self._trouble)

    def _run(self, words: Sequence[str], sink: Callable[[bytes], object] | None = None) -> ProcessOutput:
        try:
            return self.git.run(words, git_dir=self.path, limit=READ_LIMIT, sink=sink, settings=self.git.settings)
        except TimedOut as error:
            raise MachineFault(f"{self._trouble}{error}") from error


def _from(old: str, new: str) -> str:
    """Return what the files of a new commit are compared with: those of an old one, or none."""
    return old or _EMPTY[len(new)]
