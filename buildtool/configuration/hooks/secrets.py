"""Reads the setting ``hook_secrets``: the files with the secrets by which deliveries of forges are proved.

Tested by tests/configuration/hooks/test_secrets.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildtool.configuration.places import read_directory
from buildtool.configuration.secret_file import read_secret
from buildtool.errors import ConfigurationError, EmptySecret
from buildtool.model.hooks.secrets import HookSecrets
from buildtool.model.hooks.signing import SECRETS
from buildtool.model.properties import nearest
from buildtool.model.text import quoted
from buildtool.project.definition import Project

LEAST, MOST = 16, 200
"""Fewest characters of a secret, since whoever has one delivery can try shorter ones at leisure; and most."""


def read_hook_secrets(path: Path, value: object, *, secrets: bool) -> HookSecrets:
    """Return the secrets of the projects that take deliveries; ``path`` is the configuration's, where the files lie.

    Without ``secrets`` no file is read. Raises ConfigurationError, EmptySecret.
    """
    if not isinstance(value, dict):
        raise ConfigurationError(
            f'hook_secrets = {quoted(value)} is not usable: it is a dictionary such as {{"lua": "secrets/hook-lua"}}, '
            'or {"lua": ["secrets/hook-lua", "secrets/hook-lua-new"]} while one is changed'
        )
    files: dict[str, tuple[str, ...]] = {}
    for project, said in value.items():
        what = f"hook_secrets: {quoted(project)}"
        if not isinstance(project, str):
            raise ConfigurationError(f"{what} is no project's name")
        named = said if isinstance(said, list | tuple) else (said,)
        if not 1 <= len(named) <= SECRETS:
            raise ConfigurationError(
                f"{what} has {len(named)} files, which may be 1, or {SECRETS} while one is changed"
            )
        files[project] = tuple(str(read_directory(path, what, one)) for one in named)
    found = {project: tuple(_secret(Path(one)) for one in named) for project, named in files.items()} if secrets else {}
    return HookSecrets(files, found)


def check_hooked(secrets: HookSecrets, projects: Sequence[Project]) -> None:
    """Raise ConfigurationError where one takes deliveries that is no project."""
    known = [one.name for one in projects]
    for name in secrets.files:
        if name not in known:
            raise ConfigurationError(f"hook_secrets: {quoted(name)} is no project{nearest(name, known)}")


def _secret(where: Path) -> str:
    secret = read_secret(where, "hook_secrets")
    if not LEAST <= len(secret) <= MOST or not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise EmptySecret(
            f"hook_secrets: the secret file {where} holds no text of {LEAST} to {MOST} letters, digits and signs "
            "without blanks around it, which cannot be guessed: bin/metaserver new-secret makes one"
        )
    return secret
