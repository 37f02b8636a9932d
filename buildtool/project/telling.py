"""What an integrator's ``config.py`` writes for who is told: ``tell=[github_status("owner/repo", token_file=...)]``.

Tested by tests/project/test_telling.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from itertools import islice
from typing import TypedDict, Unpack
from urllib.parse import urlsplit

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.notices.targets import ForgeTarget, IrcLogin, IrcTarget, StatusApi, Target, WebhookTarget
from buildtool.model.project_options import tool_option
from buildtool.model.text import meant, quoted

__all__ = ["checked_targets", "gitea_status", "github_checks", "github_status", "gitlab_status", "irc", "webhook"]

TARGETS = 20
"""Most targets of a project."""

GITHUB = "https://api.github.com"
GITLAB = "https://gitlab.com"

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")
_PORT = re.compile("[1-9][0-9]{0,4}")
_LABEL = 63
_CHANNEL = re.compile(r"[#&+!][!-+\--~]{1,49}")
_NICK = re.compile(r"[A-Za-z_\[\]][A-Za-z0-9_\[\]-]{0,29}")
PORT_MOST = 65_535

_PLAIN = re.compile(r"[!-~]{1,500}")
_TWO = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_SEVERAL = re.compile(r"[A-Za-z0-9_.-]{1,100}(?:/[A-Za-z0-9_.-]{1,100}){1,20}")
_CONTEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,59}")


class TellingWords(TypedDict, total=False):
    """The words for what a forge is told.

    ``context`` is what the names of the statuses begin with. What triggers ask for is told, with ``everything``
    whatever is built of ``source``.
    """

    context: str
    everything: bool
    source: str


class ForgeWords(TellingWords, total=False):
    """The words for what a forge is told, and where: ``base`` is the URL of its API."""

    base: str


def github_status(repository: str, *, token_file: str, **asking: Unpack[ForgeWords]) -> ForgeTarget:
    """Return who gives each commit of a repository at GitHub, ``owner/name``, a status for each build of it.

    ``token_file`` holds a token that may write commit statuses, ``base`` is the API of GitHub Enterprise, the rest is
    as for ``TellingWords``. Raises ConfigurationError.
    """
    return _forge(StatusApi.GITHUB_STATUS, repository, token_file, GITHUB, asking)


def github_checks(repository: str, *, token_file: str, **asking: Unpack[ForgeWords]) -> ForgeTarget:
    """Return who gives each commit a check run at GitHub, for which the token has to be that of an installed app.

    The rest is as for ``github_status``.
    """
    return _forge(StatusApi.GITHUB_CHECKS, repository, token_file, GITHUB, asking)


def gitlab_status(repository: str, *, token_file: str, **asking: Unpack[ForgeWords]) -> ForgeTarget:
    """Return who gives each commit a status at GitLab, where a repository is ``group/name`` or ``group/more/name``.

    ``base`` is the site of another GitLab; the rest is as for ``github_status``.
    """
    return _forge(StatusApi.GITLAB_STATUS, repository, token_file, GITLAB, asking)


def gitea_status(repository: str, *, token_file: str, base: str, **asking: Unpack[TellingWords]) -> ForgeTarget:
    """Return who gives each commit a status at Gitea or Forgejo, whose site is ``base``, such as https://codeberg.org.

    The rest is as for ``github_status``.
    """
    return _forge(StatusApi.GITEA_STATUS, repository, token_file, base, asking)


def webhook(
    url: str, *, secret_file: str, context: str = "buildtool", everything: bool = False, source: str = ""
) -> WebhookTarget:
    """Return who is sent a signed message each time that it stands otherwise with a build of a commit.

    The rest is as for ``github_status``. Raises ConfigurationError.
    """
    site = checked_site("webhook:", url, query=True)
    _check_asked("webhook", context, everything, source)
    if not isinstance(secret_file, str) or not secret_file:
        raise ConfigurationError(f"webhook: secret_file = {quoted(secret_file)} is not the name of a file")
    return WebhookTarget(site, secret_file, context, everything, source)


class Speaking(TypedDict, total=False):
    """The words of ``irc`` for how a channel is spoken to, and of what.

    ``password_file`` holds the password of ``nick``, which is shown by ``login``: ``sasl`` (as usual), ``nickserv`` or
    ``server``; ``key_file`` the key of the channel. With ``every`` each end is told. ``tls=False`` is for a server on
    this machine; ``everything`` and ``source`` are as for ``github_status``.
    """

    nick: str
    password_file: str
    login: str
    key_file: str
    tls: bool
    every: bool
    everything: bool
    source: str


def irc(server: str, channel: str, **speaking: Unpack[Speaking]) -> IrcTarget:
    """Return a channel that is told what began to fail, and what works again. Raises ConfigurationError.

    ``server`` is ``host:port``; ``speaking`` is as for ``Speaking``.
    """
    _check_words("irc", speaking, Speaking.__annotations__)
    host, _, port = server.rpartition(":") if isinstance(server, str) else ("", "", "")
    if not (_HOST.fullmatch(host) and _is_host(host)) or not (_PORT.fullmatch(port) and int(port) <= PORT_MOST):
        raise ConfigurationError(f"irc: {quoted(server)} is no server such as irc.libera.chat:6697")
    nick = speaking.get("nick", "buildtool")
    for what, said, pattern in (("channel", channel, _CHANNEL), ("nick", nick, _NICK)):
        if not isinstance(said, str) or not pattern.fullmatch(said):
            raise ConfigurationError(f"irc: {quoted(said)} is no {what}, such as {_SUCH[what]}")
    tls, every, everything = (speaking.get(name, name == "tls") for name in ("tls", "every", "everything"))
    if not isinstance(tls, bool) or not isinstance(every, bool):
        raise ConfigurationError("irc: tls and every are True or False")
    if not tls and not _is_here(host):
        raise ConfigurationError(f"irc: {quoted(server)} would be spoken to in the clear: leave out tls = False")
    _check_asked("irc", "on", everything, speaking.get("source", ""))
    files = speaking.get("password_file", ""), speaking.get("key_file", "")
    if not all(isinstance(one, str) for one in files):
        raise ConfigurationError("irc: password_file and key_file are names of files")
    how, source = _login(speaking.get("login", ""), files[0]), speaking.get("source", "")
    return IrcTarget(host, int(port), channel, nick, how, *files, tls, every, bool(everything), source)


_SUCH = {"channel": "#lua", "nick": "buildtool, of letters, digits and _-[], 30 at most"}


def _login(said: object, password_file: str) -> IrcLogin:
    ways = [one.value for one in IrcLogin if one is not IrcLogin.NONE]
    if (said and not password_file) or said not in ("", *ways):
        raise ConfigurationError(f"irc: login = {quoted(said)} goes with a password_file, and is {', '.join(ways)}")
    return IrcLogin(said or "sasl") if password_file else IrcLogin.NONE


def checked_targets(value: object) -> tuple[Target, ...]:
    """Return who a project tells. Raises ConfigurationError where it lists something else, or the same twice."""
    listed = (value,) if isinstance(value, Target) else value
    found = tuple(islice(listed, TARGETS + 1)) if isinstance(listed, Iterable) else (listed,)
    for one in found:
        if not isinstance(one, Target):
            raise ConfigurationError(f"a project's tell = {quoted(one)} is not a list of github_status(...), ...")
    if len(found) > TARGETS:
        raise ConfigurationError(f"a project tells more than {TARGETS} targets")
    names = [one.name.lower() for one in found]
    for twice in sorted({one.name for one in found if names.count(one.name.lower()) > 1})[:1]:
        raise ConfigurationError(f"a project tells {twice} twice")
    return found


def _forge(
    kind: StatusApi, repository: str, token_file: str, usual: str, asking: ForgeWords | TellingWords
) -> ForgeTarget:
    """Return who is told at a forge, whose API is at the ``usual`` URL. Raises ConfigurationError."""
    what, pattern = kind.value, _SEVERAL if kind is StatusApi.GITLAB_STATUS else _TWO
    _check_words(what, asking, ForgeWords.__annotations__)
    base, context = asking.get("base", usual), asking.get("context", "buildtool")
    everything, source = asking.get("everything", False), asking.get("source", "")
    if not isinstance(repository, str) or not pattern.fullmatch(repository) or ".." in repository:
        raise ConfigurationError(f"{what}: {quoted(repository)} is no repository, which is written as owner/name")
    if not isinstance(token_file, str) or not token_file:
        raise ConfigurationError(f"{what}: token_file = {quoted(token_file)} is not the name of a file")
    _check_asked(what, context, everything, source)
    site = checked_site(f"{what}: base =", base).rstrip("/")
    return ForgeTarget(kind, repository, token_file, site, context, bool(everything), source)


def _check_words(what: str, said: Iterable[str], known: Mapping[str, object]) -> None:
    """Raise ConfigurationError for a word that is none of those that are known."""
    for word in sorted(set(said) - known.keys()):
        raise ConfigurationError(f"{what} has no {word} ={meant(word, known)}")


def _check_asked(what: str, context: object, everything: object, source: str) -> None:
    """Raise ConfigurationError where what a target is told of is not said as it should be."""
    if not isinstance(context, str) or not _CONTEXT.fullmatch(context):
        right = "letters, digits, spaces and ._/- , 60 at most"
        raise ConfigurationError(f"{what}: context = {quoted(context)} is not usable: it has {right}")
    if not isinstance(everything, bool):
        raise ConfigurationError(f"{what}: everything = {quoted(everything)} is neither True nor False")
    try:
        tool_option("source").check(source)
    except UsageError as error:
        raise ConfigurationError(f"{what}: {error}") from error


def checked_site(what: str, url: object, *, query: bool = False) -> str:
    """Return a URL to which a secret, or what is made with one, is sent. Raises ConfigurationError.

    Only a site of this machine may be asked in the clear.
    """
    found = url if isinstance(url, str) else ""
    try:
        parts = urlsplit(found)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    plain = _PLAIN.fullmatch(found) is not None and not ("@" in parts.netloc or parts.fragment)
    plain = plain and (query or not parts.query)
    if not (plain and found.startswith(("http://", "https://")) and _is_host(host)):
        raise ConfigurationError(f"{what} {quoted(url)} is no URL such as https://git.example.org")
    if parts.scheme == "http" and not _is_here(host):
        raise ConfigurationError(f"{what} {quoted(url)} would be shown a secret in the clear: say https://")
    return found


def _is_host(host: str) -> bool:
    """Return whether a name can be one of a machine, for which a certificate may be made."""
    labels = host.removesuffix(".").split(".")
    return all(0 < len(one) <= _LABEL and one.strip("-") == one for one in labels)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
