"""The page of a machine says what became of its builds, and why it is given nothing."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.records import BuildState
from buildtool.model.search.build_query import EVERYTHING
from buildtool.ports.pages import BuildsAsked, BuildsFound, StateCount
from buildtool.web.pages.builds import Viewer
from buildtool.web.pages.details.machine import MachinePage, machine_page
from buildtool.web.urls import Urls
from tests.support.inline import run
from tests.web.fake_pages import NOW
from tests.web.farm import farm

URLS = Urls("http://farm.example", "http://farm.example:23433")
ANN = "ann@example.org"


def shown(name: str, viewer: Viewer | None = None, *, everything: bool = False, **changes: object) -> MachinePage:
    pages = farm()
    pages.servers = [evolve(it, **changes) for it in pages.servers]  # type: ignore[arg-type] # as tests say
    (line,) = run(pages.build_servers(name=name))
    found = run(pages.builds(BuildsAsked(EVERYTHING.having("server", name), counted=True, now=NOW)))
    return machine_page(line, found, URLS, NOW, viewer or Viewer(), everything=everything)


def test_it_says_how_much_of_what_was_decided_succeeded_and_lists_it() -> None:
    page = shown("elm")
    assert page.success == "Of 4 decided builds that it had a hand in, 50 % succeeded."
    assert [row.id for row in page.rows] == [7, 3, 2, 1]
    assert page.outcomes[0].url == "/builds?q=server%3Aelm+state%3Asucceeded"
    assert shown("yew").success == "Nothing that it had a hand in was decided yet."


def test_strikes_and_quarantine_are_explained() -> None:
    (said,) = shown("yew", quarantines=2).why
    assert said == "It is in quarantine, the 2nd in a row, for another 10 min: three builds in a row broke here."
    assert shown("oak").why == (
        "It has 1 strike: so many builds broke here, one after the other.", "It is not connected."
    )  # fmt: skip
    assert "3 strikes in a row" in shown("elm").rules
    (paused,) = shown("elm", paused="the disk, ask ann@example.org").why
    assert paused == "It was paused: the disk, ask a…@example.org."
    assert shown("elm", paused="by the operator").why == ("It was paused by the operator.",)


@pytest.mark.parametrize(
    ("owner", "mine", "everything", "yours"),
    [("Ann@example.org", (ANN,), False, True), ("", (ANN,), False, False), (ANN, (), False, False),
     ("bob@example.org", (ANN,), False, False), ("", (), True, True)],
)  # fmt: skip
def test_its_buttons_are_its_owner_s_and_operators(
    owner: str, mine: tuple[str, ...], everything: bool, yours: bool
) -> None:
    assert shown("elm", Viewer(mine), everything=everything, owner=owner).yours == yours


@given(st.dictionaries(st.sampled_from(BuildState), st.builds(StateCount, st.integers(0, 2_000), st.booleans())))
def test_no_share_is_told_of_what_was_not_counted_to_its_end(counts: dict[BuildState, StateCount]) -> None:
    (line,) = run(farm().build_servers(name="elm"))
    said = machine_page(line, BuildsFound((), counts=counts), URLS, NOW, Viewer()).success
    decided = [
        counts[one] for one in (BuildState.SUCCEEDED, BuildState.FAILED, BuildState.UNBUILDABLE) if one in counts
    ]
    if "%" in said:
        assert all((one.exact and one.number <= 1_000) or not one.number for one in decided)
