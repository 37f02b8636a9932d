"""A port that is full makes room: who goes is decided by network, by what they do, and by how long they are silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from buildtool.adapters.network.connection_shares import ConnectionShares, ConnectionState, MemoryBudget, NoRoom
from buildtool.model.access.ceilings import Most
from buildtool.model.addresses import network_of

NETWORKS = st.sampled_from(["a", "b", "c"])


def full(*guests: tuple[str, ConnectionState, float]) -> ConnectionShares[int]:
    """Return a port that is full of guests: network, what they do, and since when they are silent."""
    port: ConnectionShares[int] = ConnectionShares(len(guests))
    for number, (network, standing, since) in sorted(enumerate(guests), key=lambda item: item[1][2]):
        port.arrived(number, network, since)
        port.stands(number, standing, since)
    return port


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2", "2001:db8::/64"),
        ("2001:db8:0:1::2", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("/run/socket", "/run/socket"),
    ],
)
def test_an_ipv6_network_is_one_and_an_ipv4_address_is_one_however_it_is_written(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_stranger_who_has_only_just_come_goes_after_one_who_wants_nothing() -> None:
    port = full(
        ("a", ConnectionState.STRANGER, 99.5), ("a", ConnectionState.IDLE, 50.0), ("a", ConnectionState.STRANGER, 90.0)
    )
    assert [port.make_room("a", 100.0)] == [2]
    port.arrived(3, "a", 100.0)
    assert port.make_room("a", 100.0) == 1
    port.arrived(4, "a", 100.0)
    assert port.make_room("a", 100.0) == 0


def test_a_network_of_many_addresses_counts_as_one_where_room_is_made() -> None:
    port: ConnectionShares[int] = ConnectionShares(20)
    for number in range(12):
        port.arrived(number, f"192.0.2.{number}", 0.0)
        port.stands(number, ConnectionState.BUSY, 99.0)
    for number in range(12, 20):
        port.arrived(number, "203.0.113.1", 0.0)
        port.stands(number, ConnectionState.BUSY, 99.0)
    gone = [port.make_room("198.51.100.1", 100.0)]
    port.arrived(20, "198.51.100.1", 100.0)
    port.stands(20, ConnectionState.BUSY, 100.0)
    gone.append(port.make_room("198.51.100.1", 100.0))
    assert all(one is not None and one < 12 for one in gone), "not who has most of one address"


def test_a_ceiling_makes_place_among_those_of_the_own_address_and_network_only() -> None:
    port: ConnectionShares[int] = ConnectionShares(100, lambda: Most(None, 2, 3))
    for number, network in enumerate(["192.0.2.1", "192.0.2.1", "192.0.2.2", "203.0.113.1", "127.0.0.1"]):
        port.arrived(number, network, float(number))
        port.stands(number, ConnectionState.IDLE, float(number))
    assert port.make_room("203.0.113.1", 100.0) is None
    assert port.make_room("127.0.0.1", 100.0) is None
    assert port.make_room("192.0.2.1", 100.0) == 0
    port.arrived(5, "192.0.2.9", 100.0)
    for number in (1, 2, 5):
        port.stands(number, ConnectionState.WAITS, 100.0)
    with pytest.raises(NoRoom, match=r"3 connections from the network 192.0.2.0/24 is reached: try again when"):
        port.make_room("192.0.2.77", 100.0)
    for number in range(6, 60):
        assert port.make_room("127.0.0.1", 100.0) is None, "this machine may be a proxy, behind which are all"
        port.arrived(number, "127.0.0.1", 100.0)


def test_one_that_should_read_and_does_not_goes_before_one_that_is_right_to_wait() -> None:
    port = full(("a", ConnectionState.WAITS, 0.0), ("a", ConnectionState.BUSY, 80.0), ("a", ConnectionState.BUSY, 95.0))
    assert port.make_room("a", 100.0) == 1
    port.arrived(3, "a", 100.0)
    port.stands(3, ConnectionState.WAITS, 100.0)
    with pytest.raises(NoRoom):
        port.make_room("a", 100.0)


@given(st.integers(3, 300), st.integers(3, 600))
def test_however_many_are_silent_all_who_talk_get_in_from_the_same_address_too(room: int, silent: int) -> None:
    """Each comes, says who they are, asks and goes, while those who say nothing stay."""
    port: ConnectionShares[object] = ConnectionShares(room)
    for number in range(silent):
        victim = port.make_room("a", 0.0)
        port.arrived(("silent", number), "a", 0.0)
        assert victim is None or victim[0] == "silent"  # type: ignore[index]
    for number in range(20):
        victim = port.make_room("a", 10.0 + number)
        assert victim is None or victim[0] == "silent"  # type: ignore[index]
        port.arrived(("honest", number), "a", 10.0 + number)
        port.stands(("honest", number), ConnectionState.IDLE, 10.0 + number)
        if number % 2:
            port.left(("honest", number))
            port.left(("honest", number - 1))


class Port(RuleBasedStateMachine):
    """Guests come from three networks, do things and go; the port has room for six."""

    guests = Bundle("guests")

    def __init__(self) -> None:
        super().__init__()
        self.port: ConnectionShares[int] = ConnectionShares(6)
        self.now = 0.0
        self.number = 0
        self.model: dict[int, tuple[str, ConnectionState, float]] = {}

    @rule(seconds=st.floats(0.0, 20.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=guests, network=NETWORKS)
    def come(self, network: str) -> int:
        self.number += 1
        before = dict(self.model)
        try:
            victim = self.port.make_room(network, self.now)
        except NoRoom:
            assert len(before) == 6
            counts = self._counts()
            assert max(counts.values()) <= counts.get(network, 0) + 1
            for _, standing, heard in before.values():
                assert standing in (ConnectionState.BUSY, ConnectionState.WAITS)
                assert standing is ConnectionState.WAITS or self.now - heard < 10.0
            return -1
        if victim is None:
            assert len(before) < 6
        else:
            self._check(before, victim, network)
            del self.model[victim]
        self.port.arrived(self.number, network, self.now)
        self.model[self.number] = network, ConnectionState.STRANGER, self.now
        return self.number

    def _counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for network, _, _ in self.model.values():
            found[network] = found.get(network, 0) + 1
        return found

    def _check(self, before: dict[int, tuple[str, ConnectionState, float]], victim: int, network: str) -> None:
        assert len(before) == 6
        counts = self._counts()
        theirs, standing, heard = before[victim]
        idle = {name for name, doing, _ in before.values() if doing in (ConnectionState.STRANGER, ConnectionState.IDLE)}
        if standing in (ConnectionState.STRANGER, ConnectionState.IDLE):
            assert counts[theirs] == max(counts[name] for name in idle)
        else:
            assert not idle, "idle ones go first"
            assert (standing is ConnectionState.BUSY and self.now - heard >= 10.0) or (
                counts[theirs] == max(counts.values()) > counts.get(network, 0) + 1
            )
        alike = [silent for name, doing, silent in before.values() if (name, doing) == (theirs, standing)]
        assert heard == min(alike), "the longest silent goes first"

    @rule(guest=guests, standing=st.sampled_from(ConnectionState))
    def do(self, guest: int, standing: ConnectionState) -> None:
        self.port.stands(guest, standing, self.now)
        if guest in self.model:
            self.model[guest] = self.model[guest][0], standing, self.now

    @rule(guest=guests)
    def talk(self, guest: int) -> None:
        self.port.heard(guest, self.now)
        if guest in self.model:
            self.model[guest] = *self.model[guest][:2], self.now

    @precondition(lambda self: self.model)
    @rule(guest=consumes(guests))
    def go(self, guest: int) -> None:
        assert self.port.left(guest) is (self.model.pop(guest, None) is not None)

    @invariant()
    def counts_agree(self) -> None:
        assert set(self.port) == set(self.model)
        assert len(self.port) == len(self.model) <= 6
        for network in ("a", "b", "c"):
            assert self.port.of(network) == self._counts().get(network, 0)


TestPort = Port.TestCase


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 100)), max_size=60))
def test_memory_is_never_above_the_budget_and_the_largest_of_the_largest_network_goes(
    changes: list[tuple[int, int]],
) -> None:
    budget: MemoryBudget[int] = MemoryBudget(200)
    model: dict[int, int] = {}
    for connection, size in changes:
        budget.takes(connection, f"net{connection % 3}", size)
        model[connection] = size
        while (worst := budget.too_much()) is not None:
            networks = {name: sum(n for c, n in model.items() if c % 3 == name) for name in range(3)}
            assert networks[worst % 3] == max(networks.values())
            assert model[worst] == max(n for c, n in model.items() if c % 3 == worst % 3)
            budget.takes(worst, f"net{worst % 3}", 0)
            model[worst] = 0
        assert budget.total == sum(model.values()) <= 200
        assert all(budget.of(f"net{name}") == sum(n for c, n in model.items() if c % 3 == name) for name in range(3))
