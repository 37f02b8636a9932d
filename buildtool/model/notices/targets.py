"""Who is told, as a project's configuration names them. Nothing here has a secret in it, only the file of one.

The test is tests/project/test_telling.py.
"""

from __future__ import annotations

import enum

from attrs import frozen

from buildtool.model.notices.notice import NoticeRule, NoticeState
from buildtool.model.options import Canonical


class StatusApi(enum.Enum):
    """A forge's API, by the function that names it."""

    GITHUB_STATUS = "github_status"
    GITHUB_CHECKS = "github_checks"
    GITLAB_STATUS = "gitlab_status"
    GITEA_STATUS = "gitea_status"


@frozen
class ForgeTarget:
    """A repository at a forge whose commits get statuses.

    ``base`` is where its API is, ``token_file`` the file of the token, from the configuration's directory.
    ``context`` is what the names of its statuses begin with; ``everything`` and ``source`` are as in ``NoticeRule``.
    """

    kind: StatusApi
    repository: str
    token_file: str
    base: str
    context: str = "buildtool"
    everything: bool = False
    source: str = ""

    @property
    def name(self) -> str:
        """What it is called among its project's targets."""
        return f"{self.kind.value} {self.repository}"

    def rule(self, project: str, defaults: Canonical) -> NoticeRule:
        """Return what it is told of a project's builds.

        GitHub and Gitea have one state for what waits and what is built: telling both would say nothing and cost calls.
        """
        states = set(NoticeState)
        if self.kind in (StatusApi.GITHUB_STATUS, StatusApi.GITEA_STATUS):
            states.discard(NoticeState.BUILDING)
        return NoticeRule(
            f"{project}/{self.name}", frozenset(states), everything=self.everything, source=self.source,
            prefix=self.context, defaults=defaults,
        )  # fmt: skip


@frozen
class WebhookTarget:
    """A URL that is sent each notice, signed with the secret in a file. ``everything`` and ``source`` as above."""

    url: str
    secret_file: str
    context: str = "buildtool"
    everything: bool = False
    source: str = ""

    @property
    def name(self) -> str:
        """What it is called among its project's targets: not by its query, which may have a secret in it."""
        return f"webhook {self.url.partition('?')[0]}"

    def rule(self, project: str, defaults: Canonical) -> NoticeRule:
        """Return what it is told of a project's builds."""
        return NoticeRule(
            f"{project}/{self.name}", frozenset(NoticeState), everything=self.everything, source=self.source,
            prefix=self.context, defaults=defaults,
        )  # fmt: skip


class IrcLogin(enum.Enum):
    """The way in which a password is shown to a server of IRC."""

    NONE = "none"
    SASL = "sasl"
    NICKSERV = "nickserv"
    SERVER = "server"


@frozen
class IrcTarget:
    """A channel of IRC that is told what began to fail and what works again; with ``every``, how each build ends.

    ``password_file`` and ``key_file`` are the files of the password and of the channel's key, "" for none.
    """

    host: str
    port: int
    channel: str
    nick: str
    login: IrcLogin = IrcLogin.NONE
    password_file: str = ""
    key_file: str = ""
    tls: bool = True
    every: bool = False
    everything: bool = False
    source: str = ""

    @property
    def name(self) -> str:
        """What it is called among its project's targets."""
        return f"irc {self.host} {self.channel}"

    def rule(self, project: str, defaults: Canonical) -> NoticeRule:
        """Return what it is told of a project's builds: ends alone, of each branch the newest."""
        states = {NoticeState.SUCCESS, NoticeState.FAILURE} | ({NoticeState.ERROR} if self.every else set())
        return NoticeRule(
            f"{project}/{self.name}", frozenset(states), by_ref=True, everything=self.everything, source=self.source,
            prefix="on", defaults=defaults,
        )  # fmt: skip


Target = ForgeTarget | WebhookTarget | IrcTarget
"""Whoever may be told."""
