"""``hook``: what to enter at a forge so that it delivers to a project: URL, secret, events, and what a token needs.

Tested by tests/programs/metaserver/access/test_hook.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from attrs import asdict, frozen

from buildtool.configuration.settings import Settings
from buildtool.errors import UsageError
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import called, say
from buildtool.programs.common.subcommands import Subcommand

CONTENT_TYPE = "application/json"


@frozen
class ForgeEntry:
    """An entry at one kind of forge: where it is made, its events, and what a token needs least that makes it."""

    forge: str
    where: str
    secret_field: str
    events: tuple[str, ...]
    scopes: tuple[str, ...]


ENTRIES = (
    ForgeEntry(
        "GitHub", "Settings > Webhooks > Add webhook", "Secret",
        ("push", "create", "pull_request", "issue_comment"),
        ("admin:repo_hook, or Webhooks: read and write of a fine-grained token",),
    ),
    ForgeEntry(
        "GitLab", "Settings > Webhooks > Add new webhook", "Secret token",
        ("Push events", "Tag push events", "Comments", "Merge request events"),
        ("api, of a project's token with the role Maintainer",),
    ),
    ForgeEntry(
        "Gitea and Forgejo", "Settings > Webhooks > Add Webhook > Gitea or Forgejo", "Secret",
        ("push", "create", "pull_request", "issue_comment"),
        ("write:repository",),
    ),
)  # fmt: skip
"""What is entered at each kind of forge."""


@frozen
class HookEntry:
    """An entry for a project, whichever forge it is. ``secret_files`` hold the secrets, of which each will do."""

    project: str
    url: str
    content_type: str
    tls_verification: str
    secret_files: tuple[str, ...]
    forges: tuple[ForgeEntry, ...]


def hook_of(settings: Settings, project: str) -> HookEntry:
    """Return what is entered for a project. Raises UnknownProject, and UsageError where it takes no deliveries."""
    name = settings.project(project).name
    files = settings.hook_secrets.files.get(name, ())
    if not files:
        raise UsageError(
            f"{name} takes no deliveries yet: {called('metaserver')} new-secret hook-{name} makes a secret, and "
            f'hook_secrets = {{"{name}": "secrets/hook-{name}"}} in {settings.path} names it'
        )
    url = f"{settings.public_url.rstrip('/')}/hook/{name}"
    verification = "on" if url.startswith("https:") else "none: this URL is plain HTTP"
    return HookEntry(name, url, CONTENT_TYPE, verification, files, ENTRIES)


def hook_lines(entry: HookEntry) -> Iterator[str]:
    """Yield what is entered at each forge, for people."""
    yield f"what to enter at the forge of {entry.project}:"
    yield f"  URL               {entry.url}"
    yield f"  content type      {entry.content_type} (forms are taken too)"
    yield f"  secret            the line in {' or in '.join(entry.secret_files)}"
    yield f"  TLS verification  {entry.tls_verification}"
    if not entry.url.startswith("https:"):
        yield "  GitLab sends its token as it is, which is taken over https only: see public_url, and proxies"
    for one in entry.forges:
        yield f"{one.forge}: {one.where}"
        yield f"  secret as         {one.secret_field}"
        yield f"  events            {', '.join(one.events)}"
        yield f"  a token that does it needs {', '.join(one.scopes)}"
    yield "others: sign the bytes of a JSON object, HMAC-SHA256 in hex, as X-Signature-256: sha256=..."


def _hook(said: argparse.Namespace) -> int:
    """Print it, and return the exit code. Raises BuildToolError."""
    entry = hook_of(settings_of(said, secrets=False), said.target)
    say(json.dumps(asdict(entry)) if said.json else "\n".join(hook_lines(entry)))
    return EXIT_OK


COMMAND = Subcommand(
    "hook", "print what to enter at a forge, so that it delivers to PROJECT what was pushed", "hook lua", _hook,
    "PROJECT", options=("--json",),
)  # fmt: skip
"""The command."""
