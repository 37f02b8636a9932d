"""Projects and their options as the metaserver describes them: plain data, which is read as what a stranger sent.

Nothing of it is executed: of a regular expression only the words are shown, and the metaserver checks by it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import frozen

from buildtool.errors import BuildToolError, DecodeError, UnknownProject
from buildtool.model.options import Consequence, Kind, Option
from buildtool.model.platforms import Value
from buildtool.model.project_options import ProjectOptions, described_digest
from buildtool.model.properties import Comparison, Property, Role, nearest
from buildtool.model.text import one_line
from buildtool.model.trust.evidence import SandboxLevel, read_level
from buildtool.protocol.hello import DESCRIBED, ProjectsDescribed
from buildtool.protocol.json_text import TextBounds, parsed

T = TypeVar("T")

PROJECTS, OPTIONS, CHOICES = 1_000, 300, 1_000
"""Most projects, options of one project in a group, and values that one option lists."""

WORDS = 400
"""Most characters that are shown of a text."""

_BOUNDS = TextBounds(200_000, 12)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


@frozen
class DescribedProject:
    """A project as the metaserver describes it, with the digest of its options as a configuration has it.

    ``sandbox`` is the least level that it demands.
    """

    name: str
    options: ProjectOptions
    options_digest: str = ""
    description: str = ""
    sandbox: SandboxLevel = SandboxLevel.NONE


@frozen
class DescribedProjects:
    """All that the metaserver at ``where`` describes to a requester, and the digest of that."""

    projects: tuple[DescribedProject, ...]
    digest: str = ""
    where: str = ""

    def project(self, name: str) -> DescribedProject:
        """Return the project of that name. Raises UnknownProject, which lists those that there are."""
        for one in self.projects:
            if one.name == name:
                return one
        listed = nearest(name[:80], [one.name for one in self.projects])
        raise UnknownProject(f"unknown project {name[:80]!r}{listed or '; there is none'}")


def read_told(told: ProjectsDescribed, where: str) -> DescribedProjects:
    """Return what a metaserver told. Raises DecodeError where the digest is not that of the text, or the text none."""
    if hashlib.sha256(told.text.encode()).hexdigest() != told.digest:
        raise DecodeError(f"the metaserver at {where} describes its projects with a digest that does not fit")
    return read_described(told.text, told.digest, where)


def read_described(text: str, digest: str, where: str) -> DescribedProjects:
    """Return what a text describes. Raises DecodeError, in one line, for anything that is not that."""
    if len(text) > DESCRIBED:
        raise DecodeError(f"the descriptions of projects have more than {DESCRIBED} characters")
    try:
        found = parsed(text.encode(), _BOUNDS)
        projects = _each(_is(found, dict).get("projects"), PROJECTS, _project)
    except (DecodeError, BuildToolError, ValueError, TypeError, KeyError) as error:
        raise DecodeError(f"the descriptions of projects cannot be used: {one_line(str(error))[:200]}") from error
    return DescribedProjects(projects, digest, where)


def _is(data: object, kind: type[T]) -> T:
    if type(data) is not kind:
        raise DecodeError(f"a {kind.__name__} is expected, not {one_line(repr(data))[:60]}")
    return data


def _each(data: object, most: int, read: Callable[[Any], T]) -> tuple[T, ...]:
    listed = _is(data, list)
    if len(listed) > most:
        raise DecodeError(f"a list of {len(listed)}, where at most {most} are taken")
    return tuple(read(one) for one in listed)


def _words(data: object) -> str:
    return one_line(_is(data, str))[:WORDS]


def _project(data: object) -> DescribedProject:
    said = _is(data, dict)
    name, options = _is(said.get("name"), str), _is(said.get("options"), dict)
    if not _NAME.fullmatch(name):
        raise DecodeError("a project has a name that none has")
    found = ProjectOptions(
        system=_each(options.get("system"), OPTIONS, _property),
        compile=_each(options.get("compile"), OPTIONS, _option),
    )
    sandbox = read_level(said.get("sandbox", SandboxLevel.NONE.value))
    return DescribedProject(name, found, described_digest(options), _words(said.get("description", "")), sandbox)


def _property(data: object) -> Property:
    said = _is(data, dict)
    detector = _is(said.get("detector"), str)
    return Property(_option(said), Role(said.get("role")), Comparison(said.get("comparison")), detector)


def _option(data: object) -> Option:
    said = _is(data, dict)
    pattern, shape = _words(said.get("pattern", "")), _words(said.get("shape", ""))
    return Option(
        name=_is(said.get("name"), str),
        kind=Kind(said.get("kind")),
        help=_words(said.get("help", "")),
        default=_value(said.get("default")),
        choices=_each(said.get("choices", []), CHOICES, _choice),
        minimum=_bound(said, "minimum"),
        maximum=_bound(said, "maximum"),
        requires=_each(said.get("requires", []), OPTIONS, _pair),
        shape=shape or (f"text matching {pattern}" if pattern else ""),
        consequences=_each(said.get("consequences", []), OPTIONS, _consequence),
        path=_is(said.get("path", ""), str),
    )


def _choice(data: object) -> str:
    text = _is(data, str)
    if not text.isprintable() or len(text) > WORDS:
        raise DecodeError("a value that cannot be typed")
    return text


def _bound(said: Mapping[str, object], name: str) -> int | None:
    found = said.get(name)
    return None if found is None else _is(found, int)


def _value(data: object) -> Value | None:
    if isinstance(data, list):
        return _each(data, CHOICES, _choice)
    if data is None or isinstance(data, bool | int):
        return data
    return _choice(data)


def _pair(data: object) -> tuple[str, Value]:
    name, value = _is(data, list)
    found = _value(value)
    if found is None:
        raise DecodeError("an option requires nothing of another")
    return _is(name, str), found


def _consequence(data: object) -> Consequence:
    said = _is(data, dict)
    name, value = _pair([said.get("name"), said.get("value")])
    return Consequence(name, value, _value(said.get("at")), _is(said.get("suggested"), bool))
