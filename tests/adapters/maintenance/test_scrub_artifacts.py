"""The scrubber reads every artifact within a week, at a bounded rate, and takes the damaged ones out of the cache."""

import json

from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.maintenance import scrub_artifacts
from buildtool.adapters.maintenance.scrub_artifacts import FASTEST, OVERHEAD, PIECE, REST, SLOWEST, ArtifactScrub, rate
from tests.adapters.maintenance import states
from tests.adapters.maintenance.keeping import KeepingCase
from tests.adapters.maintenance.states import DIGEST, soil, stored
from tests.support.inline import run

WEEK = 7 * 86_400.0


@given(st.integers(0, 10**7), st.integers(0, 10**14))
def test_whatever_a_farm_holds_all_of_it_is_read_within_a_week_or_at_the_fastest_rate(count: int, size: int) -> None:
    speed = rate(count, size)
    assert SLOWEST <= speed <= FASTEST
    assert (size + count * OVERHEAD) / speed <= WEEK or speed == FASTEST


class TestScrub(KeepingCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[tuple[str, str]] = []
        self.scrub = ArtifactScrub(self.database, self.removal, self.damaged)

    async def damaged(self, digest: str, what: str) -> None:
        self.told.append((digest, what))

    def make(self, *contents: bytes) -> list[str]:
        """More artifacts."""
        self.commit(*(states.artifact(states.DONE, number, data) for number, data in enumerate(contents, 2)))
        return [states.put(self.artifacts, number, data) for number, data in enumerate(contents, 2)]

    def test_sound_artifacts_are_read_again_every_day_and_nothing_is_said(self) -> None:
        self.task(self.scrub.round_)
        self.pass_time(3 * REST, 60.0)
        assert self.told == []

    def test_one_wrong_byte_anywhere_is_found_though_size_and_time_are_as_they_were(self) -> None:
        digests = self.make(b"x" * (3 * PIECE + 5), b"y" * PIECE, b"")
        soil(stored(self.state, digests[0]), 2 * PIECE + 1)
        soil(stored(self.state, digests[1]), 0)
        self.task(self.scrub.round_)
        self.pass_time(60)
        assert self.told == [(digest, "its bytes differ from their digest") for digest in digests[:2]]

    def test_it_reads_no_faster_than_its_rate(self) -> None:
        size = 40 * PIECE
        (digest,) = self.make(b"z" * size)
        soil(stored(self.state, digest))
        self.task(self.scrub.round_)
        self.pass_time(size / SLOWEST, 0.25)
        assert self.told == []
        self.pass_time(5, 0.25)
        assert [found for found, _ in self.told] == [digest]

    def test_after_a_restart_it_goes_on_where_it_was(self) -> None:
        self.patch(scrub_artifacts, "_NEXT", scrub_artifacts._NEXT.limit(1))
        digests = self.make(b"first", b"second")
        for digest in digests:
            soil(stored(self.state, digest))
        task = self.task(self.scrub.round_)
        while not self.told:
            self.clock.advance(0.1)
        run(task.stop())
        noted = json.loads((self.state / "scrub").read_text())["after"]
        assert noted in (1, 2)
        again = ArtifactScrub(self.database, self.removal, self.damaged)
        self.told.clear()
        (self.state / "scrub").write_text('{"after": 2}')
        self.task(again.round_)
        self.pass_time(10)
        assert [digest for digest, _ in self.told] == digests[1:]

    def test_a_note_that_cannot_be_read_begins_a_new_round(self) -> None:
        soil(stored(self.state))
        (self.state / "scrub").write_bytes(b'{"aft')
        self.task(self.scrub.round_)
        self.pass_time(10)
        assert [digest for digest, _ in self.told] == [DIGEST]

    def test_what_is_withdrawn_or_not_there_is_left_to_others(self) -> None:
        stored(self.state).unlink()
        self.task(self.scrub.round_)
        self.pass_time(60)
        assert self.told == []
