"""Trying recipes without building anything: what ``check-config`` does with every value of every option."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import PurePath

from attrs import frozen

from buildtool.errors import BuildFailed, BuildToolError, ConfigurationError, MachineFault, RecipeMistake, UsageError
from buildtool.model.options import Kind, Option, written
from buildtool.model.platforms import Value
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import Property, Role
from buildtool.model.text import quoted
from buildtool.project.definition import Checked, Project
from buildtool.project.recipe import Plan, PlatformTools, Wanted
from buildtool.project.user_errors import ask, ask_url, at, defined

PLANS = 300
"""Most questions that one recipe is asked."""

SINGLE = 100
"""Most questions in which one option alone has another value than its default."""

VALUES = 12
"""Most values that are tried of one option."""

TEXTS = (
    "", "a", "1", "x1", "1.0", "1.2.3", "v1", "v1.0", "a-b", "a_b", "-a", "-O2", "O2", "a=b", "a/b", "a b", "A", "abc",
    "ab12", "2024-01-01",
)  # fmt: skip
"""What is tried of a text, as far as its pattern takes it."""

_NATIVE = {"CC": "gcc", "CXX": "g++", "AR": "ar", "RANLIB": "ranlib", "STRIP": "strip", "LD": "ld", "NM": "nm",
           "CC_VERSION": "gcc-12.2.0"}  # fmt: skip
_RUN = {"RUN": "qemu-ppc-static -L /usr/powerpc-linux-gnu"}
_X86: Mapping[str, Value] = {
    "os": "linux", "arch": "x86_64", "bits": 64, "byteorder": "little", "libc": "glibc", "libc_version": "2.36",
    "cpu_level": "x86-64-v1",
}  # fmt: skip
_PPC: Mapping[str, Value] = {
    "os": "linux", "arch": "ppc", "bits": 32, "byteorder": "big", "libc": "glibc", "libc_version": "2.36",
}  # fmt: skip
_MAC: Mapping[str, Value] = {
    "os": "darwin", "arch": "aarch64", "bits": 64, "byteorder": "little", "libc": "macos", "libc_version": "14.4",
}  # fmt: skip


@frozen
class TriedPlatform:
    """One way to make binaries of one platform, with the programs for that."""

    words: str
    kind: str
    platform: Mapping[str, Value]
    tools: Mapping[str, str]


_MUSL: Mapping[str, Value] = {**_X86, "libc": "musl", "libc_version": "1.2.3"}
_ARM: Mapping[str, Value] = {name: value for name, value in _X86.items() if name != "cpu_level"} | {"arch": "aarch64"}
_S390: Mapping[str, Value] = {**_PPC, "arch": "s390x", "bits": 64}


def _for(triple: str) -> dict[str, str]:
    """Return the programs of a cross toolchain."""
    return {role: name if role == "CC_VERSION" else f"{triple}-{name}" for role, name in _NATIVE.items()} | {
        "HOST": triple
    }


PLACES = (
    TriedPlatform("native for linux on x86_64", "native", _X86, _NATIVE),
    TriedPlatform("cross for linux on ppc, with an emulator", "cross", _PPC, _for("powerpc-linux-gnu") | _RUN),
    TriedPlatform("cross for linux on ppc, without an emulator", "cross", _PPC, _for("powerpc-linux-gnu")),
    TriedPlatform("emulated for linux on ppc", "emulated", _PPC, _NATIVE),
    TriedPlatform("native for darwin on aarch64", "native", _MAC, _NATIVE | {"CC": "clang", "CXX": "clang++"}),
    TriedPlatform("cross for linux on aarch64, without an emulator", "cross", _ARM, _for("aarch64-linux-gnu")),
    TriedPlatform("cross for linux on s390x, without an emulator", "cross", _S390, _for("s390x-linux-gnu")),
    TriedPlatform("native for linux with musl on x86_64", "native", _MUSL, _NATIVE),
    TriedPlatform("native where only CC is known", "native", _X86, {"CC": "cc"}),
)
"""Everything that a recipe has to do with, one of each kind."""

Within = Callable[[str], AbstractContextManager[None]]
"""Stands around each question: a bound in time, say. Its argument says who is asked, and where that is defined."""


def unbounded(_whom: str) -> AbstractContextManager[None]:
    """Return a context that bounds nothing."""
    return nullcontext()


def check_recipes(projects: Iterable[Project], *, thorough: bool = False, within: Within = unbounded) -> None:
    """Try every recipe and source mapping, as every start does. Raises ConfigurationError with the line of theirs.

    A recipe must answer the same question twice with the same plan: it is a function, and nothing else. When
    ``thorough`` every pair of option values is tried, with every kind of platform, up to ``PLANS``; checkers too.
    """
    for project in projects:
        for number, question in enumerate(questions(project)):
            if number >= (PLANS if thorough else 1):
                break
            _try_recipe(project, question, within)
        _try_mapping(project, within)
        if thorough:
            _try_checkers(project, within)


@frozen
class RecipeQuestion:
    """The input of a recipe in one question, and in words its circumstances."""

    wanted: Wanted
    words: str


def questions(project: Project) -> Iterator[RecipeQuestion]:
    """Yield questions for a project's recipe: the defaults everywhere, each other value, and then pairs of values.

    The place is tried like one more option: every value meets every kind of platform.
    """
    options = project.options
    factors: list[tuple[str, list[Value]]] = [(option.name, _values(option)) for option in options.compile]
    usual = {name: values[0] for name, values in factors}
    places = itertools.cycle(PLACES)
    for place in PLACES:
        yield _question(project, _completed(options, usual, {}), place)
    single = ((name, value) for name, values in factors for value in values[1:])
    for name, value in itertools.islice(single, SINGLE):
        yield _question(project, _completed(options, usual, {name: value}), next(places))
    for row in _pairs([len(values) for _, values in factors] + [len(PLACES)]):
        said = {name: values[at] for (name, values), at in zip(factors, row[:-1], strict=True)}
        yield _question(project, _completed(options, usual, said), PLACES[row[-1]])


def _pairs(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield rows of choices, one for each of the ``sizes``, until each two of them have met in some row."""
    spans = [range(size) for size in sizes]
    left = dict.fromkeys(
        ((one, i), (two, j))
        for one, two in itertools.combinations(range(len(sizes)), 2)
        for i, j in itertools.product(spans[one], spans[two])
    )
    while left:
        chosen: dict[int, int] = dict(next(iter(left)))
        for factor, span in enumerate(spans):
            if factor in chosen:
                continue
            others = list(chosen.items())
            chosen[factor] = max(
                span,
                key=lambda at, f=factor, o=others: sum(_pair((f, at), other) in left for other in o),  # type: ignore[misc]
            )
        for pair in itertools.combinations(sorted(chosen.items()), 2):
            left.pop(pair, None)
        yield [chosen[factor] for factor in range(len(sizes))]


def _pair(one: tuple[int, int], two: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    return (one, two) if one < two else (two, one)


def _completed(options: ProjectOptions, usual: Mapping[str, Value], said: Mapping[str, Value]) -> dict[str, Value]:
    """Return values for all options with those ``said``, as far as the project takes them together."""
    defaults = dict(options.defaults)
    # What is as it would be anyway may follow from something else.
    values = {name: value for name, value in {**usual, **said}.items() if value != defaults.get(name)}
    try:
        return dict(options.compile_values(values))
    except UsageError:
        return dict(usual)


def _values(option: Option) -> list[Value]:
    """Return values of an option to try, the default first."""
    tried = [*([] if option.default is None else [option.default]), *_samples(option)]
    found: list[Value] = []
    for one in tried:
        try:
            value = option.check(one)
        except UsageError:
            continue
        if not any(value == other and type(value) is type(other) for other in found):
            found.append(value)
    return found[:VALUES] or [""]


def _samples(option: Option) -> Sequence[Value]:
    """Return values of an option besides its default; not all of them need be right."""
    match option.kind:
        case Kind.CHOICE:
            return option.choices
        case Kind.BOOL:
            return False, True
        case Kind.INT:
            return *(one for one in (option.minimum, option.maximum) if one is not None), 0, 1, 2, 3
        case Kind.SET:
            return (), *((one,) for one in option.choices or ("a", "b")), option.choices or ("a", "b")
        case Kind.STRING:
            return TEXTS


def _question(project: Project, options: Mapping[str, Value], place: TriedPlatform) -> RecipeQuestion:
    platform = {name: value for item in project.options.system for name, value in _of_platform(item, place)}
    said = " ".join(f"{name}={written(value)}" for name, value in options.items())
    wanted = Wanted(
        options=dict(options),
        platform={**place.platform, **platform},
        kind=place.kind,
        tools=PlatformTools(place.tools),
        source=PurePath("/nowhere/source"),
        revision="0" * 40,
        cpus=2,
    )
    return RecipeQuestion(wanted, f"{place.words}; {said or 'no options'}")


def _of_platform(item: Property, place: TriedPlatform) -> Iterator[tuple[str, Value]]:
    if item.role is Role.ARTIFACT and item.name not in place.platform:
        yield item.name, _values(item.option)[0]


def _try_recipe(project: Project, question: RecipeQuestion, within: Within) -> None:
    whom, plan = f"project {project.name}: its recipe", project.recipe.plan
    answers: list[object] = []
    for _ in range(2):
        try:
            with within(f"{whom}{at(defined(plan))}"):
                answers.append(ask(whom, partial(plan, question.wanted)))
        except RecipeMistake as error:
            raise ConfigurationError(f"{error} ({question.words})") from error
        except (MachineFault, BuildFailed, MemoryError):
            return  # it says itself that there is nothing to be had, here or at all
    where = f"{at(defined(plan))} ({question.words})"
    if not isinstance(answers[0], Plan):
        raise ConfigurationError(f"{whom} answered {quoted(answers[0])}, not a Plan{where}")
    if answers[0] != answers[1]:
        raise ConfigurationError(f"{whom} answers the same question differently{where}")


def _try_mapping(project: Project, within: Within) -> None:
    whom = f"project {project.name}: its path_to_url"
    try:
        with within(f"{whom}{at(defined(project.path_to_url))}"):
            ask_url(whom, project.path_to_url, "")
    except BuildToolError as error:
        raise ConfigurationError(str(error)) from error


def _try_checkers(project: Project, within: Within) -> None:
    """Ask every client checker once; what this machine lets them down in is no fault of theirs."""
    options = {option.name: _values(option)[0] for option in project.options.compile}
    machine: dict[str, Value] = {"memory": 2**20, "disk": 2**20, "cpus": 8, "tools": ("cc",)}
    for checker in project.client_checkers:
        whom = f"project {project.name}: its checker {getattr(checker, '__name__', checker)}"
        checked = Checked(project.name, "0" * 40, options, dict(_X86), machine, 0)
        try:
            with within(f"{whom}{at(defined(checker))}"):
                said: object = ask(whom, partial(checker, checked))
        except RecipeMistake as error:
            if isinstance(error.__cause__, OSError):
                continue
            raise ConfigurationError(str(error)) from error
        except (MachineFault, BuildFailed, MemoryError):
            continue
        if said is not None and not isinstance(said, str):
            raise ConfigurationError(f"{whom} answered {quoted(said)}, neither None nor a reason{at(defined(checker))}")
