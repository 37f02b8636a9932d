"""What an integrator's ``config.py`` imports: descriptions of options, recipes, and the Project itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import field, frozen

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.audience import EVERYBODY, Audience, ProjectAccess, read_audience
from buildtool.model.channels.channel import ReleaseChannel
from buildtool.model.farm.deployment import ProjectPlace, valid_contact, valid_link, valid_revision_url
from buildtool.model.notices.targets import Target
from buildtool.model.options import canonical
from buildtool.model.platforms import Value
from buildtool.model.policy import FAILURE_TTL, REQUEST_TTL, TIME_LIMIT, Policy
from buildtool.model.principal import PrincipalRole
from buildtool.model.project_options import ProjectOptions
from buildtool.model.text import quoted
from buildtool.model.triggers.trigger import Trigger
from buildtool.model.trust.evidence import EvidencePolicy, SandboxLevel, read_level
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs, is_listed, read_trusted_refs, read_trusted_sources
from buildtool.project.recipe import Recipe
from buildtool.project.telling import checked_targets
from buildtool.project.triggers import ProjectPoll, with_poll


@frozen
class Checked:
    """An order, and the machine as it is now, which a client checker sees before a build server accepts.

    ``machine`` holds the machine's properties by name (memory and disk in MiB); ``running`` how many builds run.
    """

    project: str
    revision: str
    options: Mapping[str, Value]
    platform: Mapping[str, Value]
    machine: Mapping[str, Value]
    running: int


ClientChecker = Callable[[Checked], str | None]
"""Returns None to accept, or the reason for refusing in one line."""

NAME_LIMIT = 40
"""The longest project name, in characters."""


def _name(_instance: object, _attribute: object, name: str) -> None:
    plain = isinstance(name, str) and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not plain or len(name) > NAME_LIMIT:
        raise ConfigurationError(
            f"project name {quoted(name)} is not usable: at most {NAME_LIMIT} letters, digits, - and _"
        )


def _audience(value: object) -> Audience:
    if isinstance(value, Audience):
        return value
    try:
        return read_audience(value)
    except UsageError as error:
        raise ConfigurationError(f"{quoted(value)} names no audience: {error}") from error


def _read(read: Callable[[object, str], str], value: object, what: str) -> str:
    try:
        return read(value, what)
    except UsageError as error:
        raise ConfigurationError(str(error)) from error


def _url(value: object) -> str:
    return _read(valid_link, value, "a project's url =")


def _revision_url(value: object) -> str:
    return _read(valid_revision_url, value, "a project's revision_url =")


def _contact(value: object) -> str:
    return _read(valid_contact, value, "a project's contact =")


def _level(value: object) -> SandboxLevel:
    try:
        return read_level(value)
    except UsageError as error:
        raise ConfigurationError(f"a project's sandbox = {error}") from error


def _refs(value: object) -> TrustedRefs:
    try:
        return read_trusted_refs(value)
    except UsageError as error:
        raise ConfigurationError(f"a project's {error}") from error


def _sources(value: object) -> tuple[str, ...]:
    try:
        return read_trusted_sources(value)
    except UsageError as error:
        raise ConfigurationError(f"a project's {error}") from error


def _builders(value: object) -> Audience:
    """Return who builds. Raises ConfigurationError for a role, which is no build server's more than another's."""
    found = _audience(value)
    roles = {role.value for role in found.roles} | {role.value for role in PrincipalRole} & found.names
    if roles:
        role = min(roles)
        raise ConfigurationError(
            f"may_build names build servers by their keys, their owners by address or @domain, "
            f'"everybody" or "nobody", but no role: {quoted(role)}'
        )
    return found


def _triggers(value: Trigger | ProjectPoll | Iterable[Trigger | ProjectPoll]) -> tuple[Trigger, ...]:
    return with_poll(value if isinstance(value, Iterable) else (value,))


def _channels(value: ReleaseChannel | Iterable[ReleaseChannel]) -> tuple[ReleaseChannel, ...]:
    return tuple(value) if isinstance(value, Iterable) else (value,)


def _checkers(value: Iterable[ClientChecker]) -> tuple[ClientChecker, ...]:
    return tuple(value)


@frozen
class Project:
    """One project of the farm.

    ``path_to_url`` turns the requester's ``--source`` ("" when not given) into the repository's URL, raising
    LookupError for a source that there is not. Limits are in seconds and bytes; ``time_limit`` and ``silence_limit``
    are the *project's*: exceeding them is the project's failure. ``confirm_failures`` is how often a failure is
    repeated on another build server before it is final.

    ``visible_to`` says who may know of it, ``may_request`` which of these may ask for builds, and ``may_build`` which
    build servers get them: each a list of names of keys, e-mail addresses, ``@`` with a domain, or roles. ``rights``
    changes the table of rights for this project.

    ``sandbox`` is the least level of a sandbox in which it is built: ``none``, ``weak`` or ``strict``. Requesters may
    demand more, and no less.

    ``trusted_refs`` are the branches and tags whose commits are the project's own, with ``*`` for any text: all of them
    where it does not say. ``trusted_sources`` lists what of ``--source`` is, beside what is built without it; where it
    lists nothing that is all that ``path_to_url`` looks up. What is built of anything else is given only to who asks
    for that very commit.

    ``triggers`` are what asks for builds by itself: ``on_push``, ``on_tag``, ``nightly`` and ``every`` make them, and
    ``on_poll`` says how often they look.

    ``tell`` are those who are told what comes of builds: ``github_status`` and its likes make them.

    ``channels`` are names for the newest revision of which everything is there, as ``channel`` makes them.

    ``url`` is the page of the project's own, ``contact`` the e-mail address or the page where questions are asked, and
    ``revision_url`` where a revision of its sources is shown, with ``{revision}`` for its id.
    """

    name: str = field(validator=_name)
    options: ProjectOptions
    recipe: Recipe
    path_to_url: Callable[[str], str]
    client_checkers: tuple[ClientChecker, ...] = field(default=(), converter=_checkers)
    confirm_failures: int = 1
    failure_ttl: float = FAILURE_TTL
    request_ttl: float = REQUEST_TTL
    time_limit: float = TIME_LIMIT
    silence_limit: float = 1_200.0
    artifact_limit: int = 2 * 1024**3
    log_limit: int = 16 * 1024**2
    description: str = ""
    policy: Mapping[str, Any] = field(factory=dict)
    visible_to: Audience = field(default=EVERYBODY, converter=_audience)
    may_request: Audience = field(default=EVERYBODY, converter=_audience)
    may_build: Audience = field(default=EVERYBODY, converter=_builders)
    rights: Mapping[str, Mapping[str, str]] = field(factory=dict)
    url: str = field(default="", converter=_url)
    contact: str = field(default="", converter=_contact)
    revision_url: str = field(default="", converter=_revision_url)
    sandbox: SandboxLevel = field(default=SandboxLevel.NONE, converter=_level)
    triggers: tuple[Trigger, ...] = field(default=(), converter=_triggers)
    channels: tuple[ReleaseChannel, ...] = field(default=(), converter=_channels)
    tell: tuple[Target, ...] = field(default=(), converter=checked_targets)
    trusted_refs: TrustedRefs = field(default=EVERY_REF, converter=_refs)
    trusted_sources: tuple[str, ...] = field(default=(), converter=_sources)

    @property
    def place(self) -> ProjectPlace:
        """Where more is told of it, and who is asked."""
        return ProjectPlace(self.url, self.contact, self.revision_url)

    @property
    def least(self) -> EvidencePolicy:
        """What every demand for it accepts at least."""
        return EvidencePolicy(self.sandbox)

    def trusts(self, source: str) -> bool:
        """Return whether what ``--source`` said names a repository of the project's own.

        That is the one that is built without it, what a trigger names, and what ``trusted_sources`` lists.
        """
        own = source in ("", *(one.source for one in self.triggers))
        return own or is_listed(source, self.trusted_sources)

    @property
    def access(self) -> ProjectAccess:
        """Whom it is for."""
        return ProjectAccess(self.visible_to, self.may_request, self.may_build)

    def scheduling(self) -> Policy:
        """Return the scheduler's policy for this project. Raises ConfigurationError for an unknown setting."""
        defaults = canonical({one.name: one.default for one in self.options.compile if one.default is not None})
        try:
            return Policy(
                recipe_version=self.recipe.version,
                options_digest=self.options.digest(),
                comparisons=tuple(sorted(self.options.comparisons().items())),
                confirm_failures=self.confirm_failures,
                failure_ttl=self.failure_ttl,
                request_ttl=self.request_ttl,
                time_limit=self.time_limit,
                may_build=self.may_build,
                tell=tuple(one.rule(self.name, defaults) for one in self.tell),
                **self.policy,
            )
        except TypeError as error:
            raise ConfigurationError(f"project {self.name}: its policy has an unknown setting: {error}") from error


def tools_named(projects: Iterable[Project]) -> frozenset[str]:
    """Return the programs that projects name: what their recipes need, and what their options offer to ask for."""
    named: set[str] = set()
    for project in projects:
        needed = project.recipe.machine.get("tools", ())
        named.update(needed if isinstance(needed, tuple) else ())
        for item in project.options.system:
            if item.detector == "tools":
                named.update(item.option.choices)
    return frozenset(named)
