"""What an owner types about the configuration that they follow: ``config-diff`` and ``accept-config``.

Both work while the build server runs and while it does not.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.adapters.vcs.followed.repository import FollowedRepository
from buildtool.adapters.vcs.followed.signatures import verify_commit
from buildtool.buildserver.following import accepting
from buildtool.errors import NotRunning, UsageError
from buildtool.model.guest.follow_record import FollowRecord
from buildtool.model.guest.following import SHORT
from buildtool.model.text import moment_words
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.following.starting import Following, following_of
from buildtool.programs.buildserver.following.telling import record_words
from buildtool.programs.buildserver.guest.desk import status_lines
from buildtool.programs.buildserver.guest.local_socket import ask_server
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import say
from buildtool.programs.common.subcommands import Subcommand

_HIDDEN = re.compile(r"[^\t\x20-\x7e]")
"""What may look like something else than it is, or command a terminal."""


def shown(line: bytes) -> str:
    """Return a line of a diff as it is: letters of all languages as they are, all else that hides escaped."""
    text = line.decode("utf-8", "backslashreplace")
    return _HIDDEN.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _followed(said: argparse.Namespace) -> tuple[Following, BuildDirectory]:
    """Return what is followed and by which build server. Raises UsageError where nothing is."""
    settings = settings_of(said, secrets=False)
    store = CredentialStore(settings.build_dir / "identity")
    start = Start.of(settings, said, store, store.load())
    place = start.place()
    following = following_of(start.said, place.follow)
    if following is None:
        raise UsageError(
            "no repository is followed: say --follow-config and --signed-by, here as at the start, or write "
            f"follow_config and signed_by into {start.owners.path}"
        )
    return following, place


def _config_diff(said: argparse.Namespace) -> int:
    following, _ = _followed(said)
    record = following.record()
    repository = following.choice.repository(following.place)
    old, new = (record.holds, record.waits) if record.waits else (record.before, record.holds)
    head = _head(following, repository, record, new)
    lines: list[str] = []
    if new and repository.has(new):
        repository.diff(old if old and repository.has(old) else "", new, lambda line: lines.append(shown(line)))
    if said.json:
        say(json.dumps({**head, "from": old, "diff": lines}))
        return EXIT_OK
    for name, value in head.items():
        if value:
            say(f"{name:<10}{value}")
    say("\n".join(["", *lines]) if lines else "")
    return EXIT_OK


def _head(following: Following, repository: FollowedRepository, record: FollowRecord, new: str) -> dict[str, str]:
    """Return what is to be known of a commit before its diff is read."""
    told = {
        "follows": following.words, "fetched": _fetched(record), "state": record_words(record), "commit": new,
    }  # fmt: skip
    if not new or not repository.has(new):
        return told
    about, keys = repository.about(new), following.choice.read_keys()
    found = verify_commit(repository.git, repository.path, new, keys)
    signed = f"{found.verdict.value}{f': {found.signer}' if found.signer else ''}"
    return {
        **told, "author": about.author, "date": moment_words(about.at), "subject": about.subject, "signature": signed,
    }  # fmt: skip


def _fetched(record: FollowRecord) -> str:
    """Return in words how old that is which is shown: nothing is fetched for it."""
    if not record.seen_at:
        return "never yet: a build server that runs fetches, this command does not"
    return f"{moment_words(record.seen_at)}, by the build server: this command fetches nothing"


def _accept_config(said: argparse.Namespace) -> int:
    following, place = _followed(said)
    commit = str(said.target)
    try:
        answer = ask_server(place.top, {"act": "accept-config", "for": commit})
    except NotRunning:
        accepted = _accepted(following, place.top, commit)
        words = f"{accepted[:SHORT]} is accepted, and taken over once the build server runs"
        say(json.dumps({"accepted": accepted}) if said.json else words)
        return EXIT_OK
    say(json.dumps(answer) if said.json else "\n".join(status_lines(answer)))
    return EXIT_OK


def _accepted(following: Following, top: Path, commit: str) -> str:
    """Note that the owner accepts a commit, while no build server runs; return it. Raises UsageError."""
    with BuildDirectory(top).lock():
        record = accepting(following.record(), commit)
        following.memory.save(record)
    return record.accepted


FOLLOW_COMMANDS: tuple[Subcommand[int], ...] = (
    Subcommand(
        "config-diff", "show what a new commit of the followed configuration changes, or what the last one changed",
        "config-diff --name attic | less", _config_diff,
        options=("--name", "--follow-config", "--signed-by", "--json"),
    ),
    Subcommand(
        "accept-config", "take over a commit of the followed configuration that waits for its owner's word",
        "accept-config 1f2e3d4c5b6a", _accept_config, "COMMIT",
        options=("--name", "--follow-config", "--signed-by", "--json"),
    ),
)  # fmt: skip
"""What they need of the start, they find in buildserver.toml or are told again."""
