"""Reads a deployment's ``config.py`` into frozen Settings, with one clear line for whatever is wrong in it.

The file is found by ``--config``, else by ``$BUILDTOOL_CONFIG``, else it is the checkout's own; never the
current directory's, since whoever can write there could then run code. It is executed in a fresh namespace:
its author is trusted (it holds the recipes), but it leaves nothing behind. Secrets come from files or the
environment only.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

from attrs import field, frozen

from buildtool.configfile import CONFIG_VARIABLE, Execution, at_home, find_config, projects_of
from buildtool.domain.addresses import valid_address
from buildtool.domain.hosts import at_port, in_url, is_address, valid_bind, valid_host, valid_url
from buildtool.domain.model import canonical, shown
from buildtool.domain.options import Option
from buildtool.domain.text import quoted
from buildtool.errors import ConfigurationError, EmptySecret, UnknownProject, UsageError
from buildtool.project import Project
from buildtool.recipecheck import Within, check_recipes, unbounded

__all__ = [
    "CONFIG_VARIABLE",
    "ENVIRONMENT",
    "MailSettings",
    "Settings",
    "check_projects",
    "describe",
    "find_config",
    "load_settings",
    "need_projects",
]

ENVIRONMENT: dict[str, str] = {
    "BUILDTOOL_HOST": "host",
    "BUILDTOOL_BIND": "bind",
    "BUILDTOOL_PB_PORT": "pb_port",
    "BUILDTOOL_TRANSFER_PORT": "transfer_port",
    "BUILDTOOL_WEB_PORT": "web_port",
    "BUILDTOOL_PUBLIC_URL": "public_url",
    "BUILDTOOL_TRANSFER_URL": "transfer_url",
    "BUILDTOOL_STATE_DIR": "state_dir",
    "BUILDTOOL_BUILD_DIR": "build_dir",
    "BUILDTOOL_LEASE": "lease",
    "BUILDTOOL_MAIL_HOST": "mail.host",
    "BUILDTOOL_MAIL_PORT": "mail.port",
    "BUILDTOOL_MAIL_SENDER": "mail.sender",
}
"""Environment variables that take precedence over the file, so that several deployments can run from one."""

STARTTLS = ("never", "opportunistic", "required")

_SECRET_LIMIT = 4096
_PORTS = range(1, 65536)
_LEASES = range(2, 3601)
_DAYS = range(1, 3651)
_SETTINGS = frozenset(
    {"host", "bind", "pb_port", "transfer_port", "web_port", "public_url", "transfer_url", "state_dir",
     "build_dir", "lease", "names_kept", "mail", "projects"}
)  # fmt: skip
_MAILS_AN_HOUR = range(1, 1_000_001)
_MAIL = frozenset(
    {"host", "port", "sender", "username", "password_file", "password_env", "starttls", "verify", "per_address",
     "per_asker"}
)  # fmt: skip


def _port(_instance: object, attribute: object, value: int) -> None:
    _check_port(getattr(attribute, "name", "port"), value)


def _check_port(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _PORTS:
        raise ConfigurationError(f"{name} = {quoted(value)} is not usable: a port is a whole number from 1 to 65535")


def _host(value: object, what: str = "host =") -> str:
    return _read(partial(valid_host, port="pb_port ="), value, what)


def _mail_host(value: object, what: str = "mail: host =") -> str:
    return _read(partial(valid_host, port="port ="), value, what)


def _bind(value: object, what: str = "bind =") -> str:
    return _read(valid_bind, value, what)


def _public_url(value: object, what: str = "public_url =") -> str:
    return _read(valid_url, value, what)


def _transfer_url(value: object, what: str = "transfer_url =") -> str:
    return _read(valid_url, value, what)


def _sender(value: object, what: str = "mail: sender =") -> str:
    try:
        return valid_address(value if isinstance(value, str) else "")
    except UsageError as error:
        raise ConfigurationError(
            f"{what} {quoted(value)} is not usable: it is an address such as farm@example.org"
        ) from error


def _read(read: Callable[[object, str], str], value: object, what: str) -> str:
    """Return a host, an address or a URL in its one form. Raises ConfigurationError that begins with ``what``."""
    try:
        return read(value, what)
    except UsageError as error:
        raise ConfigurationError(str(error)) from error


_PLACES: Mapping[str, Callable[[object, str], str]] = {
    "host": _host,
    "bind": _bind,
    "public_url": _public_url,
    "transfer_url": _transfer_url,
    "mail.host": _mail_host,
    "mail.sender": _sender,
}
"""How the settings are read that name machines, wherever they come from."""


def _lease(_instance: object, _attribute: object, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _LEASES:
        raise ConfigurationError(
            f"lease = {quoted(value)} is not usable: it is a whole number of seconds from 2 to 3600"
        )


def _names_kept(_instance: object, _attribute: object, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _DAYS:
        raise ConfigurationError(
            f"names_kept = {quoted(value)} is not usable: it is a whole number of days from 1 to 3650"
        )


@frozen
class MailSettings:
    """How mail is sent: by SMTP, from ``sender``, logging in if there is a ``username``.

    ``starttls`` is ``never``, ``opportunistic`` or ``required``; with ``verify`` the server's
    certificate must hold. ``per_address`` is how many mails an hour one address gets, ``per_asker`` how many the
    requests of one network address cause: at once, and spread over the hour after that. What is more is put together.
    """

    host: str = field(converter=_mail_host)
    port: int = field(validator=_port)
    sender: str = field(converter=_sender)
    username: str = ""
    password: str = field(default="", repr=False)
    starttls: str = "opportunistic"
    verify: bool = True
    per_address: int = 20
    per_asker: int = 200

    def __attrs_post_init__(self) -> None:
        for name, value in (("per_address", self.per_address), ("per_asker", self.per_asker)):
            if isinstance(value, bool) or not isinstance(value, int) or value not in _MAILS_AN_HOUR:
                right = "a whole number of mails an hour from 1 to 1000000"
                raise ConfigurationError(f"mail: {name} = {quoted(value)} is not usable: it is {right}")
        if self.starttls not in STARTTLS:
            raise ConfigurationError(f"mail: starttls = {quoted(self.starttls)} is not one of {', '.join(STARTTLS)}")
        if not isinstance(self.username, str) or not self.username.isprintable():
            raise ConfigurationError(f"mail: username = {quoted(self.username)} is not a line of text")
        if not isinstance(self.verify, bool):
            raise ConfigurationError(f"mail: verify = {quoted(self.verify)} is not True or False")


@frozen
class Settings:
    """One deployment. ``path`` is the file it was read from.

    ``host`` is where build servers and requesters find the metaserver, ``bind`` the address it listens on.
    ``state_dir`` is the metaserver's, ``build_dir`` the build server's; neither need exist yet. ``lease`` is for how
    many seconds a build is believed to go on after its build server was last heard of, ``names_kept`` for how many days
    the name of a build server is remembered that never built anything.
    """

    path: Path
    host: str = field(converter=_host)
    bind: str = field(converter=_bind)
    pb_port: int = field(validator=_port)
    transfer_port: int = field(validator=_port)
    web_port: int = field(validator=_port)
    public_url: str = field(converter=_public_url)
    transfer_url: str = field(converter=_transfer_url)
    state_dir: Path
    build_dir: Path
    mail: MailSettings | None
    projects: tuple[Project, ...]
    lease: int = field(default=60, validator=_lease)
    names_kept: int = field(default=7, validator=_names_kept)

    def __attrs_post_init__(self) -> None:
        ports: dict[int, str] = {}
        for name in ("pb_port", "transfer_port", "web_port"):
            other = ports.setdefault(getattr(self, name), name)
            if other != name:
                raise ConfigurationError(f"{other} and {name} are both {getattr(self, name)}: each needs its own port")
        names: set[str] = set()
        for project in self.projects:
            if project.name in names:
                raise ConfigurationError(f"projects: two are named {project.name!r}")
            names.add(project.name)

    def project(self, name: str) -> Project:
        """Return the project of that name. Raises UnknownProject, which lists those that there are."""
        for project in self.projects:
            if project.name == name:
                return project
        known = ", ".join(project.name for project in self.projects) or "none"
        raise UnknownProject(f"unknown project {name[:80]!r}; there is {known}")


# --- finding and reading --------------------------------------------------------------------------------


def load_settings(path: Path | None = None, *, secrets: bool = True) -> Settings:
    """Read the configuration at ``path``, or where ``find_config`` finds it.

    With ``secrets=False`` passwords are left empty and their files untouched: for programs that send no mail
    and whose users may not read them. Raises ConfigurationError, EmptySecret.
    """
    found, execution = find_config(path), Execution()
    try:
        return _settings(found, execution.namespace(found), secrets=secrets)
    except ConfigurationError as error:
        raise execution.located(found, error) from error


# --- from names to Settings -----------------------------------------------------------------------------


def _settings(path: Path, values: Mapping[str, object], *, secrets: bool) -> Settings:
    given = _named(values, _SETTINGS, "setting")
    from_environment = _overrides()
    mail = _mail(path, given.pop("mail", None), from_environment, secrets=secrets)
    given |= {name: value for name, value in from_environment.items() if not name.startswith("mail.")}
    host = _host(given.get("host", "127.0.0.1"))
    web_port, transfer_port = given.get("web_port", 8080), given.get("transfer_port", 23433)
    for name, value in (("web_port", web_port), ("transfer_port", transfer_port)):
        _check_port(name, value)  # before they are part of a URL, which would be blamed
    return Settings(
        path=path,
        host=host,
        bind=given.get("bind", _default_bind(host)),
        pb_port=given.get("pb_port", 23432),  # type: ignore[arg-type] # validated by Settings
        transfer_port=transfer_port,  # type: ignore[arg-type] # validated by Settings
        web_port=web_port,  # type: ignore[arg-type] # validated by Settings
        public_url=given.get("public_url", f"http://{in_url(host)}:{web_port}"),
        transfer_url=given.get("transfer_url", f"http://{in_url(host)}:{transfer_port}"),
        state_dir=_directory(path, "state_dir", given.get("state_dir", "var/metaserver")),
        build_dir=_directory(path, "build_dir", given.get("build_dir", "var/buildserver")),
        mail=mail,
        projects=projects_of(given.get("projects", [])),
        lease=given.get("lease", 60),  # type: ignore[arg-type] # validated by Settings
        names_kept=given.get("names_kept", 7),  # type: ignore[arg-type] # validated by Settings
    )


def _named(values: Mapping[str, object], known: frozenset[str], what: str) -> dict[str, object]:
    """Return the settings among ``values``; functions, classes, modules and ``_names`` are helpers."""
    found = {}
    for name, value in values.items():
        if name in known:
            found[name] = value
        elif not name.startswith("_") and not isinstance(value, ModuleType) and not callable(value):
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigurationError(f"unknown {what} {name!r}: {hint} (a helper's name starts with _)")
    return found


def _overrides() -> dict[str, object]:
    found: dict[str, object] = {}
    for variable, name in ENVIRONMENT.items():
        said = os.environ.get(variable, "")
        if not said:
            continue
        if name.endswith("port"):
            if not _is_within(said, _PORTS):
                raise ConfigurationError(
                    f"${variable} = {quoted(said)} is not usable: a port is a number from 1 to 65535"
                )
            found[name] = int(said)
        elif name == "lease":
            if not _is_within(said, _LEASES):
                raise ConfigurationError(
                    f"${variable} = {quoted(said)} is not usable: a lease is from 2 to 3600 seconds"
                )
            found[name] = int(said)
        elif name in _PLACES:
            found[name] = _PLACES[name](said, f"${variable} =")
        else:
            found[name] = said
    return found


def _is_within(said: str, numbers: range) -> bool:
    """Say whether a text is one of these numbers, in digits; not one of so many zeros that it is none."""
    return said.isascii() and said.isdigit() and len(said) <= len(str(numbers[-1])) and int(said) in numbers


def _mail(path: Path, value: object, overrides: Mapping[str, object], *, secrets: bool) -> MailSettings | None:
    over = {name.removeprefix("mail."): v for name, v in overrides.items() if name.startswith("mail.")}
    if value is None and "host" not in over:
        return None
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError(
            f"mail = {quoted(value)} is not usable: it is None or a dictionary with host, port and sender"
        )
    said: dict[str, object] = {} if value is None else dict(value)
    if "password" in said:
        raise ConfigurationError(
            "mail: a password does not stand in the configuration: use password_file or password_env"
        )
    for name in said:
        if name not in _MAIL:
            near = difflib.get_close_matches(name, sorted(_MAIL), n=1) if isinstance(name, str) else []
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(_MAIL))}"
            raise ConfigurationError(f"mail: unknown setting {quoted(name)}: {hint}")
    said |= over
    if value is None:
        said.setdefault("sender", "buildtool@localhost")
    for name in ("host", "sender"):
        if name not in said:
            raise ConfigurationError(f"mail: {name} is missing")
    username = said.get("username", "")
    password = _password(path, said, secrets=secrets)
    if bool(username) != (password is not None):
        raise ConfigurationError(
            "mail: username goes with password_file or password_env, and neither without the other"
        )
    return MailSettings(
        host=said["host"],
        port=said.get("port", 587 if username else 25),  # type: ignore[arg-type]
        sender=said["sender"],
        username=username,  # type: ignore[arg-type]
        password=password or "",
        # A password is never sent in the clear unless the operator says so.
        starttls=said.get("starttls", "required" if username else "opportunistic"),  # type: ignore[arg-type]
        verify=said.get("verify", True),  # type: ignore[arg-type]
        per_address=said.get("per_address", 20),  # type: ignore[arg-type]
        per_asker=said.get("per_asker", 200),  # type: ignore[arg-type]
    )


def _password(path: Path, said: Mapping[str, object], *, secrets: bool) -> str | None:
    """Return the password, "" when it is not to be read now, or None when none is configured."""
    file, variable = said.get("password_file"), said.get("password_env")
    if file is None and variable is None:
        return None
    if file is not None and variable is not None:
        raise ConfigurationError("mail: password_file and password_env are both set: use one")
    if not secrets:
        return ""
    if variable is not None:
        if not os.environ.get(str(variable), ""):
            raise EmptySecret(f"mail: the secret in the environment variable {variable} is missing or empty")
        return os.environ[str(variable)]
    return _secret(_directory(path, "mail: password_file", file))


def _secret(where: Path) -> str:
    """Return the one line in a file of a secret. Raises EmptySecret."""
    try:
        if not stat.S_ISREG(where.stat().st_mode):  # a device or a pipe might never end
            raise EmptySecret(f"mail: the secret file {where} cannot be read: it is no file")
        with where.open("rb") as stream:
            content = stream.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise EmptySecret(f"mail: the secret file {where} cannot be read: {error.strerror or error}") from error
    try:
        secret = content.decode().strip("\r\n")
    except UnicodeDecodeError as error:
        raise EmptySecret(f"mail: the secret file {where} does not hold text") from error
    if not secret.strip():
        raise EmptySecret(f"mail: the secret file {where} is empty")
    if len(content) > _SECRET_LIMIT or "\n" in secret:
        raise EmptySecret(f"mail: the secret file {where} holds more than one line of at most {_SECRET_LIMIT} bytes")
    return secret


def _directory(path: Path, name: str, value: object) -> Path:
    """Return ``value`` as an absolute path; a relative one lies beside the configuration file."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value) or "\0" in os.fspath(value):
        raise ConfigurationError(f"{name} = {quoted(value)} is not usable: it is a path")
    return path.parent / at_home(Path(value), name)


def _default_bind(host: str) -> str:
    """Listen where ``host`` says when it is an address; on a name, only locally until ``bind`` says more."""
    return host if is_address(host) else "127.0.0.1"


# --- saying what was understood -------------------------------------------------------------------------


def check_projects(settings: Settings, *, thorough: bool = False, within: Within = unbounded) -> None:
    """Try every recipe and source mapping: once, or with what ``--check-config`` tries. Raises ConfigurationError.

    ``within`` stands around each question, see ``recipecheck``.
    """
    need_projects(settings)
    check_recipes(settings.projects, thorough=thorough, within=within)


def need_projects(settings: Settings) -> None:
    """Raise ConfigurationError when there are no projects, which whoever serves them cannot do without."""
    if not settings.projects:
        raise ConfigurationError(f"{settings.path}: projects is empty, so there is nothing to build")


def describe(settings: Settings) -> list[str]:
    """Return, line by line, what was understood. No secret is in it."""
    lines = [
        f"configuration   {settings.path}",
        f"metaserver      {settings.host}, listening on {settings.bind}",
        f"control port    {settings.pb_port}",
        f"transfer port   {settings.transfer_port}   {settings.transfer_url}",
        f"web port        {settings.web_port}   {settings.public_url}",
        f"state           {settings.state_dir}",
        f"builds          {settings.build_dir}",
        f"lease           {settings.lease} s",
        f"mail            {_mail_words(settings.mail)}",
    ]
    for project in settings.projects:
        lines.append(f"project         {project.name}, recipe {project.recipe.version}" + _described(project))
        lines += [
            f"  {option.flag:<18} {option.accepts()}" + _default_words(option) for option in project.options.compile
        ]
        if project.options.system:
            lines.append(f"  platform           {', '.join(item.name for item in project.options.system)}")
        if project.recipe.machine:
            lines.append(f"  needs              {shown(canonical(project.recipe.machine))}")
    if not settings.projects:
        lines.append("project         none: nothing can be built yet")
    return lines


def _described(project: Project) -> str:
    return f": {project.description}" if project.description else ""


def _default_words(option: Option) -> str:
    return "" if option.default is None else f" (default {option.format(option.default) or 'empty'})"


def _mail_words(mail: MailSettings | None) -> str:
    if mail is None:
        return "none: nobody is mailed; what would be sent is kept"
    login = f", logging in as {mail.username}" if mail.username else ""
    return f"{mail.sender} by {at_port(mail.host, mail.port)}, TLS {mail.starttls}{login}"
