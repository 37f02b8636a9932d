"""Verdicts on the way to a metaserver: each thing that can be wrong is told with its own mend."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.checkup.connection import (
    SKEW,
    SKEW_HARMS,
    ChainFacts,
    NameFacts,
    OwnFacts,
    PortFacts,
    judge_chain,
    judge_clock,
    judge_greeting,
    judge_life,
    judge_name,
    judge_own,
    judge_ports,
)
from buildtool.model.checkup.verdicts import CheckResult, CheckVerdict

DAY = 86_400.0
OURS, OTHER = "a" * 64, "b" * 64


def verdicts(results: list[CheckResult]) -> dict[str, CheckVerdict]:
    return {one.what: one.verdict for one in results}


def test_a_name_without_an_address_is_a_problem() -> None:
    assert judge_name(NameFacts("farm", ("192.0.2.1",))).verdict is CheckVerdict.OK
    told = judge_name(NameFacts("farm", error="Name or service not known"))
    assert told.verdict is CheckVerdict.PROBLEM
    assert "resolver" in told.mend


@pytest.mark.parametrize(("refused", "mend"), [(True, "ask the farm's operator"), (False, "firewall")])
def test_a_port_that_takes_no_connection_is_a_problem_unless_another_address_answers(
    *, refused: bool, mend: str
) -> None:
    dead = PortFacts("2001:db8::1", 443, "no answer within 5 s", refused=refused)
    (told,) = judge_ports([dead])
    assert told.verdict is CheckVerdict.PROBLEM
    assert "[2001:db8::1]:443" in told.words
    assert mend in told.mend
    both = judge_ports([dead, PortFacts("192.0.2.1", 443)])
    assert [one.verdict for one in both] == [CheckVerdict.WARNING, CheckVerdict.OK]


def test_another_key_than_the_farm_s_is_a_problem_and_a_stranger_is_told_which_it_is() -> None:
    shown = ChainFacts("farm:1", (OTHER, OURS), 0.0, 30 * DAY)
    assert verdicts(judge_chain(shown, [OURS], DAY))["fingerprint"] is CheckVerdict.OK
    assert verdicts(judge_chain(shown, ["c" * 64], DAY))["fingerprint"] is CheckVerdict.PROBLEM
    stranger = judge_chain(shown, [], DAY)
    assert verdicts(stranger)["fingerprint"] is CheckVerdict.OK
    assert OURS[:16] in stranger[1].words


def test_what_speaks_no_tls_is_a_problem_by_itself() -> None:
    (told,) = judge_chain(ChainFacts("farm:1", error="it does not speak TLS there"), [OURS], DAY)
    assert (told.what, told.verdict) == ("TLS", CheckVerdict.PROBLEM)


@given(st.floats(0, 40 * DAY))
def test_a_certificate_is_told_before_it_expires_and_a_clock_before_it_began(now: float) -> None:
    told = judge_life("it", DAY, 31 * DAY, now, "renew")
    if now < DAY or now >= 31 * DAY:
        assert told.verdict is CheckVerdict.PROBLEM
    elif now > 26 * DAY:
        assert told.verdict is CheckVerdict.WARNING
    else:
        assert told.verdict is CheckVerdict.OK
    assert told.mend == {CheckVerdict.OK: ""}.get(
        told.verdict, "set the clock of this machine" if now < DAY else "renew"
    )


def test_the_own_certificate_is_named_with_its_place() -> None:
    told = judge_own(OwnFacts("attic", "/builds/identity", 0.0, DAY), 2 * DAY)
    assert told.verdict is CheckVerdict.PROBLEM
    assert "attic in /builds/identity" in told.words


@given(st.floats(-1e6, 1e6))
def test_a_clock_is_told_by_how_much_it_is_off_and_which_way(skew: float) -> None:
    told = judge_clock(skew)
    right = (
        CheckVerdict.OK
        if abs(skew) <= SKEW
        else CheckVerdict.WARNING
        if abs(skew) <= SKEW_HARMS
        else CheckVerdict.PROBLEM
    )
    assert told.verdict is right
    assert right is CheckVerdict.OK or ("slow" if skew > 0 else "fast") in told.words


def test_a_clock_that_cannot_be_compared_is_a_warning() -> None:
    assert judge_clock(None).verdict is CheckVerdict.WARNING


def test_a_greeting_that_failed_is_a_problem() -> None:
    assert judge_greeting("farm:1", "protocol 3.0", "", "").verdict is CheckVerdict.OK
    assert judge_greeting("farm:1", "", "it speaks another version", "update").verdict is CheckVerdict.PROBLEM
