"""What an integrator's ``config.py`` writes for what builds by itself: ``triggers=[on_push("main"), nightly(...)]``.

Tested by tests/project/test_triggers.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice, product
from typing import Any, TypedDict, Unpack

from attrs import evolve, frozen

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.rights import platform_name
from buildtool.model.addresses import valid_address
from buildtool.model.farm.weights import NICE_MOST
from buildtool.model.platforms import Value
from buildtool.model.project_options import ProjectOptions, tool_option
from buildtool.model.text import meant, quoted
from buildtool.model.triggers.schedule import Schedule, Unscheduled, read_daily, read_every
from buildtool.model.triggers.trigger import BRANCHES, TAGS, VARIANTS, Trigger, Variant, is_ref_pattern
from buildtool.project.zones import zone_named

__all__ = ["ProjectPoll", "checked_triggers", "every", "nightly", "on_poll", "on_push", "on_tag", "with_poll"]

POLL = "10m"
"""How often a trigger looks at its repository where neither it nor its project says."""

Poll = str | None
"""How often it is looked: a time such as 10m, None for only when a hook is delivered, "" for what the project says."""

NAME_LIMIT = 60
TRIGGERS = 50
"""Most triggers of a project."""

LISTED = 1_000
"""Most that any list of a trigger is read to: what is longer is refused, whatever it has in it."""

PATTERNS = 50
RECIPIENTS = 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._*/+-]*")

Options = Mapping[str, Value] | Iterable[Mapping[str, Value]] | None
Platforms = Iterable[str | Mapping[str, Value]] | None
Names = str | Iterable[str]


class Asking(TypedDict, total=False):
    """The words of a trigger for what it asks for.

    ``options`` is one set of compile options, by name, or several; ``platforms`` lists what may be asked for by
    ``--arch`` and others, by name, or as ``linux-ppc``; each is built with each set. ``to`` has the addresses that are
    mailed, ``source`` is what ``--source`` says. ``nice`` puts what is asked for back by so many rounds; without
    ``supersede`` older commits of a branch that wait go on doing so once there is a newer one. ``name`` is what the
    trigger is called, where what it is about does not do for a name.
    """

    options: Options
    platforms: Platforms
    to: Names
    source: str
    nice: int
    supersede: bool
    name: str


def on_push(branches: Names = "HEAD", *, poll: Poll = "", **asking: Unpack[Asking]) -> Trigger:
    """Return a trigger that asks for each new commit of branches. Raises ConfigurationError.

    ``branches`` are names, with ``*`` for any text; HEAD is the one that a repository is cloned with, and what a URL of
    Subversion has. What a branch is at the first look is not asked for. ``poll`` is how often the repository is looked
    at beside hooks, by default as ``on_poll`` says, or each 10 minutes; None for never: then what no hook tells of is
    found when the next does, or at ``bin/metaserver look``. ``asking`` is as for ``Asking``.
    """
    return _polled(_about("on_push", "push", branches, BRANCHES), poll, asking)


def on_tag(tags: Names = "*", *, poll: Poll = "", **asking: Unpack[Asking]) -> Trigger:
    """Return a trigger that asks for each new tag, and for one that was moved; the rest is as for ``on_push``."""
    return _polled(_about("on_tag", "tag", tags, TAGS), poll, {"supersede": False, **asking})


@frozen
class ProjectPoll:
    """The schedule of those triggers of a project that say none themselves."""

    schedule: Schedule


def on_poll(time: str | None) -> ProjectPoll:
    """Return how often all triggers of the project look for pushes and tags that say no ``poll`` of their own.

    It asks for nothing itself. None is for never: they look when a hook is delivered. Raises ConfigurationError.
    """
    return ProjectPoll(_poll(time, "on_poll:"))


def with_poll(said: Iterable[Trigger | ProjectPoll]) -> tuple[Trigger, ...]:
    """Return the triggers of a project, which look as often as ``on_poll`` among them says.

    Raises ConfigurationError for two that say so.
    """
    found = tuple(said)
    polls = [one for one in found if isinstance(one, ProjectPoll)]
    if len(polls) > 1:
        raise ConfigurationError("a project's triggers have two on_poll(...): one says it for all of the project")
    schedule = polls[0].schedule if polls else None
    return tuple(
        evolve(one, schedule=schedule) if schedule and isinstance(one, Trigger) and one.polled else one
        for one in found
        if not isinstance(one, ProjectPoll)
    )


def nightly(at: str, branches: Names = "HEAD", **asking: Unpack[Asking]) -> Trigger:
    """Return a trigger that asks for branches at a time of day, ``03:00 Europe/Berlin`` or ``Sat 03:00 Europe/Berlin``.

    A branch that is what it was the time before is not asked for again. The rest is as for ``on_push``.
    Raises ConfigurationError.
    """
    try:
        schedule = read_daily(at, zone_named)
    except UsageError as error:
        raise ConfigurationError(f"nightly: {error}") from error
    return _trigger(_about("nightly", "nightly", branches, BRANCHES), schedule, asking, past=True)


def every(time: str, branches: Names = "HEAD", **asking: Unpack[Asking]) -> Trigger:
    """Return a trigger that asks for branches every so often, such as ``6h``; the rest is as for ``nightly``."""
    return _trigger(_about("every", "every", branches, BRANCHES), _every(time, "every:"), asking, past=True)


def checked_triggers(project: str, triggers: object, options: ProjectOptions) -> None:
    """Raise ConfigurationError where a project's triggers are none, or ask for what it does not have."""
    if not isinstance(triggers, tuple) or not all(isinstance(one, Trigger) for one in triggers):
        raise ConfigurationError(f"project {project}: triggers = {quoted(triggers)} is not a list of on_push(...), ...")
    if len(triggers) > TRIGGERS:
        raise ConfigurationError(f"project {project} has {len(triggers)} triggers, which may be {TRIGGERS}")
    names = [one.name.lower() for one in triggers]  # as their turns in the order are named
    for twice in sorted({one.name for one in triggers if names.count(one.name.lower()) > 1})[:1]:
        raise ConfigurationError(f"project {project} has two triggers called {twice!r}: give one another name=")
    for one in triggers:
        for variant in one.variants:
            try:
                options.compile_values(variant.options)
                options.system_values(variant.platform)
            except UsageError as error:
                raise ConfigurationError(f"project {project}, trigger {one.name!r}: {error}") from error


@frozen
class _About:
    """What a trigger is about: the function that made it, the word for its kind, and names of refs below a prefix."""

    made_by: str
    kind: str
    names: tuple[str, ...]
    prefix: str


def _about(made_by: str, kind: str, names: Names, prefix: str) -> _About:
    return _About(made_by, kind, _listed(names, str, f"{made_by}:", "names"), prefix)


def _polled(about: _About, poll: Poll, asking: Asking) -> Trigger:
    """Return a trigger that looks as often as it says, or as its project does."""
    made = _trigger(about, _poll(poll or (POLL if poll == "" else None), f"{about.made_by}: poll ="), asking)
    return evolve(made, polled=poll == "")


def _poll(said: str | None, what: str) -> Schedule:
    return Unscheduled() if said is None else _every(said, what)


def _trigger(about: _About, schedule: Schedule, asking: Asking, *, past: bool = False) -> Trigger:
    known = Asking.__annotations__
    for word in sorted(asking.keys() - known.keys()):
        said = word if word.isprintable() else quoted(word)
        raise ConfigurationError(f"{about.made_by} has no {said} ={meant(word, known)}")
    name = _name(about, asking.get("name", ""))
    nice, source, supersede = asking.get("nice", 0), asking.get("source", ""), asking.get("supersede", True)
    if isinstance(nice, bool) or not isinstance(nice, int) or not 0 <= nice <= NICE_MOST:
        raise ConfigurationError(f"trigger {name!r}: nice = {quoted(nice)} is not a number from 0 to {NICE_MOST}")
    try:
        tool_option("source").check(source)
    except UsageError as error:
        raise ConfigurationError(f"trigger {name!r}: {error}") from error
    if not isinstance(supersede, bool):
        raise ConfigurationError(f"trigger {name!r}: supersede = {quoted(supersede)} is neither True nor False")
    variants = variants_of(f"trigger {name!r}", asking.get("options"), asking.get("platforms"))
    to = _addresses(name, asking.get("to", ()))
    return Trigger(name, _patterns(about), schedule, variants, to, source, nice, supersede, past)


def variants_of(what: str, options: Options, platforms: Platforms) -> tuple[Variant, ...]:
    """Return the builds that ``what`` says: each set of options on each platform. Raises ConfigurationError."""
    sets = _listed({} if options is None else options, Mapping, f"{what}: options =", "options by name")
    places = _listed([{}] if platforms is None else platforms, (str, Mapping), f"{what}: platforms =", "platforms")
    count = len(sets) * len(places)
    if not 1 <= count <= VARIANTS:
        raise ConfigurationError(f"{what} asks for {count} builds of a commit: it may be 1 to {VARIANTS}")
    made = [Variant(_values(one), _platform(two)) for one, two in product(sets, places)]
    return tuple(one for at, one in enumerate(made) if one not in made[:at])


def _values(said: Mapping[str, Any]) -> dict[str, Value]:
    """Return values by name, with words of a set in the order in which they come each time."""
    return {name: tuple(_ordered(one)) if isinstance(one, set | frozenset) else one for name, one in said.items()}


def _platform(said: str | Mapping[str, Value]) -> dict[str, Value]:
    if not isinstance(said, str):
        return _values(said)
    system, dash, arch = platform_name(said).rpartition("-")
    return {"os": system, "arch": arch} if dash else {"arch": arch}


def _name(about: _About, name: str) -> str:
    """Return a trigger's name: as it is said, or made of what it is about. Raises ConfigurationError."""
    made = " ".join((about.kind, *about.names))[:NAME_LIMIT].rstrip()
    found = name or made
    if not isinstance(found, str) or not _NAME.fullmatch(found) or len(found) > NAME_LIMIT or found.endswith(" "):
        raise ConfigurationError(
            f"{about.made_by}: {quoted(found)} is no name of a trigger, which has at most {NAME_LIMIT} letters, digits "
            "and ._*/+- in it: say name="
        )
    return found


def _patterns(about: _About) -> tuple[str, ...]:
    found = about.names
    if not 1 <= len(found) <= PATTERNS:
        raise ConfigurationError(f"{about.made_by} has {len(found)} names, which may be 1 to {PATTERNS}")
    full = [one if one == "HEAD" or one.startswith("refs/") else about.prefix + one for one in found]
    for one, ref in zip(found, full, strict=True):
        if not is_ref_pattern(one, ref):
            raise ConfigurationError(f"{about.made_by}: {quoted(one)} is no name of a ref, with * for any text")
        least = ref.partition("*")[0]
        if ref != "HEAD" and not any(least.startswith(of) or of.startswith(least) for of in (BRANCHES, TAGS)):
            raise ConfigurationError(
                f"{about.made_by}: {quoted(one)} is never found: refs/heads/ and refs/tags/ are looked at"
            )
    return tuple(full)


def _addresses(name: str, to: Names) -> tuple[str, ...]:
    found = _listed(to, str, f"trigger {name!r}: to =", "addresses")
    if len(found) > RECIPIENTS:
        raise ConfigurationError(f"trigger {name!r} mails {len(found)} addresses, which may be {RECIPIENTS}")
    try:
        return tuple(dict.fromkeys(map(valid_address, found)))
    except UsageError as error:
        raise ConfigurationError(f"trigger {name!r}: {error}") from error


def _every(text: str, what: str) -> Schedule:
    try:
        return read_every(text)
    except UsageError as error:
        raise ConfigurationError(f"{what} {error}") from error


def _listed(said: object, kinds: type | tuple[type, ...], what: str, words: str) -> tuple[Any, ...]:
    """Return one thing or several as a tuple. Raises ConfigurationError where there is one of another kind.

    A set's are in the order in which they come each time, since the name of a trigger is made of them.
    """
    several = isinstance(said, Iterable) and not isinstance(said, kinds)
    found = tuple(islice(_ordered(said), LISTED + 1)) if several else (said,)
    if len(found) > LISTED:
        raise ConfigurationError(f"{what} lists more than {LISTED:,} {words}")
    for one in found:
        if not isinstance(one, kinds):
            raise ConfigurationError(f"{what} {quoted(one)} is not usable: it lists {words}")
    return found


def _ordered(said: Any) -> Iterable[Any]:  # noqa: ANN401 - whatever a configuration lists
    return sorted(said, key=quoted) if isinstance(said, set | frozenset) else said
