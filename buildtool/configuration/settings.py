"""Reads a deployment's ``config.py`` into frozen Settings, with one clear line for whatever is wrong in it.

The file is found by ``--config``, else by ``$BUILDTOOL_CONFIG``, else it is the checkout's own; never the
current directory's, since whoever can write there could then run code. It is executed in a fresh namespace:
its author is trusted (it holds the recipes), but it leaves nothing behind. Secrets come from files or the
environment only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from attrs import Factory, evolve, field, frozen

from buildtool.configuration.admission_settings import read_keep, read_limits, read_mail_domains, read_shares
from buildtool.configuration.deployment_settings import DEPLOYMENT_READERS, read_deployment
from buildtool.configuration.file import Execution, printing_to_stderr, projects_of
from buildtool.configuration.finding import find_config
from buildtool.configuration.given.names import SETTINGS
from buildtool.configuration.given.origins import origins_of
from buildtool.configuration.given.reading import given_here
from buildtool.configuration.given.values import NOTHING, Given, GivenValue
from buildtool.configuration.hooks.secrets import check_hooked, read_hook_secrets
from buildtool.configuration.key_settings import (
    CERTIFICATE_LIFE,
    REJOIN_WITHIN,
    Trusted,
    needs_keys_at,
    own_site,
    read_backup_within,
    read_certificate_life,
    read_public_address,
    read_rejoin_within,
    read_tls_names,
    read_trusted,
)
from buildtool.configuration.key_settings import (
    READERS as KEY_READERS,
)
from buildtool.configuration.mail_settings import MailSettings, read_mail
from buildtool.configuration.origin_settings import read_origin_logins
from buildtool.configuration.places import (
    PLACES,
    check_builds_apart,
    check_port,
    default_bind,
    read_bind,
    read_directory,
    read_host,
    read_metaserver,
    read_public_url,
    read_transfer_url,
    valid_port,
)
from buildtool.configuration.port_settings import (
    ANYWHERE,
    BINDS,
    UNIX,
    Front,
    Part,
    Place,
    check_apart,
    is_here,
    read_front,
    read_listening,
    read_own_files,
    read_plain,
    read_proxies,
)
from buildtool.configuration.rights_settings import read_rights
from buildtool.errors import ConfigurationError, UnknownProject
from buildtool.model.access.audience import NOBODY
from buildtool.model.access.ceilings import NO_CEILINGS, USUAL_CEILINGS, Ceilings
from buildtool.model.access.confirmation import ANYBODY, NOBODY_KNOWN, MailDomains
from buildtool.model.access.join_line import HostPort
from buildtool.model.access.metaserver_addresses import MetaserverAddress
from buildtool.model.access.origin_logins import NO_LOGINS, OriginLogins
from buildtool.model.access.proxies import NO_PROXIES, Proxies
from buildtool.model.access.rights import RIGHTS, Rights
from buildtool.model.addresses import PORTS, in_url
from buildtool.model.farm.deployment import UNNAMED, Deployment
from buildtool.model.farm.weights import EVEN, Weights
from buildtool.model.hooks.secrets import NO_HOOKS, HookSecrets
from buildtool.model.keeping.limits import KEPT_ALL, Keeping
from buildtool.model.principal import Principal
from buildtool.model.properties import nearest
from buildtool.model.text import near_word, quoted
from buildtool.project.definition import Project
from buildtool.project.recipe_check import Within, check_recipes, unbounded

_READERS: Mapping[str, Callable[[object, str], object]] = {
    **PLACES,
    **dict.fromkeys(BINDS, read_listening),
    "plain_ports": read_plain,
    **KEY_READERS,
    **DEPLOYMENT_READERS,
}
_LEASES = range(2, 3601)
_DAYS = range(1, 3651)
_NUMBERS = {"lease": (_LEASES, "a lease is from 2 to 3600 seconds")}
_SETTINGS = frozenset({*(name.partition(".")[0] for name in SETTINGS), "projects"})


def _whole(numbers: range, unit: str) -> Callable[[object, object, int], None]:
    """Return a validator of attrs for a whole number of some unit."""

    def check(_instance: object, attribute: object, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value not in numbers:
            right = f"a whole number of {unit} from {numbers[0]} to {numbers[-1]}"
            raise ConfigurationError(
                f"{getattr(attribute, 'name', 'it')} = {quoted(value)} is not usable: it is {right}"
            )

    return check


@frozen
class Settings:
    """The settings of one deployment. ``path`` is the file they were read from.

    ``host`` is where build servers and requesters find the metaserver, or the first of the ``addresses`` where they do;
    ``bind`` is the address it listens on. ``state_dir`` is the metaserver's, ``build_dir`` the build server's; neither
    need exist yet. ``lease`` is for how many seconds a build is believed to go on after its build server was last heard
    of, ``names_kept`` for how many days the name of a build server is remembered that never built anything. ``trusted``
    says who is believed without a key, ``tls_names`` under which other hosts the metaserver is reached, ``rights`` who
    may do what, ``limits`` how much, ``weights`` how often, ``keep`` what goes again. Mail to ``confirmed`` addresses
    needs no confirmation; who has one among ``logins`` gets a key by mail. ``pb_bind`` and its likes are what a part
    listens on in place of ``bind``, ``plain_ports`` what speaks no TLS wherever that is, ``own_files`` the certificate
    for browsers, and its key. ``transfer_apart`` is whether transfers have a port of their own. Who is invited finds
    it at ``public_address``; a certificate holds ``certificate_life`` seconds, a key may be away ``rejoin_within``
    seconds after that, and the last good backup is told once it is older than ``backup_within``. ``origin_logins`` go
    with the URLs of private origins; ``hook_secrets`` prove deliveries. ``deployment`` and ``front`` say so
    themselves. ``given`` is what went before the file, ``origins`` each value that is not the default, with its place.
    """

    path: Path
    host: str = field(converter=read_host)
    bind: str = field(converter=read_bind)
    pb_port: int = field(validator=valid_port)
    transfer_port: int = field(validator=valid_port)
    web_port: int = field(validator=valid_port)
    public_url: str = field(converter=read_public_url)
    transfer_url: str = field(converter=read_transfer_url)
    state_dir: Path
    build_dir: Path
    mail: MailSettings | None
    projects: tuple[Project, ...]
    lease: int = field(default=60, validator=_whole(_LEASES, "seconds"))
    names_kept: int = field(default=7, validator=_whole(_DAYS, "days"))
    trusted: Trusted = field(default=Trusted.NOBODY, converter=read_trusted)
    tls_names: tuple[str, ...] = field(default=(), converter=read_tls_names)
    rights: Rights = RIGHTS
    proxies: Proxies = field(default=NO_PROXIES, converter=read_proxies)
    limits: Ceilings = NO_CEILINGS
    weights: Weights = EVEN
    keep: Keeping = KEPT_ALL
    confirmed: MailDomains = NOBODY_KNOWN
    logins: MailDomains = ANYBODY
    addresses: tuple[MetaserverAddress, ...] = Factory(
        lambda self: (MetaserverAddress(self.host, self.pb_port),), takes_self=True
    )
    pb_bind: str = ""
    transfer_bind: str = ""
    web_bind: str = ""
    plain_ports: tuple[Part, ...] = field(default=(), converter=read_plain)
    own_files: tuple[Path, Path] | None = None
    transfer_apart: bool = True
    public_address: tuple[HostPort, ...] = field(default=(), converter=read_public_address)
    certificate_life: float = field(default=CERTIFICATE_LIFE, converter=read_certificate_life)
    rejoin_within: float = field(default=REJOIN_WITHIN, converter=read_rejoin_within)
    backup_within: float = field(default=0.0, converter=read_backup_within)
    origin_logins: OriginLogins = NO_LOGINS
    hook_secrets: HookSecrets = NO_HOOKS
    deployment: Deployment = UNNAMED
    front: Front = field(factory=Front)
    given: Given = field(default=NOTHING, repr=False, eq=False)
    origins: tuple[GivenValue, ...] = field(default=(), repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        check_apart([self.place(part) for part in Part])
        if self.speaks_tls(Part.TRANSFER) and not (self.needs_keys or self.own_files):
            raise ConfigurationError(
                f"transfer_bind = {self.place(Part.TRANSFER).bind!r} is where others come, and who has no key cannot "
                'know it there: say trusted = "nobody", an own tls_certificate, or plain_ports = ["transfer"]'
            )
        names: set[str] = set()
        for project in self.projects:
            if project.name in names:
                raise ConfigurationError(f"projects: two are named {project.name!r}")
            names.add(project.name)

    @cached_property
    def _by_name(self) -> dict[str, Project]:
        return {project.name: project for project in self.projects}

    @property
    def needs_keys(self) -> bool:
        """Whether who connects needs a key, so that TLS is spoken: not where all are trusted who can connect."""
        return needs_keys_at(self.trusted, self.place(Part.CONTROL).bind)

    def place(self, part: Part) -> Place:
        """Return where a part listens."""
        bind, port = getattr(self, f"{part.value}_bind") or self.bind, getattr(self, f"{part.value}_port")
        return Place(part, bind, port)

    def speaks_tls(self, part: Part) -> bool:
        """Return whether a part speaks TLS where it listens."""
        if part is Part.CONTROL:
            return self.needs_keys
        if part in self.plain_ports or is_here(self.place(part).bind):
            return False
        return self.trusted is not Trusted.EVERYBODY or self.own_files is not None

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """The names and addresses under which the metaserver is reached, for its certificate."""
        urls = (urlsplit(url).hostname or "" for url in (self.public_url, self.transfer_url))
        public = (host for host, _ in self.public_address)
        binds = (self.bind, *(self.place(part).bind for part in Part))
        names = (self.host, *(one.host for one in self.addresses), *public, *binds, *urls, *self.tls_names)
        return tuple(dict.fromkeys(one for one in names if one not in ("", *ANYWHERE) and not one.startswith(UNIX)))

    @property
    def invited_to(self) -> tuple[HostPort, ...]:
        """The hosts and ports that stand in invitations."""
        return self.public_address or tuple((one.host, one.port or self.pb_port) for one in self.addresses)

    def sees(self, by: Principal, project: str) -> bool:
        """Return whether a caller may know of a project. One that is not configured is the operators' alone."""
        audience = self._by_name[project].visible_to if project in self._by_name else NOBODY
        return audience.includes(by) and project in (by.limits.projects or (project,))

    def project(self, name: str, by: Principal | None = None) -> Project:
        """Return the project of that name. Raises UnknownProject, which lists those that there are.

        Those that ``by`` may not know of are not there.
        """
        found = self._by_name.get(name)
        if found is not None and (by is None or self.sees(by, name)):
            return found
        listed = [one.name for one in self.projects if by is None or self.sees(by, one.name)]
        raise UnknownProject(f"unknown project {name[:80]!r}{nearest(name[:80], listed) or '; there is none'}")


# --- finding and reading --------------------------------------------------------------------------------


def load_settings(path: Path | None = None, *, secrets: bool = True, given: Given | None = None) -> Settings:
    """Read the configuration at ``path``, or where ``find_config`` finds it.

    What is ``given`` beside it goes before it; unless that is said, it is what is given here to all programs.

    With ``secrets=False`` passwords are left empty and their files untouched: for programs that send no mail
    and whose users may not read them. Raises ConfigurationError, EmptySecret.
    """
    given = given_here() if given is None else given
    found, execution = find_config(path), Execution()
    try:
        with printing_to_stderr():
            values = execution.namespace(found)
        try:
            return _settings(found, values, given, secrets=secrets)
        except ConfigurationError as error:
            culprit = _culprit(found, values, given)
            where = found if not culprit or str(error).startswith(culprit) else culprit
            raise execution.located(where, error) from error
    except ConfigurationError as error:
        raise execution.located(found, error) from error


def _culprit(path: Path, values: Mapping[str, object], given: Given) -> str:
    """Return what gave the value without which the settings are right; "" where that is the file at ``path``."""
    for name, one in given.settings.items():
        others = {other: value for other, value in given.settings.items() if other != name}
        try:
            _settings(path, values, evolve(given, settings=others), secrets=False)
        except ConfigurationError:
            continue
        return one.place
    return ""


# --- from names to Settings -----------------------------------------------------------------------------


def _settings(path: Path, values: Mapping[str, object], beside: Given, *, secrets: bool) -> Settings:
    given, over = _named(values, _SETTINGS, "setting"), _overrides(beside)
    origins = origins_of(path, given, beside)
    mail = read_mail(path, given.pop("mail", None), over, secrets=secrets)
    given |= {name: value for name, value in over.items() if not name.startswith("mail.")}
    web_port, transfer_port = given.get("web_port", 8080), given.get("transfer_port", 23433)
    pb_port = given.get("pb_port", 23432)
    for name, value in (("web_port", web_port), ("transfer_port", transfer_port), ("pb_port", pb_port)):
        check_port(name, value)  # before they are part of a URL, which would be blamed
    addresses = read_metaserver(path, given.get("host", "127.0.0.1"), pb_port)  # type: ignore[arg-type] # see above
    host = addresses[0].host
    state_dir = read_directory(path, "state_dir", given.get("state_dir", "var/metaserver"))
    build_dir = read_directory(path, "build_dir", given.get("build_dir", "var/buildserver"))
    check_builds_apart(state_dir, build_dir)
    bind, trusted = given.get("bind", default_bind(host)), read_trusted(given.get("trusted", Trusted.NOBODY))
    projects = projects_of(given.get("projects", []))
    binds = {name: read_listening(given[name], f"{name} =") for name in BINDS if name in given}
    own_pages, own_transfers = f"http://{in_url(host)}:{web_port}", f"http://{in_url(host)}:{transfer_port}"
    public = read_public_address(given.get("public_address", ()))
    needs_keys = isinstance(bind, str) and needs_keys_at(trusted, binds.get("pb_bind") or read_bind(bind))
    if needs_keys:
        own_pages = own_transfers = own_site(public, host, pb_port)  # type: ignore[arg-type] # checked above
    return Settings(
        path=path,
        host=host,
        bind=bind,
        pb_port=pb_port,  # type: ignore[arg-type] # validated by Settings
        transfer_port=transfer_port,  # type: ignore[arg-type] # validated by Settings
        web_port=web_port,  # type: ignore[arg-type] # validated by Settings
        public_url=given.get("public_url", own_pages),
        transfer_url=given.get("transfer_url", own_transfers),
        state_dir=state_dir,
        build_dir=build_dir,
        mail=mail,
        projects=projects,
        lease=given.get("lease", 60),  # type: ignore[arg-type] # validated by Settings
        names_kept=given.get("names_kept", 7),  # type: ignore[arg-type] # validated by Settings
        trusted=trusted,
        tls_names=given.get("tls_names", ()),
        rights=read_rights(given.get("rights", {}), projects),
        proxies=given.get("proxies", ()),
        weights=read_shares(given.get("weights", {})),
        keep=read_keep(given.get("keep", {})),
        limits=read_limits(given.get("limits", {}), USUAL_CEILINGS if needs_keys else NO_CEILINGS),
        confirmed=read_mail_domains("confirmed", given.get("confirmed", ())),
        logins=read_mail_domains("logins", given.get("logins", ("*",))),
        addresses=addresses,
        pb_bind=binds.get("pb_bind", ""),
        transfer_bind=binds.get("transfer_bind", ""),
        web_bind=binds.get("web_bind", ""),
        plain_ports=given.get("plain_ports", ()),
        own_files=read_own_files(path, given.get("tls_certificate"), given.get("tls_key")),
        transfer_apart=not needs_keys or "transfer_port" in given or "transfer_bind" in given,
        public_address=public,
        certificate_life=given.get("certificate_life", CERTIFICATE_LIFE),
        rejoin_within=given.get("rejoin_within", REJOIN_WITHIN),
        backup_within=given.get("backup_within", ""),
        origin_logins=read_origin_logins(path, given.get("origin_logins", {}), secrets=secrets),
        hook_secrets=read_hook_secrets(path, given.get("hook_secrets", {}), secrets=secrets),
        deployment=read_deployment(given),
        front=read_front(path, given),
        given=beside,
        origins=origins,
    )


def _named(values: Mapping[str, object], known: frozenset[str], what: str) -> dict[str, object]:
    """Return the settings among ``values``; functions, classes, modules and ``_names`` are helpers."""
    found = {}
    for name, value in values.items():
        if name in known:
            found[name] = value
        elif not name.startswith("_") and not isinstance(value, ModuleType) and not callable(value):
            near = near_word(name, sorted(known))
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigurationError(f"unknown {what} {name!r}: {hint} (a helper's name starts with _)")
    return found


def _overrides(given: Given) -> dict[str, object]:
    """Return the settings that are given, each in its one form. Raises ConfigurationError that names what gave it."""
    found: dict[str, object] = {}
    for name, one in given.settings.items():
        value, what = one.value, one.blamed
        if name in _NUMBERS or name.endswith("port"):
            numbers, right = _NUMBERS.get(name, (PORTS, "a port is a number from 1 to 65535"))
            if isinstance(value, bool) or not isinstance(value, int) or value not in numbers:
                raise ConfigurationError(f"{what} {quoted(one.raw)} is not usable: {right}")
        elif name == "host":
            read_metaserver(Path(), value, 1, what)  # so that what is wrong is blamed on what gave it
        elif name in _READERS:
            value = _READERS[name](value, what)
        found[name] = value
    return found


def check_projects(settings: Settings, *, thorough: bool = False, within: Within = unbounded) -> None:
    """Try every recipe and source mapping: once, or with what ``check-config`` tries. Raises ConfigurationError.

    ``within`` stands around each question, see ``recipe_check``.
    """
    need_projects(settings)
    check_hooked(settings.hook_secrets, settings.projects)
    check_recipes(settings.projects, thorough=thorough, within=within)


def need_projects(settings: Settings) -> None:
    """Raise ConfigurationError if no project is configured; servers need one."""
    if not settings.projects:
        raise ConfigurationError(f"{settings.path}: projects is empty, so there is nothing to build")
