"""Reads the setting ``origin_logins``: the files with the logins of private origins.

Tested by tests/configuration/test_settings.py.
"""

from __future__ import annotations

from pathlib import Path

from buildtool.configuration.places import read_directory
from buildtool.configuration.secret_file import read_secret
from buildtool.errors import ConfigurationError, EmptySecret, UsageError
from buildtool.model.access.origin_logins import NO_LOGINS, OriginLogins, check_login, check_prefix
from buildtool.model.text import quoted

MOST = 100
"""Most logins."""


def read_origin_logins(path: Path, value: object, *, secrets: bool) -> OriginLogins:
    """Return the logins by what URLs begin with; ``path`` is the configuration's, beside which the files lie.

    Without ``secrets`` no file is read, and there are none. Raises ConfigurationError, EmptySecret.
    """
    if not isinstance(value, dict) or len(value) > MOST or not all(isinstance(one, str) for one in value):
        raise ConfigurationError(
            f"origin_logins = {quoted(value)} is not usable: it is a dictionary of at most {MOST} such as "
            '{"https://git.example.org/": "secrets/git-login"}'
        )
    found = []
    for prefix, file in value.items():
        what = f"origin_logins: {quoted(prefix)}"
        try:
            check_prefix(prefix)
        except UsageError as error:
            raise ConfigurationError(f"{what} is not usable: {error}") from error
        where = read_directory(path, what, file)
        if secrets:
            found.append((prefix, _login(where)))
    return OriginLogins(tuple(found)) if found else NO_LOGINS


def _login(where: Path) -> str:
    login = read_secret(where, "origin_logins")
    try:
        check_login(login)
    except UsageError as error:
        raise EmptySecret(f"origin_logins: the secret file {where} is not usable: {error}") from error
    return login
