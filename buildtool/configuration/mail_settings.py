"""How mail is sent: reads the setting ``mail``, and the password, which stands in a file or in the environment only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from buildtool.configuration.places import read_directory, read_mail_host, read_sender, valid_port
from buildtool.configuration.secret_file import read_secret
from buildtool.errors import ConfigurationError, EmptySecret, UsageError
from buildtool.model.addresses import valid_address
from buildtool.model.farm.return_paths import LONGEST, PLACE
from buildtool.model.text import near_word, quoted

STARTTLS = ("never", "opportunistic", "required")

IMPLICIT_TLS_PORT = 465
"""Where a mail server begins with TLS, unless the settings say otherwise (RFC 8314)."""

PASSWORDS = ("password", "password_file", "password_env")
"""The ways to give the password, of which the configuration has the last two only."""

_MAILS_AN_HOUR = range(1, 1_000_001)
_MAIL = frozenset(
    {"host", "port", "sender", "username", "password_file", "password_env", "starttls", "verify", "per_address",
     "per_asker", "implicit_tls", "certificate_file", "key_file", "templates", "bounces"}
)  # fmt: skip


@frozen
class MailSettings:
    """The settings for mail: by SMTP, from ``sender``, logging in if there is a ``username``.

    ``starttls`` is ``never``, ``opportunistic`` or ``required``; with ``verify`` the server's certificate must hold.
    With ``implicit_tls`` the connection begins with TLS, and STARTTLS is not spoken. ``certificate`` is a file with our
    own certificate, for servers that ask for one, and ``key`` the file of its key, which may be the same.
    ``templates`` is the directory of the deployment's own templates, ``bounces`` the address to which a mail comes back
    that cannot be delivered, with ``PLACE`` in it.
    ``per_address`` is how many mails an hour one address gets, ``per_asker`` how many the requests of one network
    address cause: at once, and spread over the hour after that. What is more is put together.
    """

    host: str = field(converter=read_mail_host)
    port: int = field(validator=valid_port)
    sender: str = field(converter=read_sender)
    username: str = ""
    password: str = field(default="", repr=False)
    starttls: str = "opportunistic"
    verify: bool = True
    per_address: int = 20
    per_asker: int = 200
    implicit_tls: bool = False
    certificate: Path | None = None
    key: Path | None = None
    templates: Path | None = None
    bounces: str = ""

    @property
    def speaks_tls(self) -> bool:
        """Whether TLS is spoken with a server that has it."""
        return self.implicit_tls or self.starttls != "never"

    @property
    def needs_tls(self) -> bool:
        """Whether nothing is sent in the clear: a password never is, unless ``starttls`` is ``never``."""
        return (
            self.implicit_tls
            or self.starttls == "required"
            or (self.starttls == "opportunistic" and bool(self.username))
        )

    def __attrs_post_init__(self) -> None:
        for name, value in (("per_address", self.per_address), ("per_asker", self.per_asker)):
            if isinstance(value, bool) or not isinstance(value, int) or value not in _MAILS_AN_HOUR:
                right = "a whole number of mails an hour from 1 to 1000000"
                raise ConfigurationError(f"mail: {name} = {quoted(value)} is not usable: it is {right}")
        if self.starttls not in STARTTLS:
            raise ConfigurationError(f"mail: starttls = {quoted(self.starttls)} is not one of {', '.join(STARTTLS)}")
        if not isinstance(self.username, str) or not self.username.isprintable():
            raise ConfigurationError(f"mail: username = {quoted(self.username)} is not a line of text")
        for name, said in (("verify", self.verify), ("implicit_tls", self.implicit_tls)):
            if not isinstance(said, bool):
                raise ConfigurationError(f"mail: {name} = {quoted(said)} is not True or False")
        if self.bounces and not _is_return_path(self.bounces):
            right = f"an address with {PLACE} before the @, such as farm-bounces+{PLACE}@example.org"
            raise ConfigurationError(f"mail: bounces = {quoted(self.bounces)} is not usable: it is {right}")
        if self.certificate is not None and not self.speaks_tls:
            raise ConfigurationError("mail: certificate_file is of no use without TLS, and starttls is never")


def read_mail(path: Path, value: object, overrides: Mapping[str, object], *, secrets: bool) -> MailSettings | None:
    """Return how mail is sent by the setting ``value`` and the ``overrides`` of what was given, or None.

    Without ``secrets`` the password is left empty and its file untouched. Raises ConfigurationError, EmptySecret.
    """
    over = {name.removeprefix("mail."): v for name, v in overrides.items() if name.startswith("mail.")}
    if value is None and "host" not in over:
        return None
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError(
            f"mail = {quoted(value)} is not usable: it is None or a dictionary with host, port and sender"
        )
    said = _named({} if value is None else value)
    if any(name in over for name in PASSWORDS):
        said = {name: one for name, one in said.items() if name not in PASSWORDS}
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
    port = said.get("port", 465 if said.get("implicit_tls") is True else 587 if username else 25)
    implicit = said.get("implicit_tls", port == IMPLICIT_TLS_PORT)
    if implicit is True and "starttls" in said:
        raise ConfigurationError(
            "mail: starttls is not spoken where TLS begins at once: leave it out, or set implicit_tls = False"
        )
    certificate, key = _own_files(path, said)
    return MailSettings(
        host=said["host"],
        port=port,  # type: ignore[arg-type]
        sender=said["sender"],
        username=username,  # type: ignore[arg-type]
        password=password or "",
        # A password is never sent in the clear unless the operator says so.
        starttls=said.get("starttls", "required" if username else "opportunistic"),  # type: ignore[arg-type]
        verify=said.get("verify", True),  # type: ignore[arg-type]
        per_address=said.get("per_address", 20),  # type: ignore[arg-type]
        per_asker=said.get("per_asker", 200),  # type: ignore[arg-type]
        implicit_tls=implicit,  # type: ignore[arg-type]
        certificate=certificate,
        key=key,
        bounces=said.get("bounces", ""),  # type: ignore[arg-type]
        templates=read_directory(path, "mail: templates", said["templates"]) if "templates" in said else None,
    )


def _is_return_path(text: object) -> bool:
    """Return whether a text is an address, whatever tag stands in its one place for it."""
    if not isinstance(text, str) or text.count(PLACE) != 1 or PLACE not in text.partition("@")[0]:
        return False
    try:
        return bool(valid_address(text.replace(PLACE, LONGEST)))
    except UsageError:
        return False


def _own_files(path: Path, said: Mapping[str, object]) -> tuple[Path | None, Path | None]:
    """Return the files of our own certificate and its key, which are one file where only one is named."""
    certificate, key = said.get("certificate_file"), said.get("key_file")
    if certificate is None and key is None:
        return None, None
    if certificate is None:
        raise ConfigurationError("mail: key_file goes with certificate_file, which is missing")
    found = read_directory(path, "mail: certificate_file", certificate)
    return found, found if key is None else read_directory(path, "mail: key_file", key)


def _named(value: Mapping[str, object]) -> dict[str, object]:
    """Return what a dictionary says, in which all names are settings."""
    said = dict(value)
    if "password" in said:
        raise ConfigurationError(
            "mail: a password does not stand in the configuration: use password_file or password_env"
        )
    for name in said:
        if name not in _MAIL:
            near = near_word(name, sorted(_MAIL)) if isinstance(name, str) else ""
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(_MAIL))}"
            raise ConfigurationError(f"mail: unknown setting {quoted(name)}: {hint}")
    return said


def _password(path: Path, said: Mapping[str, object], *, secrets: bool) -> str | None:
    """Return the password, "" when it is not to be read now, or None when none is configured."""
    file, variable = said.get("password_file"), said.get("password_env")
    if "password" in said:
        if file is not None or variable is not None:
            raise ConfigurationError("mail: password is there twice: use one of password, password_file, password_env")
        if not isinstance(said["password"], str):
            raise EmptySecret("mail: the password is not usable: it is a text")
        return said["password"] if secrets else ""
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
    return read_secret(read_directory(path, "mail: password_file", file), "mail")
