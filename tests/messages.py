"""Every message of the protocol: strategies that draw any, and functions that make an ordinary one."""

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Capability, Held, HeldState, HeldVerdict, Offer, OfferKind, ProjectSkill, Verdict
from buildtool.protocol import messages
from buildtool.protocol.hello import AskProjects, AskRefs, AskRequests, Hello, ProjectsDescribed, RefsFound
from buildtool.protocol.hooks.messages import DeliverHook, HookAnswered
from buildtool.protocol.pages.farm_view import WhyLine
from buildtool.protocol.projects.channels import AskChannels, ChannelMember, ChannelsFound, ChannelStatus
from buildtool.protocol.projects.latest import AskLatest, LatestFound
from buildtool.protocol.projects.targets import AskTargets, TargetsFound, TargetStatus, TryTargets
from buildtool.protocol.projects.triggers import (
    AskTriggers,
    HookStatus,
    LookNow,
    RefusalCount,
    TriggersFound,
    TriggerStatus,
)
from tests import strategies

# At most 100 bytes, which is the least that any text of a message may have: what is longer is cut when it is sent.
_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=25)
_used = st.none() | strategies.durations
_numbers = st.integers(-(2**63) + 1, 2**63 - 1)
_refusals = st.lists(st.builds(RefusalCount, strategies.words, _numbers), max_size=2).map(tuple)
_hook_statuses = st.builds(HookStatus, strategies.project_names, _used, _text, _refusals, _used, _text)
_names = strategies.server_names.map(lambda name: name[:40])
_values = st.dictionaries(strategies.option_names, strategies.values, max_size=5)
_capabilities = st.builds(
    attrs.evolve, strategies.capabilities, host_info=_text, admin=_text, software=_text, access_uri=_text
)  # no NUL, which is replaced when it is sent

_held = st.lists(st.builds(Held, _numbers, _numbers, st.sampled_from(HeldState)), max_size=3).map(tuple)
_turns = st.builds(messages.ReactorTurns, _numbers, *[st.floats(0.0, 1e9)] * 5)
_judged = st.lists(st.builds(HeldVerdict, _numbers, _numbers, st.sampled_from(Verdict), _text), max_size=3).map(tuple)
_why_line = st.builds(WhyLine, _text, st.lists(strategies.server_names, max_size=3).map(tuple), _numbers)
_found = st.builds(
    messages.FoundArtifact,
    name=strategies.file_names,
    url=_text,
    size=_numbers,
    digest=strategies.hex_digests,
    content_digest=strategies.hex_digests,
    revision=strategies.commits,
    platform=strategies.platforms,
    kind=st.sampled_from(OfferKind),
    server=strategies.server_names,
    build_id=_numbers,
    built_at=strategies.times,
    sandbox=strategies.sandbox_levels,
)

ALL: dict[str, SearchStrategy[attrs.AttrsInstance]] = {
    "Hello": st.builds(Hello, _numbers, _names, _names, _numbers, st.lists(_names, max_size=3).map(tuple), _names),
    "Submit": st.builds(
        messages.Submit,
        client_id=strategies.client_ids,
        project=strategies.project_names,
        email=strategies.emails,
        source=_text,
        revision=_text,
        revrange=_text,
        compile=_values,
        system=_values,
        local=_values,
        force=st.booleans(),
        native=st.booleans(),
        sandbox=strategies.sandbox_levels,
    ),
    "Cancel": st.builds(messages.Cancel, _numbers, strategies.words),
    "Follow": st.builds(messages.Follow, _numbers, strategies.words),
    "AskStatus": st.builds(messages.AskStatus, _numbers, strategies.words),
    "AskExplain": st.builds(
        messages.AskExplain,
        project=strategies.project_names,
        source=_text,
        revision=_text,
        revrange=_text,
        compile=_values,
        system=_values,
        local=_values,
        force=st.booleans(),
        native=st.booleans(),
        sandbox=strategies.sandbox_levels,
    ),
    "AskWhy": st.builds(messages.AskWhy, _numbers, strategies.words),
    "AskBuild": st.builds(messages.AskBuild, _numbers),
    "Explanation": st.builds(
        messages.Explanation,
        verdict=strategies.words,
        project=strategies.project_names,
        revision=strategies.commits,
        steps=_numbers,
        artifact=st.none() | _found,
        nearest_artifact=st.none() | _found,
        differences=st.lists(_text, max_size=3).map(tuple),
        build_id=st.none() | _numbers,
        server=strategies.server_names,
        reason=_text,
        reasons=st.lists(_why_line, max_size=3).map(tuple),
        nearest_server=_text,
        ahead=_numbers,
        seconds=st.none() | strategies.durations,
        basis=_text,
        page_url=_text,
        ahead_own=_numbers,
        ahead_shares=_numbers,
    ),
    "FoundArtifact": _found,
    "RequestStatus": st.builds(
        messages.RequestStatus,
        request_id=_numbers,
        token=strategies.words,
        answer=strategies.words,
        state=strategies.words,
        project=strategies.project_names,
        revision=strategies.commits,
        build_id=st.none() | _numbers,
        build_state=strategies.words,
        epoch=_numbers,
        server=strategies.server_names,
        reason=_text,
        why=st.lists(_text, max_size=4).map(tuple),
        artifact=st.none() | _found,
        log_url=_text,
        page_url=_text,
        asked_at=strategies.times,
        ref=_text,
        since=strategies.times,
        usual=st.none() | strategies.durations,
        sandbox=strategies.sandbox_levels,
        kind=strategies.words,
    ),
    "Refused": st.builds(messages.Refused, strategies.words, _text),
    "Register": st.builds(messages.Register, strategies.server_names, _capabilities, _held),
    "Welcome": st.builds(messages.Welcome, _numbers, _text, _numbers, _numbers, strategies.durations, _judged),
    "Heartbeat": st.builds(messages.Heartbeat, _held),
    "HeartbeatAnswer": st.builds(messages.HeartbeatAnswer, _judged),
    "Draining": st.builds(messages.Draining, _text),
    "AskHealth": st.just(messages.AskHealth()),
    "AskProjects": st.just(AskProjects()),
    "AskRequests": st.builds(AskRequests, _numbers),
    "AskRefs": st.builds(AskRefs, strategies.project_names, _text),
    "AskLatest": st.builds(
        AskLatest,
        strategies.project_names,
        _text,
        _text,
        _values,
        _values,
        _values,
        st.booleans(),
        strategies.sandbox_levels,
    ),
    "LatestFound": st.builds(
        LatestFound,
        strategies.project_names,
        _text,
        strategies.commits,
        st.none() | _found,
        _numbers,
        strategies.times,
        strategies.durations,
        _numbers,
        st.booleans(),
    ),
    "AskChannels": st.builds(AskChannels, strategies.project_names),
    "ChannelsFound": st.builds(
        ChannelsFound,
        st.lists(
            st.builds(
                ChannelStatus,
                strategies.project_names,
                _text,
                _text,
                _numbers,
                _text,
                _text,
                st.lists(
                    st.builds(ChannelMember, _text, _text, _numbers, _text, strategies.hex_digests, _numbers),
                    max_size=2,
                ).map(tuple),
                _text,
                st.lists(_text, max_size=2).map(tuple),
            ),
            max_size=2,
        ).map(tuple),
    ),
    "AskTriggers": st.builds(AskTriggers, _text),
    "LookNow": st.builds(LookNow, strategies.project_names),
    "TriggersFound": st.builds(
        TriggersFound,
        st.lists(
            st.builds(
                TriggerStatus,
                strategies.project_names,
                _text,
                _text,
                st.lists(_text, max_size=3).map(tuple),
                _numbers,
                _numbers,
                _used,
                strategies.durations,
                _text,
                st.booleans(),
            ),
            max_size=3,
        ).map(tuple),
        st.booleans(),
        st.lists(_hook_statuses, max_size=2).map(tuple),
    ),
    "AskTargets": st.builds(AskTargets, _text),
    "TryTargets": st.builds(TryTargets, strategies.project_names),
    "TargetsFound": st.builds(
        TargetsFound,
        st.lists(
            st.builds(TargetStatus, _text, _numbers, _used, _numbers, _used, _text, st.booleans()), max_size=3
        ).map(tuple),
        st.booleans(),
    ),
    "DeliverHook": st.builds(
        DeliverHook, strategies.project_names, st.dictionaries(_text, _text, max_size=3), _text, _numbers, st.booleans()
    ),
    "HookAnswered": st.builds(HookAnswered, _numbers, _text),
    "RefsFound": st.builds(RefsFound, st.lists(_text, max_size=3).map(tuple)),
    "ProjectsDescribed": st.builds(ProjectsDescribed, strategies.words, strategies.words),
    "ReactorTurns": _turns,
    "HealthStatus": st.builds(
        messages.HealthStatus,
        st.booleans(),
        st.lists(_text, max_size=3).map(tuple),
        st.none() | _turns,
        st.none() | st.floats(0, 1e9),
    ),
    "Order": st.builds(
        messages.Order,
        build_id=_numbers,
        epoch=_numbers,
        project=strategies.project_names,
        source=_text,
        revision=strategies.commits,
        recipe_version=_numbers,
        options=strategies.canonicals(),
        platform=strategies.platforms,
        kind=st.sampled_from(OfferKind),
        log_ticket=_text,
        artifact_ticket=_text,
        log_url=_text,
        sandbox=strategies.sandbox_levels,
    ),
    "AbortOrder": st.builds(messages.AbortOrder, _numbers, _numbers, _text),
    "Accepted": st.builds(messages.Accepted, _numbers, _numbers),
    "Ended": st.builds(messages.Ended, _numbers, _numbers, st.sampled_from(AttemptEnd), _text, _text, _used),
    "Done": st.builds(
        messages.Done,
        build_id=_numbers,
        epoch=_numbers,
        digest=strategies.hex_digests,
        content_digest=strategies.hex_digests,
        size=_numbers,
        name=strategies.file_names,
        seconds=strategies.durations,
        log_tail=_text,
        sandbox=strategies.sandbox_levels,
        processor=_used,
        need=strategies.needs,
    ),
    "RenewTickets": st.builds(messages.RenewTickets, _numbers, _numbers, st.booleans()),
    "Tickets": st.builds(messages.Tickets, _text, _text, _text),
    "Goodbye": st.builds(messages.Goodbye, _text),
    "Ok": st.builds(messages.Ok, st.booleans()),
}
"""A strategy for each message, by the name of its class."""

DIGEST = "ab" * 32


def submit(**changes: object) -> messages.Submit:
    """An ordinary request."""
    values: dict[str, object] = {
        "client_id": "0" * 32,
        "project": "testproject",
        "email": "anna@mail.example",
        "source": "",
        "revision": "HEAD",
        "revrange": "",
        "compile": {"utf8": True},
        "system": {},
        "local": {"os": "linux", "arch": "x86_64"},
    }
    return messages.Submit(**(values | changes))  # type: ignore[arg-type]


ALL["SubmitTogether"] = st.builds(messages.SubmitTogether, st.lists(ALL["Submit"], max_size=3).map(tuple))
ALL["RequestStatuses"] = st.builds(messages.RequestStatuses, st.lists(ALL["RequestStatus"], max_size=3).map(tuple))


def found(**changes: object) -> messages.FoundArtifact:
    """An ordinary artifact."""
    values: dict[str, object] = {
        "name": "testproject-0123abcd-linux-x86_64-89ab.zip",
        "url": f"http://127.0.0.1:23433/artifacts/{DIGEST}/testproject-0123abcd-linux-x86_64-89ab.zip",
        "size": 12_345,
        "digest": DIGEST,
        "content_digest": DIGEST,
        "revision": "0123abcd" * 5,
        "platform": (("arch", "x86_64"), ("os", "linux")),
        "kind": OfferKind.NATIVE,
        "server": "anna",
        "build_id": 17,
        "built_at": 1_700_000_000.0,
    }
    return messages.FoundArtifact(**(values | changes))  # type: ignore[arg-type]


def told(**changes: object) -> messages.RequestStatus:
    """A hit, unless ``changes`` say otherwise."""
    values: dict[str, object] = {
        "request_id": 12,
        "token": "abcdef",
        "answer": "hit",
        "state": "satisfied",
        "project": "testproject",
        "revision": "0123abcd" * 5,
        "build_id": None,
        "build_state": "",
        "epoch": 0,
        "server": "",
        "reason": "",
        "why": (),
        "artifact": found(),
        "log_url": "",
        "page_url": "",
    }
    return messages.RequestStatus(**(values | changes))  # type: ignore[arg-type]


def explanation(verdict: str, **changes: object) -> messages.Explanation:
    """An explanation in which nothing but the verdict is known, unless ``changes`` say otherwise."""
    values: dict[str, object] = {
        "verdict": verdict,
        "project": "testproject",
        "revision": "0123abcd" * 5,
        "steps": 0,
        "artifact": None,
        "nearest_artifact": None,
        "differences": (),
        "build_id": None,
        "server": "",
        "reason": "",
        "reasons": (),
        "nearest_server": "",
        "ahead": 0,
        "seconds": None,
        "basis": "",
        "page_url": "",
    }
    return messages.Explanation(**(values | changes))  # type: ignore[arg-type]


def waiting(answer: str = "dispatched", **changes: object) -> messages.RequestStatus:
    """What is told of a Request that waits for build 17."""
    values: dict[str, object] = {
        "answer": answer,
        "state": "waiting",
        "build_id": 17,
        "build_state": "queued" if answer == "queued" else "running",
        "epoch": 0 if answer == "queued" else 1,
        "server": "" if answer == "queued" else "anna",
        "artifact": None,
        "log_url": "" if answer == "queued" else "http://127.0.0.1:23433/logs/17/1",
        "page_url": "http://127.0.0.1:8080/build/17",
    } | changes
    return told(**({"kind": "native" if values["server"] else ""} | values))


def register(server: str = "anna") -> messages.Register:
    """An ordinary build server."""
    capability = Capability(
        offers=(Offer((("arch", "x86_64"), ("os", "linux"))),),
        machine=(("cpus", 2), ("tools", ("gcc", "make"))),
        skills=(ProjectSkill("testproject", 1, DIGEST),),
    )
    return messages.Register(server, capability)


def order(build_id: int = 17, epoch: int = 1) -> messages.Order:
    """An ordinary order."""
    return messages.Order(
        build_id=build_id,
        epoch=epoch,
        project="testproject",
        source="",
        revision="0123abcd" * 5,
        recipe_version=1,
        options=(("utf8", True),),
        platform=(("arch", "x86_64"), ("os", "linux")),
        kind=OfferKind.NATIVE,
        log_ticket="log-ticket",
        artifact_ticket="artifact-ticket",
        log_url=f"http://127.0.0.1:23433/logs/{build_id}/{epoch}",
        request=9,
    )
