"""What a form asks for, read by the descriptions of options: as questions to the metaserver, and as a command line.

A field may be said several times, or have several lines: then each combination is asked for. The metaserver checks all
of it once more.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from buildtool.errors import UsageError
from buildtool.model.farm.weights import read_nice
from buildtool.model.options import TEXT_LIMIT, Canonical, Kind, Option, differing, written
from buildtool.model.platforms import Value
from buildtool.model.project_options import TOOL_OPTIONS, ProjectOptions
from buildtool.model.text import quoted
from buildtool.model.trust.evidence import SandboxLevel, read_level
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.messages import AskExplain

PROJECT, PLATFORM, FORCE, NATIVE, SANDBOX, NICE = "project", "platform", "force", "native", "sandbox", "nice"
SUPERSEDE = "supersede"
"""Fields that no project's option can be called like, see ``project_options.RESERVED``."""

SEVERAL, LOOK, SEND, MARK, ONCE, EMAIL = "_several", "_look", "_send", "_mark", "_once", "email"
"""Fields of the form itself, and its two buttons; an option's name begins with a letter."""

_OF_FORM = frozenset(
    {PROJECT, PLATFORM, FORCE, NATIVE, SANDBOX, NICE, SUPERSEDE, SEVERAL, LOOK, SEND, MARK, ONCE, EMAIL, "part"}
)

PROGRAM = "bin/startcompile.py"


@frozen
class Wish:
    """A wish as a form says it: of each option the values as they were typed, and platforms as pairs of name and text.

    With ``several`` it is to be shown as a form that takes several values of everything. ``sandbox`` is the least level
    that it accepts, ``nice`` by how many rounds it stands back.
    """

    project: str
    values: Mapping[str, tuple[str, ...]] = field(factory=dict)
    platforms: tuple[tuple[tuple[str, str], ...], ...] = ()
    force: bool = False
    native: bool = False
    several: bool = False
    sandbox: SandboxLevel = SandboxLevel.NONE
    nice: int = 0
    supersede: bool = False

    def value(self, name: str) -> str:
        """Return the one value of an option, "" where none was said."""
        return next(iter(self.values.get(name, ())), "")


@frozen
class UnderstoodWish:
    """A wish as it is understood: each combination by itself; or what is wrong, by the field ("" for all together).

    ``words`` say of each combination what the others have otherwise.
    """

    asks: tuple[AskExplain, ...] = ()
    words: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(factory=dict)


def field_of(name: str) -> str:
    """Return what the field of an option is called: ``part`` is what the pages ask a part of themselves by."""
    return f"{name}." if name == "part" else name


def read_wish(project: str, options: ProjectOptions, pairs: Iterable[tuple[str, str]]) -> Wish:
    """Return what the fields of a form say. Raises UsageError for a field that there is not, or too much in one."""
    known = {field_of(option.name): option.name for option in options.all()}
    values, platforms, own = dict[str, list[str]](), list[tuple[tuple[str, str], ...]](), set[str]()
    sandbox, nice = SandboxLevel.NONE, 0
    for name, text in pairs:
        if name in known:
            said = values.setdefault(known[name], [])
            said += [line.strip() for line in text.splitlines() if line.strip()]
        elif name == PLATFORM and text:
            platforms.append(_platform(text, options))
        elif name == SANDBOX and text:
            sandbox = read_level(text)
        elif name == NICE and text:
            nice = read_nice(text)
        elif name in _OF_FORM:
            own.add(name if text else "")
        else:
            raise UsageError(f"{quoted(name, 40)} means nothing here: {project} has no such option")
    for name, said in values.items():
        if len(said) > TOGETHER or any(len(text) > 2 * TEXT_LIMIT for text in said):
            raise UsageError(
                f"{name} is said too often or too long: at most {TOGETHER} values can be asked for at once"
            )
    found = {name: tuple(dict.fromkeys(said)) for name, said in values.items() if said}
    many = len(platforms) > 1 or any(len(said) > 1 for said in found.values())
    chosen = tuple(dict.fromkeys(platforms))[: TOGETHER + 1]
    flags = FORCE in own, NATIVE in own, SEVERAL in own or many
    return Wish(project, found, chosen, *flags, sandbox, nice, SUPERSEDE in own)


def _platform(text: str, options: ProjectOptions) -> tuple[tuple[str, str], ...]:
    """Return the properties that a text such as ``arch=ppc os=linux`` names. Raises UsageError."""
    pairs = [word.partition("=")[::2] for word in text.split()[:TOGETHER]]
    for name, _ in pairs:
        if name not in options.artifact_names:
            raise UsageError(f"{quoted(text, 60)} is no platform: it is written as arch=ppc os=linux")
    return tuple(sorted(pairs))


def merged(wish: Wish) -> Wish:
    """Return a wish with the one platform that was chosen among the values of its options, as a form shows them."""
    if wish.several or len(wish.platforms) != 1:
        return wish
    chosen = {name: (text,) for name, text in wish.platforms[0]}
    return evolve(wish, values={**wish.values, **chosen}, platforms=())


def fields_of(wish: Wish, options: ProjectOptions) -> list[tuple[str, str]]:
    """Return the fields that say the same."""
    pairs = [(PROJECT, wish.project)]
    for name in (option.name for option in options.all()):
        pairs += [(field_of(name), text) for text in wish.values.get(name, ())]
    pairs += [(PLATFORM, " ".join(f"{name}={text}" for name, text in one)) for one in wish.platforms]
    pairs += [(SANDBOX, wish.sandbox.value)] if wish.sandbox is not SandboxLevel.NONE else []
    pairs += [(NICE, str(wish.nice))] if wish.nice else []
    own = {FORCE: wish.force, NATIVE: wish.native, SUPERSEDE: wish.supersede, SEVERAL: wish.several}
    return pairs + [(name, "yes") for name, said in own.items() if said]


def fields_of_build(
    project: str, source: str, revision: str, options: Canonical, platform: Canonical, described: ProjectOptions
) -> list[tuple[str, str]]:
    """Return the fields of a form that asks for what a build made, as far as there still are such options."""
    usual, known = dict(described.defaults), {option.name for option in described.all()}
    said = [(name, value) for name, value in options if name not in usual or usual[name] != value]
    pairs = [(name, written(value)) for name, value in (*platform, *said) if name in known]
    sources = [("source", source)] if source else []
    return [(PROJECT, project), ("revision", revision), *sources, *((field_of(name), text) for name, text in pairs)]


# --- what is asked for ------------------------------------------------------------------------------------------


def understood(wish: Wish, options: ProjectOptions) -> UnderstoodWish:
    """Return what is asked for with every combination of what was said, or what is wrong with it."""
    axes, problems = dict[str, list[Value]](), dict[str, str]()
    by_name = {option.name: option for option in options.all()}
    for name, said in wish.values.items():
        option = by_name[name]
        try:
            axes[name] = list(dict.fromkeys(option.parse(text) for text in said))
        except UsageError as error:
            problems[name] = str(error)
    platforms = list[dict[str, Value]]()
    for one in wish.platforms:
        try:
            platforms.append({name: by_name[name].parse(text) for name, text in one})
        except UsageError as error:
            problems[PLATFORM] = str(error)
    covered = {name for one in platforms for name in one}
    axes = {name: values for name, values in axes.items() if name not in covered}
    count = math.prod(map(len, axes.values())) * (len(platforms) or 1)
    if count > TOGETHER:
        problems[""] = f"at most {TOGETHER} builds can be asked for at once, and these are {count:,}"
    if problems:
        return UnderstoodWish(problems=problems)
    combined = [
        {**dict(zip(axes, combination, strict=True)), **platform}
        for platform in platforms or [{}]
        for combination in itertools.product(*axes.values())
    ]
    try:
        asks = tuple(_ask(wish, one, options) for one in combined)
    except UsageError as error:
        return UnderstoodWish(problems={"": str(error)})
    return UnderstoodWish(asks, tuple(differing(combined)))


def _ask(wish: Wish, values: Mapping[str, Value], options: ProjectOptions) -> AskExplain:
    """Return one combination as a question. Raises UsageError."""
    chosen = {option.name: values[option.name] for option in options.compile if option.name in values}
    options.compile_values(chosen)
    system = {item.name: values[item.name] for item in options.system if item.name in values}
    source, revision, revrange = (str(values.get(name, "")) for name in ("source", "revision", "revrange"))
    return AskExplain(
        wish.project, source, revision, revrange, chosen, system, local={}, force=wish.force, native=wish.native,
        sandbox=wish.sandbox, nice=wish.nice, supersede=wish.supersede,
    )  # fmt: skip


def follows(ask: AskExplain, options: ProjectOptions) -> list[str]:
    """Return in words what is so because of what is asked for, without being said. Raises UsageError."""
    words = []
    for one in options.followed(ask.compile):
        why = "suggests" if one.suggested else "needs"
        words.append(f"{one.name}={written(one.value)}, which {one.by}={written(one.at)} {why}")
    return words


# --- the equal command line -------------------------------------------------------------------------------------


@frozen
class EqualCommand:
    """The command lines that ask for the same, one for each platform that was chosen; ``note`` says what differs."""

    lines: tuple[str, ...]
    note: str


def command(wish: Wish, options: ProjectOptions, email: str) -> EqualCommand:
    """Return the command lines of a wish that was understood; ``email`` is who is told. Which sources comes first."""
    ordered = sorted(options.all(), key=lambda option: option not in TOOL_OPTIONS)
    by_name = {option.name: option for option in ordered}
    covered = {name for one in wish.platforms for name, _ in one}
    said = [
        (option, text) for name, option in by_name.items() if name not in covered for text in wish.values.get(name, ())
    ]
    flags = [_flag(option, text) for option, text in said]
    flags += ["--force"] if wish.force else []
    flags += ["--native"] if wish.native else []
    flags += ["--supersede"] if wish.supersede else []
    flags += [f"--sandbox={wish.sandbox.value}"] if wish.sandbox is not SandboxLevel.NONE else []
    flags += [f"--nice={wish.nice}"] if wish.nice else []
    lines = []
    for platform in wish.platforms or ((),):
        words = [PROGRAM, f"--project={wish.project}", *(_flag(by_name[name], text) for name, text in platform)]
        lines.append(shlex.join([*words, *flags, *([email] if email else [])]))
    system = {*wish.values, *covered}
    unsaid = [item.name for item in options.system if item.name in options.artifact_names and item.name not in system]
    note = "What is not said of the platform, startcompile.py takes from the machine that it runs on."
    return EqualCommand(tuple(lines), note if unsaid else "")


def _flag(option: Option, text: str) -> str:
    if option.kind is Kind.BOOL:
        return option.flag if option.parse(text) else f"--no-{option.flag[2:]}"
    return f"{option.flag}={text}"


def needs_words(option: Option) -> str:
    """Return in words what an option needs or suggests of others: ``needs gc=boehm; at 3 suggests jit=yes``."""
    said = [f"needs {name}={written(value)}" for name, value in option.requires]
    for one in option.consequences:
        at = f"at {written(one.at)} " if one.at is not None else ""
        said.append(f"{at}{'suggests' if one.suggested else 'needs'} {one.name}={written(one.value)}")
    return "; ".join(said)
