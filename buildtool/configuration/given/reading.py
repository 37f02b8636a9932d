"""Reads the settings file and the environment of this process."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from buildtool.configuration.finding import from_here
from buildtool.configuration.given.gathering import Options, gather
from buildtool.configuration.given.names import FILE_VARIABLE
from buildtool.configuration.given.values import Given, SettingsText
from buildtool.errors import ConfigurationError

USUAL = Path("/etc/buildtool/settings.toml")
"""The settings file that is read where none is named, if it is there."""

SIZE_LIMIT = 256 * 1024
"""The largest settings file that is read, in bytes."""


def given_here(program: str = "", options: Options | None = None, named: Path | None = None) -> Given:
    """Return what is given to a program that has these options; ``named`` is the file that an option names.

    Raises ConfigurationError, EmptySecret.
    """
    optional = program == "startcompile"  # who only asks is no administrator, and the file may hold others' secrets
    text = settings_text(named, os.environ, optional=optional)
    found = gather(program, options or {}, os.environ, text)
    return evolve(found, declared=options or {}, named=named)


def given_again(before: Given) -> Given:
    """Return what is given now to the program to which that was given ``before``. Raises ConfigurationError."""
    return given_here(before.program, before.declared, before.named)


def settings_text(
    named: Path | None, environment: Mapping[str, str], *, optional: bool = False, usual: Path = USUAL
) -> SettingsText | None:
    """Return the text of the settings file: of the one that is named, or of the usual one, None where there is none.

    With ``optional`` the usual one is none where this account may not read it. Raises ConfigurationError.
    """
    said = environment.get(FILE_VARIABLE, "")
    by = "--settings-file" if named is not None else f"${FILE_VARIABLE}" if said else ""
    path = named if named is not None else Path(said) if said else usual
    path = from_here(path, by) if by else path
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            found = os.fstat(stream.fileno())
            data = stream.read(SIZE_LIMIT + 1) if stat.S_ISREG(found.st_mode) else b""
    except (FileNotFoundError, NotADirectoryError) as error:
        if not by:
            return None
        raise ConfigurationError(f"{path}: there is no such settings file (named by {by})") from error
    except PermissionError as error:
        if not by and optional:
            return None
        raise ConfigurationError(f"{path}: this account may not read it: chgrp it to a group of this one") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(found.st_mode) or len(data) > SIZE_LIMIT:
        raise ConfigurationError(f"{path}: is no file of at most {SIZE_LIMIT // 1024} KiB")
    if found.st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"{path}: everybody on this machine may change it: chmod o-w {path}")
    try:
        text = data.decode("utf-8-sig")  # editors of Windows begin their files so
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is no text in UTF-8") from error
    return SettingsText(path, text, bool(found.st_mode & stat.S_IROTH))
