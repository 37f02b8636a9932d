"""Why builds wait, grouped: the groups count every build once, and say what is true of each of their builds."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.metaserver.showing import waiting_groups
from buildtool.metaserver.showing.waiting_groups import Waiting, grouped
from buildtool.model.options import canonical
from buildtool.model.records import AttemptEnd, Build, BuildSpec, BuildState
from buildtool.scheduling.waiting import why
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import machine
from tests.scheduling.worlds import spec as spec_of

X86 = {"os": "linux", "arch": "x86_64"}
PPC = {"os": "linux", "arch": "ppc"}
S390X = {"os": "linux", "arch": "s390x"}


def spec(number: int, platform: dict[str, str] | None = None) -> BuildSpec:
    """Return what a build makes, with an option of its own."""
    made = spec_of(0, platform=platform or {})
    return evolve(made, options=canonical({**dict(made.options), "number": number}))


def look(farm: Farm, project: str = "") -> Waiting:
    """Return the groups of what waits on a farm, of one project where that is said."""

    def sees(build: Build) -> bool:
        return not project or build.spec.project == project

    *_, found = grouped(farm.broker.state, farm.broker.now, sees)
    assert found is not None
    return found


def connected(farm: Farm, name: str) -> bool:
    return name in farm.broker.state.servers and farm.broker.state.servers[name].connected


def queued(farm: Farm) -> list[int]:
    return [one.id for one in farm.broker.state.builds.values() if one.state is BuildState.QUEUED]


def test_where_no_build_server_is_known_that_is_what_everything_waits_for() -> None:
    farm = Farm()
    farm.ask(spec(1))
    farm.ask(spec(2))
    (group,) = look(farm).groups
    assert (group.cause, group.count) == ("never", 2)
    assert "no build server has ever registered" in group.words


def test_each_group_is_named_by_what_will_help_first() -> None:
    farm = Farm()
    farm.login("busy", machine(arch="x86_64"))
    for number in range(4):
        farm.ask(spec(number, platform=X86))
    farm.login("away", machine(arch="ppc"))
    farm.logout("away")
    farm.ask(spec(10, platform=PPC))
    farm.ask(spec(11, platform=S390X))
    told = {group.cause: group for group in look(farm).groups}
    assert {cause: group.count for cause, group in told.items()} == {"busy": 3, "offline": 1, "never": 1}
    assert told["busy"].servers == ("busy",)
    assert told["busy"].words == "a slot to be free"
    assert told["offline"].servers == ("away",)
    assert "s390x" in told["never"].words
    assert [group.count for group in look(farm).groups] == [3, 1, 1]


def test_a_build_with_a_history_of_its_own_is_not_taken_for_others_of_its_kind() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(1))
    farm.end("anna", AttemptEnd.REFUSED, "no licence")
    farm.ask(spec(2))
    farm.ask(spec(3))
    told = {group.cause: group.count for group in look(farm).groups}
    assert told == {"refused": 1, "busy": 1}


def test_what_a_caller_does_not_see_is_neither_named_nor_counted() -> None:
    farm = Farm()
    farm.ask(spec(1))
    assert look(farm, project="secret") == Waiting((), 0)


def test_beyond_so_many_kinds_builds_are_counted() -> None:
    farm = Farm()
    most = waiting_groups.KINDS_LOOKED_AT
    for number in range(most + 3):
        farm.ask(spec(number, platform={"os": "linux", "arch": f"a{number}"}))
    told = look(farm)
    assert told.unseen == 3
    assert sum(group.count for group in told.groups) == most


@given(st.lists(st.sampled_from(["login", "logout", "ask", "ppc", "refuse", "fail", "lose"]), max_size=25))
def test_the_groups_hold_every_build_that_waits_once_and_each_has_that_reason(steps: list[str]) -> None:
    farm = Farm()
    for number, step in enumerate(steps):
        match step:
            case "login":
                farm.login("anna")
            case "ask":
                farm.ask(spec(number))
            case "ppc":
                farm.ask(spec(number, platform=PPC))
            case "logout" | "lose" if (
                "anna" in farm.broker.state.servers and farm.broker.state.servers["anna"].connected
            ):
                farm.logout("anna")
            case "refuse" if farm.broker.state.slots.attempts_of.get("anna"):
                farm.end("anna", AttemptEnd.REFUSED, "no licence")
    told = look(farm)
    assert sorted(number for group in told.groups for number in group.builds) == sorted(queued(farm))
    assert sum(group.count for group in told.groups) == len(queued(farm))
    for group in told.groups:
        for number in group.builds:
            reasons = why(farm.broker.state, farm.broker.state.builds[number], farm.broker.now)
            causes = {one.cause.value for wait in reasons.groups for one in wait.reasons}
            assert group.cause in causes or group.cause == "never"
