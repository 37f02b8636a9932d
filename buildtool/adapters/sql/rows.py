"""How each record is written into its table, and read out of it: as a rule each field in the column of its name.

Tested by tests/adapters/sql/test_broker_store.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from operator import attrgetter
from sys import intern
from typing import Any, Generic, TypeVar, get_type_hints

from attrs import fields, frozen
from sqlalchemy import Row

from buildtool.concurrency.bounded_cache import remembering, weight_of_json
from buildtool.model import records
from buildtool.model.access.confirmation import MailAddress
from buildtool.model.access.identities import Identity, Invitation
from buildtool.model.access.tokens import Token
from buildtool.model.options import Canonical
from buildtool.model.principal import Scope
from buildtool.model.records import Artifact, Attempt, AttemptEnd, Build, Demand, Mail, Refusal, Request
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill, Server
from buildtool.model.trust.evidence import Evidence, EvidencePolicy, SandboxLevel

V = TypeVar("V")

Cells = dict[str, object]
"""One row on its way into a table, by column."""

TEXTS_KEPT = 2 * 1024 * 1024
"""In how many bytes texts are remembered with what they stand for; most differ in nothing from those of other rows."""

_ALONE = len('[""]')
"""By how much the JSON text of one commit is longer than the commit; its own revision is always acceptable."""

_REPEATED = frozenset({"project", "source", "revision", "email", "answer", "asker", "share"})
"""Columns with the same few texts in thousands of rows: each is held once."""

_dump = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode


# --- values in columns ----------------------------------------------------------------------------------


def _canonical_text(pairs: Canonical) -> str:
    """Return the JSON text of canonical pairs; the same few stand in most rows."""
    # Equal is not the same here: True is 1, but not in JSON.
    return _text_of_pairs(pairs, tuple([type(value) for _, value in pairs]))


@remembering(TEXTS_KEPT, lambda text, _pairs, _types: weight_of_json(text))
def _text_of_pairs(pairs: Canonical, _types: tuple[type, ...]) -> str:
    return _dump(pairs)


@remembering(TEXTS_KEPT, lambda _pairs, text: weight_of_json(text))
def canonical_of(text: str) -> Canonical:
    """Return canonical pairs from their JSON text: the lists in it are the tuples that they were.

    The same few platforms, options and requirements stand in most rows: they are read once, and held once.
    """
    return _canonical(json.loads(text))


def _canonical(plain: list[list[Any]]) -> Canonical:
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in plain)


@remembering(TEXTS_KEPT, lambda _strings, text: weight_of_json(text))
def _strings_of(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def numbers_text(numbers: Sequence[int]) -> str:
    """Return the JSON text of several ids."""
    return _dump(tuple(numbers))


def _capability_text(value: Capability) -> str:
    return _dump(
        {
            "offers": [
                {"platform": offer.platform, "kind": offer.kind.value, "tools": offer.tools}
                | ({"up_to": offer.up_to} if offer.up_to else {})
                for offer in value.offers
            ],
            "machine": value.machine,
            "skills": [[skill.project, skill.recipe_version, skill.options_digest] for skill in value.skills],
            "max_builds": value.max_builds,
            "host_info": value.host_info,
            "admin": value.admin,
            "software": value.software,
            "sandbox": value.sandbox.value,
            "sandbox_notes": value.sandbox_notes,
        }
        | ({"access_uri": value.access_uri} if value.access_uri else {})
    )


def _capability_of(text: str) -> Capability:
    plain: Mapping[str, Any] = json.loads(text)
    offers = tuple(
        Offer(
            _canonical(offer["platform"]),
            OfferKind(offer["kind"]),
            tuple((name, value) for name, value in offer["tools"]),
            _canonical(offer.get("up_to", [])),  # as in rows that were written before there were ranges
        )
        for offer in plain["offers"]
    )
    skills = tuple(ProjectSkill(*skill) for skill in plain["skills"])
    values = {**plain, "offers": offers, "machine": _canonical(plain["machine"]), "skills": skills}
    if "sandbox" in plain:  # as in every row that was written since there are sandboxes
        values |= {"sandbox": SandboxLevel(plain["sandbox"]), "sandbox_notes": tuple(plain["sandbox_notes"])}
    return Capability(**values)


def _limits_of(text: str) -> Scope:
    kept = json.loads(text)
    return Scope(tuple(kept["projects"]), tuple(kept["platforms"]))


# --- records in tables ----------------------------------------------------------------------------------


@frozen
class _Form:
    """How a value is written into its column and read out of it, as itself where that is None."""

    write: Callable[[Any], object] | None = None
    read: Callable[[Any], object] | None = None


_AS_IS = _Form()
_ENDS = {None: None} | {end.value: end for end in AttemptEnd}

_FORMS: dict[object, _Form] = {
    bool: _Form(read=bool),
    Canonical: _Form(_canonical_text, canonical_of),
    tuple[str, ...]: _Form(_dump, _strings_of),
    tuple[int, ...]: _Form(_dump, lambda text: tuple(json.loads(text))),
    tuple[tuple[float, float], ...]: _Form(_dump, lambda text: tuple((one, two) for one, two in json.loads(text))),
    AttemptEnd | None: _Form(lambda end: end and end.value, _ENDS.__getitem__),
    Capability: _Form(_capability_text, _capability_of),
    Scope: _Form(lambda limits: _dump({"projects": limits.projects, "platforms": limits.platforms}), _limits_of),
}


def _form(column: str, hint: object) -> _Form:
    if isinstance(hint, type) and issubclass(hint, Enum):
        # To look a member up by its value costs the enum's own call several times as much; a page has hundreds of them.
        return _Form(attrgetter("value"), {member.value: member for member in hint}.__getitem__)
    return _Form(read=intern) if column in _REPEATED and hint is str else _FORMS.get(hint, _AS_IS)


class _Layout(Generic[V]):
    """The columns of a record: one for each field, ``named`` otherwise than the field or not at all ("").

    A field that is a record itself has the columns of its own layout among ``inner``. One that has None there is
    always given to ``read``. ``make`` makes the record of its values, where not ``kind`` itself does.
    """

    def __init__(
        self,
        kind: type[V],
        named: Mapping[str, str] | None = None,
        make: Callable[..., V] | None = None,
        **inner: _Layout[Any] | None,
    ) -> None:
        names: Sequence[str] = getattr(kind, "_fields", ()) or [one.name for one in fields(kind)]  # type: ignore[arg-type] # of attrs
        hints = get_type_hints(kind)
        columns = {field: (named or {}).get(field, field) for field in names if field not in inner}
        own = [(field, column, _form(column, hints[field])) for field, column in columns.items() if column]
        self._make = make or kind
        self._take = attrgetter(*(column for _, column, _ in own))
        self._reads = [(at, form.read) for at, (*_, form) in enumerate(own) if form.read]
        self._inner = [(at, inner[field]) for at, field in enumerate(names) if field in inner]
        self.paths = {column: field for field, column, _ in own}
        self.writes = {column: form.write for _, column, form in own if form.write}
        for field, layout in inner.items():
            if layout is None:
                self.paths[field] = field
            else:
                self.paths |= {column: f"{field}.{path}" for column, path in layout.paths.items()}
                self.writes |= layout.writes
        self._give = attrgetter(*self.paths.values())

    def cells(self, value: V) -> Cells:
        """Return the columns of a record."""
        cells = dict(zip(self.paths, self._give(value), strict=True))
        for column, write in self.writes.items():
            cells[column] = write(cells[column])
        return cells

    def read(self, row: Row[Any], *inner: object) -> V:
        """Return the record that a row is; ``inner`` are those in it, where they are known already."""
        values = [*self._take(row)]
        for at, read in self._reads:
            values[at] = read(values[at])
        for number, (at, layout) in enumerate(self._inner):
            values.insert(at, layout.read(row) if layout and not inner else inner[number])
        return self._make(*values)


def _known(kind: type[V], sandbox: str = "sandbox", trust: str = "trust") -> _Layout[V]:
    """Return the columns of evidence, or of a policy: there are few different ones, and each is held once."""
    return _Layout(kind, {"sandbox": sandbox, "source": trust}, make=cache(kind))


_SPEC = _Layout(records.BuildSpec, policy=_known(EvidencePolicy, "demanded_sandbox", "demanded_trust"))
_SHELF = _Layout(records.ShelfKey)
_REQUEST = _Layout(Request, {"group": "group_first"}, demand=_Layout(Demand, spec=_SPEC))
_FAILED = _known(Evidence, "failed_sandbox", "failed_trust")
_BUILD = _Layout(Build, spec=_SPEC, place=None, failed_evidence=_FAILED)
_ATTEMPT = _Layout(Attempt, evidence=_known(Evidence))
_ARTIFACT = _Layout(Artifact, shelf=_SHELF, evidence=_known(Evidence))
_FAILURE = _Layout(records.RememberedFailure, shelf=_SHELF, evidence=_known(Evidence))
_SERVER = _Layout(Server, {"forgotten": ""})
_REFUSAL = _Layout(Refusal, {"count": "times"})
_MAIL = _Layout(Mail)
_IDENTITY = _Layout(Identity, {"by": "invited_by"})
_INVITATION = _Layout(Invitation, {"by": "invited_by"})
_ADDRESS = _Layout(MailAddress)
_TOKEN = _Layout(Token, {"ended": ""})

request_cells, build_cells, attempt_cells = _REQUEST.cells, _BUILD.cells, _ATTEMPT.cells
artifact_cells, failure_cells = _ARTIFACT.cells, _FAILURE.cells
server_cells, refusal_cells = _SERVER.cells, _REFUSAL.cells
identity_cells, invitation_cells, address_cells = _IDENTITY.cells, _INVITATION.cells, _ADDRESS.cells
token_cells = _TOKEN.cells

attempt_of, artifact_of, failure_of = _ATTEMPT.read, _ARTIFACT.read, _FAILURE.read
server_of, refusal_of, mail_of = _SERVER.read, _REFUSAL.read, _MAIL.read
identity_of, invitation_of, address_of = _IDENTITY.read, _INVITATION.read, _ADDRESS.read
token_of = _TOKEN.read


def request_of(row: Row[Any], spec: records.BuildSpec | None = None) -> Request:
    """Return the Request that a row of ``requests`` is; ``spec`` is that of its Build if that is known to be the same.

    Thousands of them may wait: what many of them have in common is held once.
    """
    spec = spec or _SPEC.read(row)
    alone = len(row.acceptable) == len(spec.revision) + _ALONE
    acceptable = (spec.revision,) if alone else _strings_of(row.acceptable)
    return _REQUEST.read(row, Demand(spec, intern(row.ref), row.revrange, acceptable))


def build_of(row: Row[Any]) -> Build:
    """Return the Build that a row of ``builds`` is."""
    number = row.id
    place = number if row.place == number else row.place  # held once, mostly
    return _BUILD.read(row, _SPEC.read(row), place, _FAILED.read(row))


def mail_cells(value: Mail) -> Cells:
    """Return the columns of a Mail that was not tried yet: it is due at once."""
    untried = {"digest": "", "tries": 0, "next_try": value.created_at}
    return _MAIL.cells(value) | untried | {"sent_at": None, "refused_at": None, "last_error": ""}
