"""Lists for programs: nothing that was typed becomes a formula, a tag or another column, and the same is the same."""

import csv
import io
import json
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.farm.deployment import Deployment
from buildtool.ports.pages import BuildLine, BuildsAsked, BuildsFound
from buildtool.web.pages import exports, words
from buildtool.web.urls import Urls
from tests.support.inline import run
from tests.web.farm import farm

URLS = Urls("http://farm.example/below", "http://farm.example:23433")
EVERY = run(farm().builds(BuildsAsked()))
ATOM = "{http://www.w3.org/2005/Atom}"


def hostile(text: str) -> BuildLine:
    return EVERY.lines[0]._replace(subject=text, ref=text, reason=text, options=(("label", text),))


@given(st.text() | st.sampled_from(["=1+1", "+1", "-1", "@SUM(1)", "\t=1", '","=1', "</title><script>", "\r\n=1"]))
def test_a_text_stays_one_text_in_every_form(text: str) -> None:
    found = BuildsFound((hostile(text),))
    names, row = csv.reader(io.StringIO(exports.as_csv(found, URLS), newline=""))
    assert tuple(names) == exports.COLUMNS
    assert len(row) == len(names)
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    (told,) = json.loads(exports.as_json(found, "", URLS))["builds"]
    assert told["subject"] == (words.without_addresses(text) or None)
    feed = ET.fromstring(exports.as_atom(found, text, URLS))  # noqa: S314 - our own
    assert [entry.find(f"{ATOM}id").text for entry in feed.iter(f"{ATOM}entry")] == [  # type: ignore[union-attr]
        f"http://farm.example/below/build/{found.lines[0].id}"
    ]


def test_links_are_whole_and_lead_on() -> None:
    found = BuildsFound(EVERY.lines[:3], more=True)
    last = found.lines[-1].id
    told = json.loads(exports.as_json(found, "state:failed", URLS))
    assert told["next"] == f"http://farm.example/below/builds.json?q=state%3Afailed&before={last}"
    assert [one["url"] for one in told["builds"]] == [f"http://farm.example/below/build/{it.id}" for it in found.lines]
    stopped = json.loads(exports.as_json(BuildsFound((), stopped=70), "", URLS))
    assert (stopped["searched_to"], stopped["next"]) == (70, "http://farm.example/below/builds.json?before=70")
    assert json.loads(exports.as_json(EVERY, "", URLS))["next"] is None


def test_addresses_are_masked_in_every_form() -> None:
    for text in (
        exports.as_csv(EVERY, URLS), exports.as_json(EVERY, "", URLS), exports.as_atom(EVERY, "", URLS),
    ):  # fmt: skip
        assert "ada@" not in text
        assert "grace@" not in text


def test_a_feed_says_whose_it_is() -> None:
    farm = Deployment("Old iron", "https://iron.example/farm", "ann@iron.example")
    feed = ET.fromstring(exports.as_atom(EVERY, "state:failed", URLS, farm))  # noqa: S314 - our own
    author = feed.find(f"{ATOM}author")
    assert author is not None
    assert [one.text for one in author] == ["Old iron", "https://iron.example/farm", "ann@iron.example"]
    assert feed.findtext(f"{ATOM}title") == "Old iron builds: state:failed"
