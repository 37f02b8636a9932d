"""Places for streams: one network may have all that no other wants."""

import pytest
from attrs import define

from buildtool.errors import LimitReached
from buildtool.web.live.places import StreamPlaces


@define(eq=False)
class One:
    ended: bool = False

    def end(self) -> None:
        self.ended = True


def test_who_has_most_makes_room_the_longest_there_first() -> None:
    places = StreamPlaces(4)
    many = [One() for _ in range(4)]
    left = [places.take("192.0.2.7", one) for one in many]
    with pytest.raises(LimitReached, match="4 pages are live already"):
        places.take("192.0.2.8", One())  # a neighbour, who counts as one with them
    places.take("198.51.100.1", One())
    assert [one.ended for one in many] == [True, False, False, False]
    left[0]()
    assert len(places) == 4
    left[1]()
    left[1]()
    assert len(places) == 3
