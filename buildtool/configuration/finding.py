"""Finds the configuration file: what is named, else the checkout's own, never one of the current directory.

Tested by tests/configuration/test_settings.py.
"""

from __future__ import annotations

import os
from pathlib import Path

from buildtool.errors import ConfigurationError

CONFIG_VARIABLE = "BUILDTOOL_CONFIG"
"""The environment variable that names the configuration file when ``--config`` does not."""


def find_config(path: Path | None = None) -> Path:
    """Return the absolute path of the configuration file. Raises ConfigurationError when there is none."""
    said = os.environ.get(CONFIG_VARIABLE, "")
    if path is not None and not (said and path == Path(said)):
        return _existing(path, "--config")
    if said:
        return _existing(Path(said), f"${CONFIG_VARIABLE}")
    own = _own()
    if own is not None:
        return own
    raise ConfigurationError(f"no configuration: name a config.py with --config FILE or ${CONFIG_VARIABLE}")


def _existing(path: Path, by: str) -> Path:
    absolute = from_here(path, by)
    try:
        if absolute.is_dir():
            raise ConfigurationError(f"{absolute}: is a directory; {by} must name a configuration file")
        if not absolute.exists():
            raise ConfigurationError(f"{absolute}: there is no such configuration file (named by {by})")
    except OSError as error:  # the name comes last: it may be what is too long, and the line is cut at its end
        raise ConfigurationError(f"what {by} names cannot be read: {error.strerror}: {absolute}") from error
    return absolute


def from_here(path: Path, by: str) -> Path:
    """Return a path as one that begins at the root. Raises ConfigurationError that names ``by``, which said it."""
    try:
        # Not resolve(), which would follow links: what lies beside the link may be meant.
        return Path(os.path.abspath(at_home(path, by)))  # noqa: PTH100
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the current directory, beside which this file is ({by}), is not there any more: cd to another one"
        ) from error


def at_home(path: Path, by: str) -> Path:
    """Return a path with its ``~`` replaced. Raises ConfigurationError naming ``by`` where no home is known."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ConfigurationError(
            f"{by}: {path} begins with ~, but no home directory is known: set HOME, or say the whole path"
        ) from error


def is_named() -> bool:
    """Return whether there is a configuration although none was said: by the environment, or the checkout's own."""
    return bool(os.environ.get(CONFIG_VARIABLE, "")) or _own() is not None


def _own() -> Path | None:
    """Return the checkout's own configuration, None where there is none."""
    checkout = Path(__file__).resolve().parents[2]
    # A config.py beside an *installed* package is somebody else's: only a checkout has a setup.cfg there.
    own = checkout / "config.py"
    return own if (checkout / "setup.cfg").is_file() and own.is_file() else None
