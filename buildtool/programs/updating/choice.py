"""What is said of an installation's updates: from where, by whom signed, what is asked, and what is run.

Covered by tests/programs/updating/test_main.py.
"""

from __future__ import annotations

import argparse
import pwd
import shlex
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from buildtool.adapters.vcs.refs import check_ref, check_url
from buildtool.errors import BuildToolError, UsageError
from buildtool.programs.buildserver.following.choice import FollowChoice, key_files
from buildtool.programs.common.subcommands import How, Several, number, switch, valued

PLACE = Path("/opt/buildtool")
READY = ("http://127.0.0.1:8080/ready",)
CHECK = "bin/metaserver check-config"
RESTART = "systemctl try-restart metaserver.service webserver.service"
KEEP, WITHIN, WATCH = 2, 300, 300
_MOST_WORDS = 2_000


def repository_url(text: str) -> str:
    """Return what ``--source`` says. Raises ArgumentTypeError."""
    try:
        check_url(text)
    except BuildToolError as error:
        raise ArgumentTypeError(str(error)) from error
    return text


def branch_name(text: str) -> str:
    """Return what ``--branch`` says. Raises ArgumentTypeError."""
    try:
        check_ref(text, "the repository")
    except BuildToolError as error:
        raise ArgumentTypeError(str(error)) from error
    return text


def command_words(text: str) -> tuple[str, ...]:
    """Return the words of a command, which no shell sees. Raises ArgumentTypeError."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ArgumentTypeError(f"{text[:60]!r} is no command: {error}") from error
    if not words or len(text) > _MOST_WORDS:
        raise ArgumentTypeError(f"{text[:60]!r} is no command: say the program and its words, as in a shell")
    return words


def readiness(text: str) -> tuple[str, ...]:
    """Return what ``--ready`` says, as one that may be said several times. Raises ArgumentTypeError."""
    if not text.startswith(("http://", "https://")):
        command_words(text)
    elif not text.isprintable() or " " in text:
        raise ArgumentTypeError(f"{text[:60]!r} is no address")
    return (text,)


UPDATE_OPTIONS: Mapping[str, How] = {
    "--place": valued(f"where versions lie, and current, a link to the one that runs (default {PLACE})", "DIR", Path),
    "--source": valued("the repository of the program", "URL", repository_url),
    "--branch": valued("the branch whose tip is taken (default: the repository's own)", "NAME", branch_name),
    "--tags": valued("take the highest version of the tags like this, such as 'v*', in place of a branch", "PATTERN"),
    "--signed-by": valued(
        "files with the SSH public keys by one of which the commit, or with --tags the tag, must be signed", "FILES",
        key_files,
    ),
    "--unsigned": switch("take commits that nobody has signed: whoever may write there may then run programs here"),
    "--ask": switch("take no version before somebody has accepted it"),
    "--keep": valued(f"how many versions that held before are kept (default {KEEP})", "N", number(1, 50)),
    "--check": valued(
        f"what the new version has to do without an error before anything is started (default: {CHECK})", "COMMAND",
        command_words,
    ),
    "--restart": valued(
        f"what has the servers start anew, by the version that current leads to (default: {RESTART})", "COMMAND",
        command_words,
    ),
    "--ready": valued(
        f"what says that they are ready: an address, or a command; may be said several times (default {READY[0]})",
        "URL|COMMAND", readiness, action=Several,
    ),
    "--within": valued(f"seconds in which they have to be ready (default {WITHIN})", "SEC", number(1, 7_200)),
    "--watch": valued(f"seconds for which they have to stay ready (default {WATCH})", "SEC", number(0, 86_400)),
    "--same": valued(
        "a command that prints the same as long as their processes live, such as their numbers", "COMMAND",
        command_words,
    ),
    "--account": valued("as whom the commands of versions run, where this is run by root", "NAME"),
    "--with-migrations": valued(
        "also take versions after which the one before cannot use the database any more; a backup is made below DIR",
        "DIR", Path,
    ),
    "--without-database": switch("this machine only builds: versions are taken whatever they do to a database"),
}  # fmt: skip
"""What ``add_argument`` takes for each."""


@frozen
class UpdateChoice:
    """The choice of an operator; times are in seconds, commands are words."""

    place: Path
    source: FollowChoice
    tags: str
    unsigned: bool
    keep: int
    check: tuple[str, ...]
    restart: tuple[str, ...]
    ready: tuple[str, ...]
    within: float
    watch: float
    same: tuple[str, ...]
    account: str
    backups: Path | None
    without_database: bool = False

    @property
    def words(self) -> str:
        """What is followed, without passwords."""
        named = self.source.repository(self.place).words
        return f"the tags {self.tags} of {named}" if self.tags else named


def place_of(said: argparse.Namespace) -> Path:
    """Return where the installation is."""
    return Path(said.place or PLACE).absolute()


def choice_of(said: argparse.Namespace) -> UpdateChoice:
    """Return the choice of an operator. Raises UsageError."""
    if not said.source:
        raise UsageError("--source is not said: name the repository of the program")
    if said.branch and said.tags:
        raise UsageError("--branch and --tags are two different things: say one of them")
    if not said.signed_by and not said.unsigned:
        raise UsageError(
            "--signed-by FILE is not said: name your public keys, or say --unsigned to take what nobody has signed"
        )
    if said.signed_by and said.unsigned:
        raise UsageError("--signed-by and --unsigned are two different things: say one of them")
    if said.without_database and said.with_migrations is not None:
        raise UsageError("--without-database and --with-migrations are two different things: say one of them")
    try:
        pwd.getpwnam(said.account or "root")
    except (KeyError, ValueError) as error:
        raise UsageError(f"--account: there is no account {said.account[:40]!r} on this machine") from error
    files = tuple(one.absolute() for one in said.signed_by or ())
    return UpdateChoice(
        place=place_of(said),
        source=FollowChoice(said.source, said.branch or "", files, said.ask, 0.0),
        tags=said.tags or "",
        unsigned=said.unsigned,
        keep=said.keep or KEEP,
        check=said.check or command_words(CHECK),
        restart=said.restart or command_words(RESTART),
        ready=said.ready or READY,
        within=float(said.within or WITHIN),
        watch=float(WATCH if said.watch is None else said.watch),
        same=said.same or (),
        account=said.account or "",
        backups=None if said.with_migrations is None else said.with_migrations.absolute(),
        without_database=bool(said.without_database),
    )
