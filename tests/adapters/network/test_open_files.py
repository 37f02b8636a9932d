"""A program raises its limit of open files itself, as far as it may."""

import resource
from collections.abc import Iterator

import pytest

from buildtool.adapters.network.open_files import ALL_PORTS, LEAST, allow_open, room_for


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """The limits as they are, to which the test's process returns."""
    found = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield found
    resource.setrlimit(resource.RLIMIT_NOFILE, found)


def test_a_low_limit_is_raised_to_what_is_needed(limits: tuple[int, int]) -> None:
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    assert allow_open(400) == 400
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)


def test_a_limit_is_never_lowered_and_never_raised_beyond_what_the_system_allows(limits: tuple[int, int]) -> None:
    soft, hard = limits
    assert allow_open(10) == soft
    if hard != resource.RLIM_INFINITY:
        assert allow_open(hard + 1) == hard


def test_ports_hold_as_many_connections_as_there_are_descriptors_for(limits: tuple[int, int]) -> None:
    """All of them together leave a part for files, however few there are."""
    _, hard = limits
    for soft in (64, 256, 1_024, 4_096):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        ports = [room_for(count) for count in (2_000, 400, 400)]
        assert sum(ports) <= soft - 32
        assert all(port >= LEAST for port in ports)
        assert room_for(3) == 3
    assert sum(ports) == ALL_PORTS
