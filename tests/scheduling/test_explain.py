"""Why a Build waits: every reason told is true, the servers are grouped by it, and the nearest is named."""

import math

import hypothesis.strategies as st
from attrs import evolve
from hypothesis import given

from buildtool.model.matching.reasons import Cause, Reason
from buildtool.model.options import canonical
from buildtool.model.properties import Comparison, meets
from buildtool.model.records import AttemptEnd, Build, BuildState
from buildtool.model.servers import Capability, Offer, ProjectSkill
from buildtool.scheduling.answers import Queued, WaitReasons
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.events import AskedWhy
from buildtool.scheduling.explain import explain_open
from buildtool.scheduling.waiting import LINE_SAID, NAMES_SHOWN, NOBODY_YET, _Look, lines, why
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import OPTIONS, POLICY, machine, spec

X86 = {"os": "linux", "arch": "x86_64"}
PPC = {"os": "linux", "arch": "ppc"}


def causes(told: WaitReasons) -> dict[str, list[Cause]]:
    """Which causes were told of each server."""
    return {name: [reason.cause for reason in group.reasons] for group in told.groups for name in group.servers}


def test_before_any_server_is_known_that_is_what_is_said() -> None:
    farm = Farm()
    told = farm.why(farm.ask())
    assert (told.groups, told.servers, told.nearest) == ((), 0, "")
    assert lines(told) == NOBODY_YET
    assert all(len(line) <= LINE_SAID for line in NOBODY_YET)


def test_each_thing_that_can_stand_in_the_way_is_named_for_the_server_it_is_true_of() -> None:
    farm = Farm()
    asked = farm.ask(spec(0, platform=X86))
    farm.login("refuses")
    farm.end("refuses", AttemptEnd.REFUSED, "no licence")
    farm.login("ppc", machine(arch="ppc"))
    farm.login("old", machine(skill=ProjectSkill("lua", 2, OPTIONS.digest())))
    farm.login("other", machine(skill=ProjectSkill("lua", 3, "0" * 64)))
    farm.login("foreign", machine(skill=ProjectSkill("zlib", 3, OPTIONS.digest())))
    farm.login("failed")
    farm.login("busy")
    farm.login("away")
    farm.logout("away")
    farm.ask(spec(1))
    farm.ask(spec(2))
    farm.fail(farm.running_on(asked))
    told = causes(farm.why(asked))
    assert told["refuses"] == [Cause.REFUSED]
    assert told["ppc"] == [Cause.PROPERTY]
    assert told["old"] == [Cause.RECIPE]
    assert told["other"] == [Cause.DESCRIPTIONS]
    assert told["foreign"] == [Cause.PROJECT]
    assert told["failed"] == [Cause.REFUSED]
    assert told["busy"] == [Cause.BUSY]
    assert told["away"] == [Cause.OFFLINE]


def test_a_quarantined_server_is_named_with_its_reason() -> None:
    farm = Farm()
    farm.login("anna")
    for revision in range(3):
        farm.ask(spec(revision))
        farm.break_down("anna", reason="no disk")
    (group,) = farm.why(farm.ask(spec(4))).groups
    assert group.reasons[0].cause is Cause.QUARANTINED
    assert "no disk" in group.reasons[0].words()


def test_a_build_that_waits_before_it_is_tried_again_says_until_when() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.lose("anna")
    farm.login("bert")
    told = farm.why(asked)
    assert told.not_before == farm.broker.now + POLICY.retry_first
    assert causes(told)["bert"] == [Cause.DELAYED]


def test_servers_with_the_same_reasons_are_one_group_of_at_most_twenty_names_and_a_count() -> None:
    farm = Farm()
    for number in range(NAMES_SHOWN + 5):
        farm.login(f"server{number:02}", machine(arch="ppc"))
    farm.login("zoe", machine(arch="ppc", memory=64))
    told = farm.why(farm.ask(spec(machine={"memory": 1024}, platform=X86)))
    many, one = told.groups
    assert (len(many.servers), many.count) == (NAMES_SHOWN, NAMES_SHOWN + 5)
    assert (one.servers, one.count) == (("zoe",), 1)
    assert told.servers == NAMES_SHOWN + 6
    assert lines(told)[0] == (
        f"server00, server01, server02 and {NAMES_SHOWN + 2} more: each needs arch x86_64, has ppc"
    )


def test_the_nearest_server_is_the_one_that_lacks_least() -> None:
    farm = Farm()
    farm.login("far", machine(arch="ppc", memory=64))
    farm.login("near", machine(arch="x86_64", memory=512))
    asked = farm.ask(spec(machine={"memory": 1024}, platform=X86))
    assert farm.why(asked).nearest == "needs memory ≥ 1024; the best is 512 on near"


def test_no_nearest_is_named_where_a_server_that_can_build_it_is_only_busy() -> None:
    farm = Farm()
    farm.login("far", machine(arch="ppc"))
    farm.login("anna")
    farm.ask(spec(0))
    assert farm.why(farm.ask(spec(1))).nearest == ""


def test_only_builds_that_compete_for_a_server_stand_before_one() -> None:
    farm = Farm()
    farm.login("anna", machine(arch="x86_64"))
    farm.login("bert", machine(arch="ppc"))
    farm.ask(spec(0, platform=X86))
    farm.ask(spec(0, platform=PPC))
    farm.ask(spec(1, platform=PPC))
    waiting = [farm.ask(spec(revision, platform=X86)) for revision in (1, 2)]
    assert [farm.why(asked).ahead for asked in waiting] == [0, 1]
    assert lines(farm.why(waiting[1]))[-1] == "1 build waits before this one: 1 of the same requester"


# --- whatever the servers are like ----------------------------------------------------------------------

CAPABILITIES = st.builds(
    lambda arch, memory, version, skill: machine(arch=arch, memory=memory, libc_version=version, skill=skill),
    st.sampled_from(["x86_64", "ppc"]),
    st.sampled_from([64, 4096]),
    st.sampled_from(["2.9", "2.31", "2.36"]),
    st.sampled_from([ProjectSkill("lua", number, OPTIONS.digest()) for number in (2, 3)]),
)
WANTED = spec(
    machine={"memory": 1024}, platform={"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.31"}
)


@given(st.lists(st.tuples(CAPABILITIES, st.booleans()), max_size=5))
def test_every_server_is_explained_or_could_start_now_and_what_is_said_of_it_is_so(
    servers: list[tuple[Capability, bool]],
) -> None:
    farm = Farm()
    for number, (capability, stays) in enumerate(servers):
        farm.login(f"server{number}", capability)
        if not stays:
            farm.logout(f"server{number}")
    asked = farm.ask(WANTED)
    told = farm.why(asked)
    state, build = farm.broker.state, farm.build_of(asked)
    named = [name for group in told.groups for name in group.servers]
    assert len(set(named)) == len(named)
    if isinstance(asked, Queued):
        assert sorted(named) == sorted(state.servers)
    for idle in state.servers.keys() - set(named):
        assert state.servers[idle].connected
        assert isinstance(state.groups.verdict(build, state.servers[idle]), Offer)
    for name in named:
        for reason in _Look(state, build, farm.broker.now).reasons(state.servers[name]):
            assert reason.words()
            if reason.cause is Cause.PROPERTY:
                assert reason.wanted is not None
                assert reason.wanted in (dict(WANTED.platform) | dict(WANTED.machine)).values()
                assert not meets(reason.comparison, reason.wanted, reason.have)
            if reason.cause is Cause.OFFLINE:
                assert not state.servers[name].connected
            if reason.cause is Cause.RECIPE:
                assert reason.have != reason.wanted == WANTED.recipe_version


def test_the_words_of_a_reason_name_what_is_wanted_and_what_there_is() -> None:
    said = {
        Reason(
            Cause.PROPERTY, "libc_version", "2.31", "2.36", Comparison.AT_MOST
        ): "needs libc_version ≤ 2.31, has 2.36",
        Reason(Cause.PROPERTY, "tools", ("cc", "ld"), (), Comparison.SUBSET): "lacks tools cc,ld",
        Reason(Cause.PROPERTY, "libc", "musl", None): "needs libc musl, has none",
        Reason(Cause.RECIPE, "lua", 4, 3): "has recipe 3 of lua, needs 4: update config.py",
        Reason(Cause.OPTION, "utf8", wanted=True, have=False): "utf8 is no, not yes",
        Reason(Cause.BUSY, wanted=2, have=2): "is busy (2 of 2 builds)",
    }
    assert {reason: reason.words() for reason in said} == said
    assert evolve(next(iter(said)), comparison=Comparison.AT_LEAST).words() == "needs libc_version ≥ 2.31, has 2.36"


# --- when ---------------------------------------------------------------------------------------------------


def made_before(farm: Farm, name: str = "anna") -> None:
    """Let the server make something, so that it is known how long a build takes there: two seconds."""
    farm.login(name)
    farm.ask(spec(4))
    farm.deliver(name)


def test_a_build_may_start_no_earlier_than_whoever_refused_it_is_asked_again() -> None:
    """ "Asked again in 10 min" beside "may start in about 1 s" is told to nobody."""
    farm = Farm()
    made_before(farm)
    asked = farm.ask()
    farm.break_down("anna")
    told = farm.why(asked)
    assert told.estimate is not None
    assert told.estimate.seconds == POLICY.refusal_ttl
    assert lines(told) == (
        "anna: broke: no disk (is asked again in 10 min)",
        f"it may start in about 10 min (0 ahead, one slot, {told.estimate.basis.partition('slot, ')[2]})",
    )
    assert told.estimate.basis.endswith("one earlier build of lua with these options for this platform on anna")


def test_a_build_may_start_no_earlier_than_a_quarantine_ends() -> None:
    farm = Farm()
    made_before(farm)
    for revision in range(POLICY.strikes):
        farm.ask(spec(revision))
        farm.break_down("anna")
    told = farm.why(farm.ask(spec(3)))
    assert told.estimate is not None
    assert told.estimate.seconds == POLICY.quarantine_first + 3 * 2.0, "three that broke before come first"


def test_of_what_takes_longer_than_ever_nobody_knows_how_long_it_will() -> None:
    """ "In about 1 s" would be told for hours."""
    farm = Farm()
    made_before(farm)
    running, waiting = farm.ask(spec(0)), farm.ask(spec(1))
    farm.accept("anna")
    said = explain_open(DecisionContext(farm.broker.state, farm.broker.now), AskedWhy(farm.build_of(running).id))
    assert said.estimate is not None
    assert "(until in about 2 s)" in lines(farm.why(waiting))[0]
    farm.pass_time(2.0)
    assert (
        explain_open(DecisionContext(farm.broker.state, farm.broker.now), AskedWhy(farm.build_of(running).id)).estimate
        is None
    )
    assert farm.why(waiting).estimate is None
    assert lines(farm.why(waiting)) == ("anna: is busy (1 of 1 builds)",)


def test_other_options_take_another_time() -> None:
    farm = Farm()
    made_before(farm)
    shelf, other = spec(0).shelf, spec(0, jit=True).shelf
    durations, platform = farm.broker.state.durations, farm.artifacts()[0].platform
    for seconds in (100.0, 100.0):
        durations.learn(evolve(farm.artifacts()[0], shelf=other, seconds=seconds))
    for wanted, seconds in ((shelf, 2.0), (other, 100.0)):
        found = durations.expected(wanted, platform, "anna")
        assert found is not None
        assert found.seconds == seconds
        assert "with these options" in found.basis


STEPS = st.tuples(
    st.sampled_from(["login", "logout", "ask", "accept", "deliver", "break", "refuse", "moment", "while", "owner"]),
    st.sampled_from(["anna", "bert"]),
)


def happens(farm: Farm, step: str, name: str, number: int) -> None:
    """Let a step happen to a build server, where it can."""
    state = farm.broker.state
    connected = name in state.servers and state.servers[name].connected
    builds = connected and bool(state.slots.attempts_of.get(name))
    match step:
        case "login" if not connected:
            farm.login(name)
        case "logout" if connected:
            farm.logout(name)
        case "ask":
            farm.ask(spec(number % 4, jit=number % 8 > 3))
        case "accept" if builds and farm.attempt_on(name).accepted_at is None:
            farm.accept(name)
        case "deliver" if builds:
            farm.deliver(name)
        case "break" if builds and farm.attempt_on(name).accepted_at is None:
            farm.break_down(name)
        case "refuse" if builds:
            farm.end(name, AttemptEnd.REFUSED, "no licence")
        case "owner" if connected:
            farm.take_back(name, until=farm.broker.now + 90.0 * (number % 2))
        case "moment" | "while":
            farm.pass_time(1.5 if step == "moment" else 40.0)


def at_the_earliest(farm: Farm, build: Build, name: str, said: tuple[Reason, ...]) -> float:
    """Return in how many seconds a build may start on a build server by what is said of that: infinity if never."""
    state, now = farm.broker.state, farm.broker.now
    server, times = state.servers[name], [0.0]
    for reason in said:
        match reason.cause:
            case Cause.REFUSED if "is asked again in" in reason.note:
                times.append(state.refusals[build.id, name].until - now)
            case Cause.QUARANTINED:
                times.append(server.quarantined_until - now)
            case Cause.DELAYED:
                times.append(build.not_before - now)
            case Cause.BUSY if reason.note:
                times.append(0.0)  # "until in about", which is of another build
            case Cause.CLOSED if server.closed_until:
                times.append(server.closed_until - now)
            case _:
                times.append(math.inf)
    return max(times)


@given(st.lists(STEPS, max_size=30))
def test_no_build_is_said_to_start_before_what_is_said_of_each_build_server_lets_it(
    steps: list[tuple[str, str]],
) -> None:
    farm = Farm()
    made_before(farm)
    for number, (step, name) in enumerate(steps):
        happens(farm, step, name, number + 5)
    state = farm.broker.state
    for build in [one for one in state.builds.values() if one.state is BuildState.QUEUED]:
        told = why(state, build, farm.broker.now)
        if told.estimate is None:
            continue
        assert told.estimate.seconds > 0
        named = {name: group.reasons for group in told.groups for name in group.servers}
        soonest = [at_the_earliest(farm, build, name, named.get(name, ())) for name in state.servers]
        assert told.estimate.seconds >= min(soonest) - 1e-6, lines(told)


# --- a machine that changes -----------------------------------------------------------------------------------


def test_a_machine_that_comes_back_as_another_is_asked_again_at_once() -> None:
    """A donor who lifts their limit does not wait ten minutes, and those who wait do not either."""
    farm = Farm()
    limited = machine()
    limited = evolve(limited, machine=canonical({**dict(limited.machine), "time_limit": 60}))
    farm.login("anna", limited)
    asked = farm.ask()
    farm.break_down("anna", AttemptEnd.LIMITED, "the build took longer than 60 s (the limit of this machine's owner)")
    farm.login("anna", limited)
    assert farm.running_on(asked) == ""
    farm.login("anna", evolve(limited, machine=canonical({**dict(limited.machine), "memory": 5_000})))
    assert farm.running_on(asked) == "", "how much memory is free changes by itself"
    farm.login("anna", machine())
    assert farm.running_on(asked) == "anna"
