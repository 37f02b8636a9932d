"""The form that asks for builds, made of the descriptions of options: what each field is, and what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from buildtool.model.options import Kind, Option, canonical_json, written
from buildtool.model.project_options import TOOL_OPTIONS, ProjectOptions
from buildtool.model.properties import ENUMERATED, Role
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.pages import ServerLine

from ...urls import Urls
from .. import words
from . import wish as w
from .would import WouldPart

PLATFORMS_SHOWN = 12
"""Most platforms that are offered to be chosen at once."""


@frozen
class Pick:
    """A value that can be chosen, in words, and whether it is."""

    value: str
    text: str
    chosen: bool


@frozen
class FormField:
    """A field: ``kind`` is ``pick`` (one of ``picks``), ``picks`` (some of them), ``line``, ``number`` or ``lines``.

    ``needs`` says in words what it needs and suggests of others, ``when`` is JSON for the script of the page: what it
    cannot do without. ``usual`` is its default, ``offers`` are values that others take.
    """

    name: str
    label: str
    kind: str
    value: str = ""
    usual: str = ""
    picks: tuple[Pick, ...] = ()
    offers: tuple[str, ...] = ()
    help: str = ""
    needs: str = ""
    when: str = ""
    problem: str = ""
    least: int | None = None
    most: int | None = None


@frozen
class AskPage:
    """The form that asks for builds of a project; ``would`` says what would come of it.

    ``own`` is the address that is told where none is said. ``may_ask`` and ``may_look`` say what who looks may do;
    ``mark`` and ``once`` go with what is sent. ``switch`` leads to the same form for several at once, or for one.
    ``note`` says that options are not the metaserver's word.
    """

    project: str
    projects: tuple[str, ...]
    sources: tuple[FormField, ...]
    options: tuple[FormField, ...]
    platform: tuple[FormField, ...]
    machine: tuple[FormField, ...]
    known: tuple[Pick, ...]
    several: bool
    switch: str
    force: bool
    native: bool
    nice: int
    supersede: bool
    sandbox: FormField
    would: WouldPart
    problem: str = ""
    note: str = ""
    may_ask: bool = False
    own: str = ""
    email: str = ""
    mark: str = ""
    once: str = ""
    sign_in: str = ""

    @property
    def machine_said(self) -> bool:
        """Whether something is said of the machine that builds, which is shown only then."""
        return any(
            one.value or any(pick.chosen and pick.value for pick in one.picks) for one in (*self.machine, self.sandbox)
        )


def ask_page(  # noqa: PLR0913 - each is of another source
    wish: w.Wish,
    options: ProjectOptions,
    projects: Collection[str],
    known: Sequence[Pick],
    would: WouldPart,
    urls: Urls,
    problems: Mapping[str, str],
    *,
    least: SandboxLevel = SandboxLevel.NONE,
) -> AskPage:
    """Return the form as it is filled in; ``problems`` say by field what is wrong.

    ``least`` is the level of a sandbox that the project demands.
    """

    def fields(described: Iterable[Option], empty: str = "any") -> tuple[FormField, ...]:
        return tuple(_field(one, wish, problems.get(one.name, ""), empty, turned) for one in described)

    turned = {name for one in options.compile for name, _ in one.requires}
    turned |= {other.name for one in options.compile for other in one.consequences}
    several = w.fields_of(evolve(wish, several=True), options)
    one = {name: said[:1] for name, said in wish.values.items()}
    single = w.fields_of(evolve(wish, values=one, platforms=wish.platforms[:1], several=False), options)
    return AskPage(
        project=wish.project,
        projects=tuple(projects),
        sources=fields(TOOL_OPTIONS),
        options=fields(options.compile, "choose one"),
        platform=fields(item.option for item in options.system if item.role is Role.ARTIFACT),
        machine=fields(item.option for item in options.system if item.role is Role.MACHINE),
        known=tuple(known),
        several=wish.several,
        switch=urls.ask(single if wish.several else several),
        force=wish.force,
        native=wish.native,
        nice=wish.nice,
        supersede=wish.supersede,
        sandbox=_sandbox(wish.sandbox, least),
        would=would,
        problem=problems.get("", "") or problems.get(w.PLATFORM, ""),
    )


def _sandbox(said: SandboxLevel, least: SandboxLevel) -> FormField:
    """Return the field for the least level of a sandbox, of those that are no less than what the project demands."""
    texts = {SandboxLevel.NONE: "any, or none", SandboxLevel.WEAK: "weak or strict", SandboxLevel.STRICT: "strict"}
    demanded = least is not SandboxLevel.NONE
    usual = Pick("", f"{texts[least]} (the project demands it)" if demanded else texts[least], said <= least)
    more = (Pick(level.value, text, level is said) for level, text in texts.items() if least < level)
    return FormField(w.SANDBOX, "sandbox", "pick", picks=(usual, *more), help="the least that it may be built in")


def _field(option: Option, wish: w.Wish, problem: str, empty: str, turned: Collection[str]) -> FormField:
    """Return the field of an option; ``empty`` is what it means that nothing is chosen.

    ``turned`` are options that others need or suggest to be otherwise: there the default can be said as well.
    """
    said, values = wish.values.get(option.name, ()), _values(option)
    usual = written(option.default) if option.default is not None else ""
    helps = [option.help] if option.help else []
    if not values:
        helps.append(option.accepts())
    kind, picks = "line", tuple[Pick, ...]()
    if values:
        kind = "picks" if wish.several else "pick"
        there = [*values, *(text for text in said if text not in values)]  # what is wrong is shown as it was said
        if kind == "pick" and usual and option.name not in turned and usual not in said:
            there.remove(usual)
        picks = tuple(
            Pick(text, f"{text} (default)" if wish.several and text == usual else text, text in said) for text in there
        )
        if kind == "pick":
            picks = (Pick("", f"{usual} (default)" if usual else empty, not said), *picks)
    elif wish.several:
        kind = "lines"
    elif option.kind is Kind.INT:
        kind = "number"
    return FormField(
        name=w.field_of(option.name),
        label=option.path or option.name.replace("_", " "),
        kind=kind,
        value="\n".join(said),
        usual=usual,
        picks=picks,
        offers=tuple(str(one) for one in ENUMERATED.get(option.name, ())),
        help="; ".join(helps),
        needs=w.needs_words(option),
        when=canonical_json([[w.field_of(name), written(value)] for name, value in option.requires]),
        problem=problem,
        least=option.minimum,
        most=option.maximum,
    )


def _values(option: Option) -> tuple[str, ...]:
    """Return the values to choose from, none where they are typed."""
    if option.kind is Kind.BOOL:
        return ("yes", "no")
    return option.choices if option.kind is Kind.CHOICE else ()


def known_platforms(lines: Iterable[ServerLine], wish: w.Wish) -> list[Pick]:
    """Return the platforms that connected build servers make binaries of, the most usual first."""
    native, other = Counter[tuple[tuple[str, str], ...]](), Counter[tuple[tuple[str, str], ...]]()
    for line in lines:
        if line.server.connected:
            for offer in line.server.capability.offers:
                named = tuple((name, written(value)) for name, value in offer.platform if name in ("arch", "os"))
                (native if offer.kind is OfferKind.NATIVE else other)[named] += bool(named)
    count = native + other
    shown = sorted(filter(None, {*count, *wish.platforms}), key=lambda one: (-native[one], -count[one], one))
    return [
        Pick(
            " ".join(f"{name}={value}" for name, value in one),
            f"{' '.join(value for _, value in reversed(one))} · {_machines(native[one], other[one])}",
            one in wish.platforms or all((text,) == wish.values.get(name) for name, text in one),
        )
        for one in shown[:PLATFORMS_SHOWN]
    ]


def _machines(native: int, other: int) -> str:
    if not (native or other):
        return "no machine now"
    kinds = [words.count(native, "machine")] if native else []
    return ", ".join(
        [*kinds, f"{other:,} by cross-compiling" if native else f"{words.count(other, 'machine')}, cross"]
        if other
        else kinds
    )
