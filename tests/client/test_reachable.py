"""What a farm answers over HTTP leads to its one address, whatever the farm says of its transfer port."""

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.client.farm_urls import read_farm_url
from buildtool.client.groups import BuildGroup
from buildtool.client.reachable import reachable
from buildtool.errors import BadOffset, DecodeError, NotFound
from buildtool.protocol import codec
from buildtool.protocol.messages import Explanation, FoundArtifact, RequestStatus, RequestStatuses
from tests import messages
from tests.client.farms import ClientWorld
from tests.messages import waiting
from tests.support.lanes import examples
from tests.web.farm import LOG

URL = read_farm_url("https://farm.example.org/farm")


@given(st.integers(1, 10**17), st.integers(0, 10**8))
def test_the_log_of_an_attempt_is_asked_for_by_its_numbers(build_id: int, attempt: int) -> None:
    there = URL.log_at(f"http://10.0.0.1:8022/logs/{build_id}/{attempt}")
    assert there == f"https://farm.example.org/farm/api/v1/builds/{build_id}/log?attempt={attempt}"
    assert URL.read_log(there) == (build_id, attempt)
    assert URL.log_at(there) == there, "what leads there already stays as it is"


@pytest.mark.parametrize("url", ["", "x", "http://a/logs/1/x", "http://a/logs/1", "/logs/1/2/index", "/log/1/2"])
def test_an_address_that_is_no_log_s_stays_as_it_is(url: str) -> None:
    assert URL.log_at(url) == url
    assert URL.read_log(url) is None


@settings(max_examples=examples(25))
@given(messages.ALL["FoundArtifact"], messages.ALL["Explanation"])
def test_every_artifact_is_fetched_from_the_farm_that_was_asked(found: FoundArtifact, said: Explanation) -> None:
    there = f"{URL.api}/artifacts/{found.digest}"
    told = reachable(RequestStatuses((waiting(artifact=found),)), URL).items[0]
    assert told.artifact == evolve(found, url=there)
    assert reachable(evolve(said, artifact=found), URL).artifact == evolve(found, url=there)
    assert reachable(evolve(said, artifact=None, nearest_artifact=None), URL) == evolve(
        said, artifact=None, nearest_artifact=None
    )


def test_builds_lead_to_their_artifacts_at_the_farm_that_was_asked() -> None:
    at = ClientWorld()
    builds = BuildGroup(at.api())
    listed = [one for one in at.do(builds.list()).builds if one.artifact is not None]
    shown = [at.do(builds.show(one.id)).build for one in listed]
    assert listed
    for one in (*listed, *shown):
        assert one.artifact is not None
        assert one.artifact.url == at.api().url.artifact(one.artifact.digest)


def test_a_status_that_is_asked_for_has_its_log_at_the_farm_s_address() -> None:
    at = ClientWorld()
    api = at.api()
    told = evolve(waiting(), log_url="http://10.0.0.1:8022/logs/7/2")
    assert api.read(type("Said", (), {"plain": codec.encode(told)})(), RequestStatus).log_url == api.url.log(7, 2)


def test_a_log_is_read_from_a_byte_on_searched_and_its_phases_are_told() -> None:
    at = ClientWorld()
    at.world.logs.logs[3, 2] = LOG.encode()
    builds = BuildGroup(at.api())
    assert at.do(builds.log(3)).data == LOG.encode()
    part = at.do(builds.log(3, attempt=2, start=3))
    assert (part.data, part.finished) == (LOG.encode()[3:], True)
    assert at.do(builds.search_log(3, "ERROR")).lines == (2, 3)
    assert at.do(builds.search_log(3, "ERROR", case=True)).lines == ()
    index = at.do(builds.log_index(3))
    assert (index.length, index.lines, index.error_count) == (len(LOG), 3, 2)
    assert at.do(builds.log_index(3, start=index.next)).errors == ()
    with pytest.raises(BadOffset) as caught:
        at.do(builds.log(3, start=len(LOG) + 1))
    assert caught.value.length == len(LOG)
    with pytest.raises(NotFound, match="there is no build 99"):
        at.do(builds.log(99))
    with pytest.raises(DecodeError, match="one line"):
        at.do(builds.search_log(3, "a\nb"))
