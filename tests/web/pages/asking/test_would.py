"""What would come of asking is said as the metaserver explains it: one state, why, and what comes nearest."""

import pytest

from buildtool.protocol.pages.farm_view import WhyLine
from buildtool.web.app import make_urls
from buildtool.web.pages.asking.would import would_card
from tests.messages import explanation, found
from tests.web.visitor import PUBLIC, TRANSFER

URLS = make_urls(PUBLIC, TRANSFER)


@pytest.mark.parametrize(
    ("verdict", "tone", "text"),
    [
        ("hit", "ok", "It is there already"), ("joined", "busy", "A build of it would be joined"),
        ("dispatched", "busy", "It would start at once"), ("queued", "wait", "It would be queued"),
        ("known-failure", "bad", "It failed before"), ("something new", "quiet", "something new"),
    ],
)  # fmt: skip
def test_each_verdict_has_its_tone_and_words(verdict: str, tone: str, text: str) -> None:
    badge = would_card("", explanation(verdict), URLS).badge
    assert (badge.tone, badge.text) == (tone, text)


def test_a_hit_says_how_near_it_is_and_leads_to_its_build() -> None:
    card = would_card("", explanation("hit", artifact=found(), steps=2), URLS)
    assert "2 nearer revisions have none." in card.notes
    assert card.links[0].url == f"/build/{found().build_id}"
    assert "It is exactly what is asked for." in would_card("", explanation("hit", artifact=found()), URLS).notes


def test_what_would_wait_says_for_whom_how_long_and_what_comes_nearest() -> None:
    said = explanation(
        "queued", reasons=(WhyLine("is busy", ("elm", "ash"), 23),), ahead=3, seconds=240.0, basis="5 builds",
        nearest_artifact=found(), differences=("utf8 is no",), nearest_server="oak lacks gcc",
    )  # fmt: skip
    card = would_card("arch=ppc", said, URLS)
    assert (card.what, card.differences, [row.more for row in card.rows]) == (
        "arch=ppc",
        ("utf8 is no",),
        ["and 21 more"],
    )
    assert "3 builds wait before this one." in card.notes
    assert "It may start in about 4 min (5 builds)." in card.notes
    assert "No known build server could ever build it. Nearest: oak lacks gcc." in card.notes
    assert card.links[-1].text.startswith("Nearest artifact:")


def test_where_nobody_knows_how_long_it_takes_that_is_said() -> None:
    for verdict in ("queued", "dispatched"):
        assert "Nobody knows yet how long it takes." in would_card("", explanation(verdict), URLS).notes
