"""The templates of mails: the farm's own, and those of a deployment that take their place.

A mail has a template for its text and one of the same name for its HTML. In the directory of a deployment one of these
names replaces the farm's own, which it may extend or include by its name behind ``buildtool/``.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jinja2
from attrs import frozen
from jinja2.sandbox import SandboxedEnvironment
from twisted.logger import Logger

from buildtool.errors import ConfigurationError
from buildtool.model.text import near_word, printable

_OWN = "buildtool"
_KINDS = (".txt", ".html")
LIMIT = 1024 * 1024
"""The most characters that one template may write."""


@frozen
class MailTemplates:
    """The templates of mails, those in ``directory`` first."""

    directory: Path | None = None

    _log = Logger()

    def write(self, name: str, words: Mapping[str, object], *, strict: bool = False) -> tuple[str, str]:
        """Return the text and the HTML of a mail of this kind.

        A template of the deployment that fails is logged, and the farm's own takes its place: people have their mail.
        With ``strict`` it raises ConfigurationError that says where it is wrong.
        """
        if self.directory is None:
            return _written(None, name, words)
        try:
            return _written(self.directory, name, words)
        except Exception as error:  # their words may go wrong in any way, in depth and size too
            said = _explained(error, self.directory)
            if strict:
                raise ConfigurationError(f"mail: templates: {said}") from error
            self._log.error("the mail goes out in the farm's own words: mail: templates: {said}", said=said)
            return _written(None, name, words)

    def own(self) -> list[str]:
        """Return the names of the deployment's templates, of which each stands for one of the farm's.

        Names that begin with ``_`` and are none of these are its own to include. Raises ConfigurationError.
        """
        if self.directory is None:
            return []
        try:
            there = sorted(path.name for path in self.directory.iterdir() if path.suffix in _KINDS)
        except OSError as error:
            why = error.strerror or error
            raise ConfigurationError(f"mail: templates = {self.directory} cannot be read: {why}") from error
        known = [name for name in _environment(None).list_templates() if "/" not in name]
        for name in there:
            if name not in known and not name.startswith("_"):
                near = near_word(name, known)
                hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
                raise ConfigurationError(f"mail: templates: no mail is made of {self.directory / name}: {hint}")
        return there


BUILT_IN = MailTemplates()
"""The farm's own templates alone."""


def _written(directory: Path | None, name: str, words: Mapping[str, object]) -> tuple[str, str]:
    environment = _environment(directory)
    return tuple(_bounded(environment.get_template(f"{name}{kind}"), words) for kind in _KINDS)  # type: ignore[return-value]


def _bounded(template: jinja2.Template, words: Mapping[str, object]) -> str:
    """Return what a template writes. Raises ValueError for more than LIMIT, soon after that is reached."""
    pieces, length = [], 0
    for piece in template.generate(words):
        pieces.append(piece)
        length += len(piece)
        if length > LIMIT:
            raise ValueError(f"{template.name} writes more than {LIMIT} characters")
    return "".join(pieces)


@cache
def _environment(directory: Path | None) -> jinja2.Environment:
    ours = jinja2.PackageLoader("buildtool.adapters.mail")
    theirs = [] if directory is None else [jinja2.FileSystemLoader(directory)]
    return SandboxedEnvironment(  # for its bound of range(): a slip of the pen shall not keep the farm from its work
        loader=jinja2.ChoiceLoader([*theirs, ours, jinja2.PrefixLoader({_OWN: ours})]),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _explained(error: BaseException, directory: Path) -> str:
    """Return where a template is wrong, and how, in one line."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return printable(f"{error.filename or error.name}:{error.lineno}: {error.message}")
    if isinstance(error, jinja2.TemplateNotFound):
        return printable(f"there is no template {error.name}")
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{one.filename}:{one.lineno}" for one in frames if one.filename.startswith(str(directory))]
    where = places[-1] if places else str(directory)
    return printable(f"{where}: {error or type(error).__name__}")
