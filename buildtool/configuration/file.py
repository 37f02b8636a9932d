"""Executes a configuration file, in a fresh namespace, with one located line for whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from buildtool.configuration.finding import at_home
from buildtool.errors import BuildToolError, ConfigurationError
from buildtool.model.text import quoted
from buildtool.project.check import check_types
from buildtool.project.definition import Project
from buildtool.project.user_errors import words

SIZE_LIMIT = 1024 * 1024
"""Most bytes of a configuration file."""


@contextlib.contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Send what is printed meanwhile, here and by what is started, to stderr: stdout is for a program's answer."""
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as closing:
        before = os.dup(1)
        closing.callback(os.close, before)
        closing.callback(os.dup2, before, 1)
        os.dup2(2, 1)
        yield


class Execution:
    """A run of a configuration file and those that it loads. Every error is a ConfigurationError with its place."""

    def __init__(self) -> None:
        self._stack: list[Path] = []
        self._located: list[ConfigurationError] = []

    def namespace(self, path: Path) -> dict[str, object]:
        """Return the global names that the file at ``path`` ends up with. Raises ConfigurationError."""
        if path in self._stack:
            raise self._at(path, "loads itself")
        source = self._source(path)
        values: dict[str, object] = {
            "__file__": str(path),
            "__name__": "buildtool_configuration",
            "load": lambda relative: self._load(path, relative),
        }
        before = list(sys.path)
        self._stack.append(path)
        try:
            exec(compile(source, str(path), "exec", dont_inherit=True), values)  # noqa: S102 - the operator's program
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._explained(path, error) from error
        finally:
            self._stack.pop()
            sys.path[:] = before
        return values

    def _source(self, path: Path) -> bytes:
        """Return what is in the file; a device or a pipe might never end."""
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise self._at(path, "cannot be read: it is no file")
            with path.open("rb") as file:
                source = file.read(SIZE_LIMIT + 1)
        except OSError as error:
            raise self._at(path, f"cannot be read: {error.strerror or error}") from error
        if len(source) > SIZE_LIMIT:
            raise self._at(path, f"cannot be read: it has more than {SIZE_LIMIT} bytes")
        return source

    def located(self, path: Path | str, error: ConfigurationError) -> ConfigurationError:
        """Return ``error`` with the file, or else what gave a value, that it is about, unless it says so already."""
        if any(error is one for one in self._located):
            return error
        return self._at(path, str(error), type(error))

    def _load(self, beside: Path, relative: object) -> Project | tuple[Project, ...]:
        """Return what the project configuration at ``relative``, seen from the file ``beside``, describes."""
        if not isinstance(relative, str | os.PathLike):
            raise ConfigurationError(f"load() takes the path of a project's configuration, not {quoted(relative)}")
        path = beside.parent / at_home(Path(relative), "load()")
        if not path.exists():
            raise ConfigurationError(f"load(): there is no {path}")
        values = self.namespace(path)
        if ("project" in values) == ("projects" in values):
            raise self._at(path, "a project's configuration sets either project or projects")
        try:
            if "project" in values:
                return projects_of([values["project"]])[0]
            return projects_of(values["projects"])
        except ConfigurationError as error:
            raise self.located(path, error) from error

    def _at(
        self, where: Path | str, said: str, kind: type[ConfigurationError] = ConfigurationError
    ) -> ConfigurationError:
        error = kind(f"{where}: {' '.join(said.split())}")
        self._located.append(error)
        return error

    def _explained(self, path: Path, error: BaseException) -> ConfigurationError:
        """Return the one line for whatever went wrong while the file at ``path`` was executed."""
        if isinstance(error, ConfigurationError) and any(error is one for one in self._located):
            return error
        if isinstance(error, SyntaxError) and error.filename == str(path):
            return self._at(f"{path}:{error.lineno or 1}", error.msg)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        if isinstance(error, BuildToolError):
            said = str(error)
        elif isinstance(error, SystemExit):
            said = "the configuration ended the program"
        else:
            said = words(error)
        kind = type(error) if isinstance(error, ConfigurationError) else ConfigurationError
        return self._at(f"{path}:{lines[-1] if lines else 1}", said, kind)


def projects_of(value: object) -> tuple[Project, ...]:
    """Return the Projects in what a file calls ``projects``, flattened. Raises ConfigurationError."""
    if not isinstance(value, list | tuple):
        raise ConfigurationError("projects is a list such as [load('testproject/config.py')]")
    flat: list[object] = []
    for item in value:
        flat.extend(item if isinstance(item, list | tuple) else [item])
    found = []
    for item in flat:
        if not isinstance(item, Project):
            raise ConfigurationError(f"projects holds {quoted(item)}, which is not a Project")
        check_types(item)
        found.append(item)
    return tuple(found)
