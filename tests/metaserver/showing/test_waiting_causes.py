"""What monitoring is told of what waits is what each build waits for, and takes no longer where the farm is large."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.metaserver.showing import waiting_causes
from buildtool.metaserver.showing.waiting_causes import UNSEEN, Waiting, WaitingCauses
from buildtool.metaserver.showing.waiting_groups import grouped
from buildtool.model.records import AttemptEnd
from tests.metaserver.showing.test_waiting_groups import PPC, S390X, X86, connected, spec
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import machine


def look(farm: Farm, causes: WaitingCauses | None = None) -> Waiting:
    *_, found = (causes or WaitingCauses()).counted(farm.broker.state, farm.broker.now)
    assert found is not None
    return found


def of_groups(farm: Farm) -> Waiting:
    """The same, of the groups that pages show."""
    *_, found = grouped(farm.broker.state, farm.broker.now, lambda _build: True)
    assert found is not None
    told: Waiting = Waiting()
    for group in found.groups:
        for platform, count in group.platforms.items():
            told[platform, group.cause] += count
    return told


acts = st.lists(
    st.tuples(st.sampled_from(("ask", "login", "logout", "refuse", "fail")), st.integers(0, 2), st.integers(0, 3)),
    max_size=16,
)


@given(acts)
def test_each_build_is_counted_for_what_pages_say_that_it_waits_for(many: list[tuple[str, int, int]]) -> None:
    farm = Farm()
    for act, which, number in many:
        name, arch = f"m{which}", ("x86_64", "x86_64", "ppc")[which]
        match act:
            case "ask":
                farm.ask(spec(number, platform=(X86, PPC, S390X)[which]))
            case "login" if not connected(farm, name):
                farm.login(name, machine(arch=arch))
            case "logout" if connected(farm, name):
                farm.logout(name)
            case "refuse" | "fail" if any(it.server == name for it in farm.broker.state.attempts.values()):
                farm.end(name, AttemptEnd.REFUSED if act == "refuse" else AttemptEnd.FAILED, "no licence")
    assert look(farm) == of_groups(farm)


@pytest.fixture
def many() -> Farm:
    """A farm of which twenty machines are away, and three kinds of builds that only they can build."""
    farm = Farm()
    for number in range(20):
        farm.login(f"m{number}", machine(arch="ppc"))
        farm.logout(f"m{number}")
    for number, arch in enumerate(("ppc", "s390x", "riscv64")):
        farm.ask(spec(number, platform={"os": "linux", "arch": arch}))
    return farm


def test_of_a_large_farm_some_kinds_are_looked_at_each_time_and_the_others_are_remembered(
    many: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_causes, "LOOKS", 1)
    causes = WaitingCauses()
    unseen = [sum(count for (_, cause), count in look(many, causes).items() if cause == UNSEEN) for _ in range(4)]
    assert unseen == [2, 1, 0, 0]
    assert look(many, causes) == of_groups(many)


def test_what_changed_is_told_once_its_turn_comes(many: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    causes = WaitingCauses()
    before = look(many, causes)
    assert sorted(cause for _, cause in before) == ["never", "never", "offline"]
    many.login("new", machine(arch="s390x"))
    many.ask(spec(8, platform=S390X))
    assert look(many, causes) == of_groups(many) != before
