"""Hypothesis strategies for the values of the domain: where tests say what such a value can be."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from buildtool.model.access.confirmation import LIVES
from buildtool.model.options import Canonical, Kind, Option
from buildtool.model.platforms import ARCHES, CPU_LEVELS, Value
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import STANDARD, Property
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    AuditEvent,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    JoinReason,
    Mail,
    Refusal,
    RememberedFailure,
    Request,
    RequestState,
    ShelfKey,
)
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill, Server
from buildtool.model.trust.evidence import Evidence, EvidencePolicy, SandboxLevel, SourceTrust

# --- plain values ---------------------------------------------------------------------------------------

WALL = 4_000_000_000.0
"""The latest wall time that is drawn: far from now, near enough that seconds keep their fractions."""

ids = st.integers(1, 2**53)
epochs = st.integers(1, 1_000)
counts = st.integers(0, 1_000)
times = st.floats(0, WALL, allow_nan=False)
durations = st.floats(0, 1_000_000, allow_nan=False)
hex_digests = st.text("0123456789abcdef", min_size=64, max_size=64)
commits = st.text("0123456789abcdef", min_size=40, max_size=40)
client_ids = st.text("0123456789abcdef", min_size=32, max_size=32)
project_names = st.sampled_from(["testproject", "lua", "zlib", "a-b_c"])
sources = st.sampled_from(["", "main", "forks/somebody"])
server_names = st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True)
emails = st.from_regex(r"[a-z][a-z0-9.+]{0,9}@[a-z]{1,9}\.example", fullmatch=True)
file_names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,39}", fullmatch=True)
free_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
"""Reasons, log ends: whatever a person or a compiler wrote, control characters included."""

# --- options --------------------------------------------------------------------------------------------

option_names = st.from_regex(r"x[a-z0-9_]{0,9}", fullmatch=True)
"""Names that no standard property, tool option or flag of startcompile has."""

words = st.from_regex(r"[A-Za-z0-9_.+:/=-]{1,12}", fullmatch=True)
printable = st.text(max_size=40).filter(str.isprintable)
integers = st.integers(-(10**18) + 1, 10**18 - 1)
sandbox_levels = st.sampled_from(SandboxLevel)
trusts = st.sampled_from(SourceTrust)
evidence = st.builds(Evidence, sandbox_levels, trusts)
policies = st.builds(EvidencePolicy, sandbox_levels, trusts)
word_sets = st.frozensets(words, max_size=5).map(lambda members: tuple(sorted(members)))
values: SearchStrategy[Value] = st.one_of(printable, integers, st.booleans(), word_sets)


def canonicals(names: SearchStrategy[str] = option_names, max_size: int = 5) -> SearchStrategy[Canonical]:
    """Pairs sorted by name, each value canonical."""
    return st.dictionaries(names, values, max_size=max_size).map(lambda found: tuple(sorted(found.items())))


@st.composite
def option_descriptions(draw: st.DrawFn, names: SearchStrategy[str] = option_names) -> Option:
    """Any sound option without ``requires``; only a string may be without a default."""
    name, said = draw(names), draw(printable)
    kind: Kind = draw(st.sampled_from(list(Kind)))
    match kind:
        case Kind.CHOICE:
            choices = tuple(draw(st.lists(words, min_size=1, max_size=5, unique=True)))
            return Option(name, kind, said, draw(st.sampled_from(choices)), choices)
        case Kind.BOOL:
            return Option(name, kind, said, draw(st.booleans()))
        case Kind.INT:
            default = draw(st.integers(-1_000, 1_000))
            return Option(
                name,
                kind,
                said,
                default,
                minimum=draw(st.none() | st.integers(-2_000, default)),
                maximum=draw(st.none() | st.integers(default, 2_000)),
            )
        case Kind.STRING:
            return Option(name, kind, said, draw(st.none() | printable))
        case Kind.SET:
            members = tuple(draw(st.lists(words, max_size=5, unique=True)))
            default_members = draw(st.sets(st.sampled_from(members))) if members else set()
            return Option(name, kind, said, tuple(sorted(default_members)), members)


def accepted_values(option: Option) -> SearchStrategy[Value]:
    """Canonical values that ``option`` accepts. A string option must have no pattern."""
    match option.kind:
        case Kind.CHOICE:
            return st.sampled_from(option.choices)
        case Kind.BOOL:
            return st.booleans()
        case Kind.INT:
            return st.integers(
                option.minimum if option.minimum is not None else -(10**18) + 1,
                option.maximum if option.maximum is not None else 10**18 - 1,
            )
        case Kind.STRING:
            if option.pattern:
                raise ValueError(f"{option.name} has a pattern: draw its values with st.from_regex")
            return printable
        case Kind.SET:
            members = st.sampled_from(option.choices) if option.choices else words
            return st.frozensets(members, max_size=5).map(lambda found: tuple(sorted(found)))


def project_options() -> SearchStrategy[ProjectOptions]:
    """All options of a project: some standard properties, and compile options of its own."""
    system = st.sets(st.sampled_from(sorted(STANDARD))).map(
        lambda names: tuple(STANDARD[name] for name in sorted(names))
    )
    compile_options = st.lists(option_descriptions(), max_size=5, unique_by=lambda option: option.name).map(tuple)
    return st.builds(ProjectOptions, system, compile_options)


# --- platforms and machines -----------------------------------------------------------------------------

versions = st.tuples(st.integers(0, 3), st.integers(0, 40)).map(lambda parts: f"{parts[0]}.{parts[1]}")

_artifact_properties: dict[str, SearchStrategy[Value]] = {
    "os": st.sampled_from(["linux", "darwin"]),
    "arch": st.sampled_from(sorted(ARCHES)),
    "libc": st.sampled_from(["glibc", "musl"]),
    "libc_version": versions,
    "cpu_level": st.sampled_from(CPU_LEVELS),
}
_machine_properties: dict[str, SearchStrategy[Value]] = {
    "memory": st.integers(1, 65_536),
    "cpus": st.integers(1, 64),
    "disk": st.integers(1, 1_000_000),
    "tools": st.frozensets(st.sampled_from(["cmake", "gcc", "make", "strip"])).map(lambda found: tuple(sorted(found))),
}


def _pairs(properties: dict[str, SearchStrategy[Value]]) -> SearchStrategy[Canonical]:
    return st.fixed_dictionaries({}, optional=properties).map(lambda found: tuple(sorted(found.items())))


platforms: SearchStrategy[Canonical] = _pairs(_artifact_properties)
"""Artifact properties, any of which may be left open."""

needs: SearchStrategy[Canonical] = _pairs(
    {"libc_version": versions, "cpu_level": st.sampled_from(CPU_LEVELS), "windows": versions}
)
"""What files need: properties of their platform, and what is only told."""

machines: SearchStrategy[Canonical] = _pairs(_machine_properties)
"""Machine properties, any of which may be left open."""

standard_properties: SearchStrategy[Property] = st.sampled_from(sorted(STANDARD)).map(STANDARD.__getitem__)

offers = st.builds(
    Offer,
    platform=platforms,
    kind=st.sampled_from(OfferKind),
    tools=st.dictionaries(st.sampled_from(["AR", "CC", "STRIP"]), words).map(
        lambda found: tuple(sorted(found.items()))
    ),
    up_to=_pairs({"libc_version": versions, "os": st.just("linux")}),
)
skills = st.builds(ProjectSkill, project=project_names, recipe_version=st.integers(1, 99), options_digest=hex_digests)
capabilities = st.builds(
    Capability,
    offers=st.lists(offers, max_size=3).map(tuple),
    machine=machines,
    skills=st.lists(skills, max_size=3, unique_by=lambda skill: skill.project).map(tuple),
    max_builds=st.integers(1, 64),
    host_info=free_text,
    admin=free_text,
    software=free_text,
    sandbox=sandbox_levels,
    sandbox_notes=st.lists(words, max_size=3).map(tuple),
    access_uri=free_text,
)

# --- what is asked, built and stored ---------------------------------------------------------------------

shelf_keys = st.builds(
    ShelfKey,
    project=project_names,
    source=sources,
    recipe_version=st.integers(1, 99),
    options_digest=hex_digests,
    revision=commits,
)
build_specs = st.builds(
    BuildSpec,
    project=project_names,
    source=sources,
    revision=commits,
    recipe_version=st.integers(1, 99),
    options=canonicals(),
    platform=platforms,
    machine=machines,
    native=st.booleans(),
    policy=policies,
)


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    """A complete demand; the first acceptable revision is the spec's own."""
    spec = draw(build_specs)
    others = draw(st.lists(commits, max_size=4, unique=True))
    near = tuple(revision for revision in others if revision != spec.revision)
    return Demand(
        spec,
        ref=draw(st.sampled_from(["HEAD", "main", "v1.0", spec.revision])),
        revrange=draw(st.sampled_from(["", "3", "v1.0..v2.0"])),
        acceptable=(spec.revision, *near),
    )


shares = st.sampled_from(["ann@example.org", "192.0.2.0/24"])
rounds = st.floats(-1.0, 1e6)
requests = st.builds(
    Request,
    id=ids,
    client_id=client_ids,
    body_digest=hex_digests,
    email=emails,
    demand=demands(),
    force=st.booleans(),
    admitted_at=times,
    expires_at=times,
    state=st.sampled_from(RequestState),
    build_id=st.none() | ids,
    joined=st.sampled_from(JoinReason),
    artifact_id=st.none() | ids,
    answer=st.sampled_from(["", "hit", "dispatched", "joined", "queued", "known-failure"]),
    reason=free_text,
    ended_at=st.none() | times,
    group=st.none() | ids,
    group_size=counts,
    group_due=st.booleans(),
    asker=st.sampled_from(["", "192.0.2.1", "2001:db8::1"]),
    share=shares,
    nice=st.integers(-20, 20),
    base=rounds,
)
builds = build_specs.flatmap(
    lambda spec: st.builds(
        Build,
        id=ids,
        key=st.just(spec.key()),
        spec=st.just(spec),
        place=ids,
        created_at=times,
        state=st.sampled_from(BuildState),
        epoch=counts,
        not_before=times,
        delays=counts,
        broken_on=st.lists(server_names, max_size=3, unique=True).map(tuple),
        failed_on=st.lists(server_names, max_size=3, unique=True).map(tuple),
        failed_platform=platforms,
        failed_kind=st.sampled_from(OfferKind),
        failed_evidence=evidence,
        share=shares,
        nice=st.integers(-20, 20),
        base=rounds,
        tag=rounds,
        forced=st.booleans(),
        started_at=st.none() | times,
        ended_at=st.none() | times,
        deciding_epoch=st.none() | epochs,
        artifact_id=st.none() | ids,
        reason=free_text,
    )
)
attempts = st.builds(
    Attempt,
    build_id=ids,
    epoch=epochs,
    server=server_names,
    session=ids,
    platform=platforms,
    kind=st.sampled_from(OfferKind),
    offered_at=times,
    state=st.sampled_from(AttemptState),
    accepted_at=st.none() | times,
    ended_at=st.none() | times,
    end=st.none() | st.sampled_from(AttemptEnd),
    reason=free_text,
    log_tail=free_text,
    suspected=st.booleans(),
    struck=st.booleans(),
    evidence=evidence,
    frozen_at=st.none() | times,
    rested=durations,
    processor=st.none() | durations,
)
artifacts = st.builds(
    Artifact,
    id=ids,
    shelf=shelf_keys,
    options=canonicals(),
    platform=platforms,
    kind=st.sampled_from(OfferKind),
    build_id=ids,
    epoch=epochs,
    server=server_names,
    digest=hex_digests,
    content_digest=hex_digests,
    size=st.integers(1, 2**40),
    name=file_names,
    built_at=times,
    seconds=durations,
    withdrawn=free_text,
    evidence=evidence,
    need=needs,
)
failures = st.builds(
    RememberedFailure,
    build_id=ids,
    shelf=shelf_keys,
    platform=platforms,
    until=times,
    reason=free_text,
    kind=st.sampled_from(OfferKind),
    evidence=evidence,
)
servers = st.builds(
    Server,
    name=server_names,
    session=ids,
    capability=capabilities,
    connected=st.booleans(),
    since=times,
    last_seen=times,
    strikes=counts,
    quarantines=counts,
    quarantined_until=times,
    quarantine_reason=free_text,
    missing_since=times,
    missing_told=st.booleans(),
    paused=free_text,
    finishing=st.booleans(),
    draining=st.booleans(),
    instance=st.just("") | hex_digests,
    origin=st.sampled_from(["", "192.0.2.1", "2001:db8::1"]),
    used_at=times,
    owner=free_text,
    closed=free_text,
    closed_until=times,
    away=st.lists(st.tuples(times, times), max_size=3).map(tuple),
)
refusals = st.builds(
    Refusal, build_id=ids, server=server_names, until=times, reason=free_text, count=st.integers(1, 100)
)
mails = st.builds(
    Mail,
    key=hex_digests,
    email=emails,
    build_id=st.none() | ids,
    request_ids=st.lists(ids, min_size=1, max_size=5, unique=True).map(tuple),
    outcome=st.sampled_from(RequestState),
    created_at=times,
    summary=st.booleans(),
    asker=st.sampled_from(["", "192.0.2.1", "2001:db8::1"]),
    server=st.just("") | server_names,
    purpose=st.sampled_from(["", *LIVES]),
    about=st.sampled_from(["", "watch:7 refs/heads/main"]),
)
happenings = st.builds(
    AuditEvent, kind=st.sampled_from(["request", "build", "server"]), subject=words, detail=free_text
)
