"""The one table of rights: which role may do which act, to all, to what is its own, or not at all.

Whatever comes in (a call of Perspective Broker, a route, the operator's socket) names the act that it is. What the
table does not say is refused. A configuration may tighten or loosen it, also for one project or platform only, see
``with_changes``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

from attrs import evolve, field, frozen

from buildtool.errors import Unauthorised, UsageError
from buildtool.model.options import Canonical
from buildtool.model.platforms import ALIASES, ARCHES, canonical_arch
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.servers import QuickEnum
from buildtool.model.text import near_word

E = TypeVar("E")

__all__ = ["RIGHTS", "Act", "Extent", "Rights", "Subject", "known_platform", "platform_name", "platform_names"]


class Act(QuickEnum):
    """A thing that can be done; the values are words that stand after "may not". A configuration uses ``word``."""

    JOIN = "join"
    RENEW = "renew its certificate"
    SUBMIT = "ask for builds"
    EXPLAIN = "ask what would be answered"
    FORCE = "have builds made anew"
    CANCEL = "cancel requests"
    CANCEL_SEVERAL = "cancel several requests at once"
    RAISE = "move requests forward"
    LOWER = "move requests back"
    SEE_REQUEST = "see requests"
    SEE_BUILD = "see builds"
    SEE_LOG = "see logs"
    SEE_ARTIFACT = "fetch artifacts"
    SEE_FARM = "see the farm"
    SEE_ACCESS = "see how machines are reached"
    PING = "ask whether the metaserver is well"
    CONFIRM = "confirm addresses"
    SEE_STATIC = "see what is the same for everybody"
    SERVE = "serve builds"
    PAUSE = "pause build servers"
    FORGET_SERVER = "forget build servers"
    ABORT = "abort builds"
    ABORT_SEVERAL = "abort several builds at once"
    REBUILD = "rebuild builds"
    FORGET_FAILURE = "forget failures"
    PURGE = "purge artifacts"
    DRAIN = "drain the farm"
    INVITE = "invite"
    REVOKE = "revoke keys"
    SEE_KEYS = "see who has a key"
    ROTATE = "move the farm to another authority"
    SIGN_IN = "sign in"
    HOLD_TOKENS = "hold tokens"
    SEE_AUDIT = "see what was done"
    NOTE_BOUNCES = "say which mails came back"

    @property
    def word(self) -> str:
        """The name of the act in a configuration."""
        return self.name.lower().replace("_", " ")


class Extent(enum.IntEnum):
    """The reach of a right."""

    NONE = 0
    OWN = 1
    ALL = 2


@frozen
class Subject:
    """The things that an act is about: whose they are (names and addresses), of which project and platform, if any.

    ``proven`` says that the caller has shown a token of them, so that they are theirs. ``platforms`` are all names of
    the platform (``platform_names``); None where the act is about none.
    """

    owners: frozenset[str] = frozenset()
    project: str = ""
    platforms: frozenset[str] | None = None
    proven: bool = False


NOTHING = Subject()

_LOOKING = dict.fromkeys(
    (Act.SEE_BUILD, Act.SEE_LOG, Act.SEE_ARTIFACT, Act.SEE_FARM, Act.SEE_STATIC, Act.PING, Act.CONFIRM, Act.SIGN_IN),
    Extent.ALL,
)

_Table = Mapping[PrincipalRole, Mapping[Act, Extent]]

_TABLE: _Table = {
    PrincipalRole.STRANGER: {},
    PrincipalRole.JOINING: {Act.JOIN: Extent.ALL},
    PrincipalRole.RENEWING: {Act.RENEW: Extent.OWN},
    PrincipalRole.VISITOR: _LOOKING,
    PrincipalRole.REQUESTER: {
        **_LOOKING,
        Act.SUBMIT: Extent.OWN,
        Act.EXPLAIN: Extent.ALL,
        Act.FORCE: Extent.ALL,
        Act.CANCEL: Extent.OWN,
        Act.CANCEL_SEVERAL: Extent.OWN,
        Act.LOWER: Extent.OWN,
        Act.SEE_REQUEST: Extent.OWN,
        Act.HOLD_TOKENS: Extent.OWN,
        # As the owner of build servers.
        Act.PAUSE: Extent.OWN,
        Act.REBUILD: Extent.OWN,
    },
    PrincipalRole.BUILD_SERVER: {Act.SERVE: Extent.OWN},
    PrincipalRole.OBSERVER: {
        **_LOOKING,
        Act.SEE_REQUEST: Extent.ALL,
        Act.EXPLAIN: Extent.ALL,
        Act.HOLD_TOKENS: Extent.OWN,
    },
    PrincipalRole.OPERATOR: dict.fromkeys(set(Act) - {Act.JOIN, Act.SERVE}, Extent.ALL),
    # What it asks for is what the configuration says.
    PrincipalRole.TRIGGER: {Act.SUBMIT: Extent.ALL, Act.CANCEL: Extent.OWN},
    # Pages ask for their visitors, with whose rights they are checked.
    PrincipalRole.PAGES: {},
}  # fmt: skip

_OF_PROJECTS = frozenset(
    {Act.SUBMIT, Act.EXPLAIN, Act.FORCE, Act.CANCEL, Act.CANCEL_SEVERAL, Act.RAISE, Act.LOWER, Act.SEE_REQUEST,
     Act.SEE_BUILD, Act.SEE_LOG, Act.SEE_ARTIFACT, Act.ABORT, Act.ABORT_SEVERAL, Act.REBUILD, Act.FORGET_FAILURE,
     Act.PURGE}
)  # fmt: skip
"""The acts that are about one project and platform, so that a configuration may say who may do them there."""

_HARMLESS = frozenset({Act.RENEW, Act.SERVE, Act.SEE_STATIC, Act.CONFIRM, Act.SEE_FARM, Act.PING, Act.SIGN_IN})
"""Acts of no one project that a key limited to some may do."""


@frozen
class Rule:
    """A change of the table for a project, a platform, or both."""

    role: PrincipalRole
    act: Act
    extent: Extent
    project: str = ""
    platform: str = ""

    def holds(self, role: PrincipalRole, act: Act, subject: Subject) -> bool:
        """Return whether it is about this."""
        named = not self.project or self.project == subject.project
        made = not self.platform or self.platform in (subject.platforms or ())
        return (self.role, self.act) == (role, act) and named and made


@frozen
class Rights:
    """A table of rights, and the rules that change it for projects and platforms."""

    table: _Table = field(default=_TABLE)
    rules: tuple[Rule, ...] = ()

    def extent(self, role: PrincipalRole, act: Act, subject: Subject = NOTHING) -> Extent:
        """Return how far a role may do an act: a rule for a project goes before one for a platform only."""
        found = [rule for rule in self.rules if rule.holds(role, act, subject)]
        if found:
            return max(found, key=lambda rule: (bool(rule.project), bool(rule.platform))).extent
        return self.table.get(role, {}).get(act, Extent.NONE)

    def most(self, role: PrincipalRole, act: Act) -> Extent:
        """Return how far a role may do an act somewhere: what it is about is not known yet."""
        rules = [rule.extent for rule in self.rules if (rule.role, rule.act) == (role, act)]
        return max((self.extent(role, act), *rules))

    def has_rules(self, role: PrincipalRole, act: Act) -> bool:
        """Return whether an act has rules of its own for some projects or platforms."""
        return any((rule.role, rule.act) == (role, act) for rule in self.rules)

    def check_role(self, by: Principal, act: Act) -> None:
        """Raise Unauthorised where a caller may not do an act to anything at all."""
        _check_token(by, act)
        if self.most(by.role, act) is Extent.NONE:
            raise Unauthorised(f"{_who(by)} may not {act.value}: {self._who_may(act)}{self._owners_may(act)}")

    def check(self, by: Principal, act: Act, subject: Subject = NOTHING) -> None:
        """Raise Unauthorised, in one line, where a caller may not do an act to its subject."""
        _check_token(by, act)
        extent, who = self.extent(by.role, act, subject), _who(by)
        limited = not by.limits.everywhere and act not in _OF_PROJECTS and act not in _HARMLESS
        if extent is Extent.NONE:
            others = f"{self._who_may(act, subject)}{self._owners_may(act, subject)}"
            raise Unauthorised(f"{who} may not {act.value}{_there(subject)}: {others}")
        if limited and extent is Extent.ALL and not _owned(by, subject):
            raise Unauthorised(f"{who} may not {act.value}: that key is limited to some projects or platforms")
        if extent is Extent.OWN and not _owned(by, subject):
            raise Unauthorised(f"{who} may {act.value} that are their own, and this is not: {self._who_may(act)}")
        if by.limits.projects and subject.project and subject.project not in by.limits.projects:
            allowed = ", ".join(by.limits.projects)
            raise Unauthorised(f"{who} may {act.value} of {allowed} only, not of {subject.project}")
        if by.limits.platforms and subject.platforms is not None and not subject.platforms & {*by.limits.platforms}:
            there = max(subject.platforms, key=len, default="one that is not known")
            raise Unauthorised(f"{who} may {act.value} for {', '.join(by.limits.platforms)} only, not for {there}")

    def allows(self, by: Principal, act: Act, subject: Subject = NOTHING) -> bool:
        """Return whether ``check`` would let a caller do an act."""
        try:
            self.check(by, act, subject)
        except Unauthorised:
            return False
        return True

    def with_changes(self, changes: Mapping[str, Mapping[str, str]], project: str = "") -> Rights:
        """Return the table with changes, by role and act: ``{"requester": {"force": "nothing"}}``.

        ``force on ppc`` is the act for that platform only.
        With a ``project`` all of it is about that one. Raises UsageError, which names what would be right.
        """
        table = {role: dict(acts) for role, acts in self.table.items()}
        rules = {evolve(rule, extent=Extent.NONE): rule for rule in self.rules}
        for role, act, platform, extent in _changes(changes):
            if not platform and not project:
                table[role][act] = extent
                continue
            if act not in _OF_PROJECTS:
                raise UsageError(f"{act.word!r} is about no project or platform: say it for the whole farm")
            rule = Rule(role, act, extent, project, platform)
            rules[evolve(rule, extent=Extent.NONE)] = rule
        return Rights(table, tuple(rules.values()))

    def act_named(self, word: str) -> Act:
        """Return the act that is called by a word. Raises UsageError, which names what is near."""
        return _found(_NAMED, word, "act")

    def lines(self) -> Iterator[str]:
        """Yield the table for people: each act, with who may do it, and the rules."""
        for act in _NAMED.values():
            may = [f"{role.value}{_HOW_FAR[self.extent(role, act)]}" for role in CHANGEABLE if self.extent(role, act)]
            yield f"{act.word:<18} {', '.join(may) or 'nobody'}"
        for rule in self.rules:
            where = (rule.project and f"of {rule.project}", rule.platform and f"on {rule.platform}")
            yield f"{rule.act.word:<18} {rule.role.value}: {_WRITTEN[rule.extent]}, {' '.join(filter(None, where))}"

    def _who_may(self, act: Act, subject: Subject = NOTHING) -> str:
        may = [role.value for role in self.table if role.value and self.extent(role, act, subject) is Extent.ALL]
        return f"whoever is {' or '.join(may)} may" if may else "nobody may"

    def _owners_may(self, act: Act, subject: Subject = NOTHING) -> str:
        own = [role.value for role in self.table if role.value and self.extent(role, act, subject) is Extent.OWN]
        return f", but for what is a {' or '.join(own)}'s own" if own else ""


CHANGEABLE: Collection[PrincipalRole] = (
    PrincipalRole.VISITOR, PrincipalRole.REQUESTER, PrincipalRole.OBSERVER, PrincipalRole.OPERATOR,
)  # fmt: skip
"""The roles whose rights a configuration may change."""

_NAMED = {act.word: act for act in Act if act not in {Act.JOIN, Act.RENEW, Act.SERVE}}
"""The acts that a configuration may give to roles."""

_EXTENTS = {"nothing": Extent.NONE, "own": Extent.OWN, "all": Extent.ALL}
_WRITTEN = {extent: word for word, extent in _EXTENTS.items()}
_HOW_FAR = {Extent.NONE: "", Extent.OWN: " (own)", Extent.ALL: ""}

RIGHTS = Rights()


def platform_names(platform: Canonical) -> frozenset[str]:
    """Return the names of a platform: its arch (``ppc``), its system (``linux``), and both (``linux-ppc``)."""
    said = dict(platform)
    system, arch = said.get("os"), said.get("arch")
    both = f"{system}-{arch}" if system and arch else None
    return frozenset(str(one) for one in (system, arch, both) if one)


def platform_name(text: str) -> str:
    """Return a platform's name in its one form: ``powerpc`` is ``ppc``, ``Linux-amd64`` is ``linux-x86_64``."""
    system, dash, arch = text.strip().lower().partition("-")
    return f"{system}-{canonical_arch(arch)}" if dash and system in _SYSTEMS else canonical_arch(text)


def known_platform(text: str, there: Collection[str] = ()) -> str:
    """Return a platform's name in its one form: one that is known, or of those ``there``. Raises UsageError."""
    name = platform_name(text)
    known = (*there, *ARCHES, *ALIASES, *_SYSTEMS, *(f"{one}-{arch}" for one in _SYSTEMS for arch in ARCHES))
    if name in known:
        return name
    near = near_word(text.strip(), known)
    hint = f"did you mean {near!r}?" if near else "it is an architecture, a system or both, as in 'linux-ppc'"
    raise UsageError(f"there is no platform {text!r:.60}: {hint}")


_SYSTEMS = ("linux", "darwin", "windows", "wasi", "freebsd", "openbsd", "netbsd")


def _who(by: Principal) -> str:
    return f"{by.name} ({by.role.value})" if by.name else f"a {by.role.value or 'stranger'}"


def _check_token(by: Principal, act: Act) -> None:
    """Raise Unauthorised where a caller's token is limited to other acts; signing in and out is always its own."""
    if by.limits.acts and act.word not in by.limits.acts and act not in {Act.SEE_STATIC, Act.SIGN_IN}:
        raise Unauthorised(f"{_who(by)} may not {act.value}: this token is limited to {', '.join(by.limits.acts)}")


def _there(subject: Subject) -> str:
    return f" of {subject.project}" if subject.project else ""


def _owned(by: Principal, subject: Subject) -> bool:
    if subject.proven or any(one and one in subject.owners for one in (by.name, by.owner)):
        return True
    owner = by.owner.lower()  # an address is the same in capitals, the name of a key is not
    return bool(owner) and any(one.lower() == owner for one in subject.owners if "@" in one)


def _changes(changes: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[PrincipalRole, Act, str, Extent]]:
    roles = {role.value: (role,) for role in CHANGEABLE} | {"everybody": tuple(CHANGEABLE)}
    for role_name, wanted in changes.items():
        found = _found(roles, role_name, "role")
        for said, extent_name in wanted.items():
            word, _, platform = said.partition(" on ") if isinstance(said, str) else (said, "", "")
            act, extent = _found(_NAMED, word, "act"), _found(_EXTENTS, extent_name, "extent")
            name = known_platform(platform) if platform else ""
            for role in found:
                yield role, act, name, extent


def _found(known: Mapping[str, E], name: object, what: str) -> E:
    if isinstance(name, str) and name in known:
        return known[name]
    near = near_word(name, known) if isinstance(name, str) else ""
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(map(repr, known))}"
    raise UsageError(f"there is no {what} {name!r:.60}: {hint}")
