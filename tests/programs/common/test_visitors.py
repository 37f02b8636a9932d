"""Who visits over HTTP, what they may see there, and what may be kept for others on its way."""

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve, frozen
from twisted.internet.address import IPv4Address, IPv6Address

from buildtool.adapters.http.handling import Reads
from buildtool.configuration.port_settings import Front
from buildtool.configuration.settings import Settings
from buildtool.errors import Unauthorised
from buildtool.model.access.audience import NOBODY
from buildtool.model.access.proxies import Proxies, ProxyIdentity
from buildtool.model.access.rights import RIGHTS, Act
from buildtool.model.access.visitors import header_texts
from buildtool.model.farm.deployment import Deployment
from buildtool.model.principal import Principal, PrincipalRole, Scope
from buildtool.programs.common.visitors import HttpVisitors, transfer_reads
from tests.fakes_build import project
from tests.metaserver.test_build_servers import settings as configured
from tests.support.memory import MemoryStore, WallClock

PPC, X86 = (("arch", "ppc"), ("os", "linux")), (("arch", "x86_64"), ("os", "linux"))
VISITOR = Principal(PrincipalRole.VISITOR)
OPERATOR = Principal(PrincipalRole.OPERATOR, "anna")
PAINT = project().name


@frozen
class Transport:
    """A connection from an address, over which no certificate was shown."""

    host: str

    def getPeer(self) -> object:
        return (IPv6Address if ":" in self.host else IPv4Address)("TCP", self.host, 1)


def settings(rights: Mapping[str, Mapping[str, str]] | None = None, where: str = "", **changes: Any) -> Settings:
    return evolve(
        configured(),
        trusted="nobody",
        rights=RIGHTS.with_changes(rights or {}, where),
        projects=(project(**changes),),
        proxies=Proxies.of(("10.0.0.1",)),
    )


def visitors(found: Settings) -> HttpVisitors:
    return HttpVisitors(lambda: found, WallClock())


def reads(found: Settings) -> Reads:
    return transfer_reads(visitors(found), MemoryStore())


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "2001:db8::17", "2001:db8::/64"),
        ("2001:db8::17", "", "2001:db8::/64"),
    ],
)
def test_a_visitor_counts_for_the_network_that_they_or_a_proxy_of_the_farm_come_from(
    peer: str, forwarded: str, address: str
) -> None:
    told = {"X-Forwarded-For": [forwarded]} if forwarded else {}
    by = visitors(settings()).principal(Transport(peer), lambda name: told.get(name, []))
    assert by == Principal(PrincipalRole.VISITOR, address=address)


def said(email: str, peer: str, **more: list[str]) -> Principal:
    """Who visits where a header says so, over a connection from an address."""
    identity = ProxyIdentity.of({"header": "X-Forwarded-Email", "roles": {"anna@example.org": "operator"}})
    found = evolve(settings(), front=Front(identity))
    told = {"X-Forwarded-Email": [email], "X-Forwarded-For": ["192.0.2.7"], **more}
    return visitors(found).principal(Transport(peer), lambda name: told.get(name, []))


def test_who_logged_in_at_a_proxy_of_the_farm_is_who_it_says() -> None:
    by = said("anna@example.org", "10.0.0.1")
    assert (by.role, by.owner, by.address) == (PrincipalRole.OPERATOR, "anna@example.org", "192.0.2.7")
    assert said("ben@example.org", "10.0.0.1").role is PrincipalRole.REQUESTER
    assert said("", "10.0.0.1") == Principal(PrincipalRole.VISITOR, address="192.0.2.7")


@pytest.mark.parametrize("peer", ["192.0.2.7", "127.0.0.1", "10.0.0.2", "", "::1", "::ffff:192.0.2.1"])
def test_who_sends_the_header_and_is_no_proxy_of_the_farm_is_a_visitor(peer: str) -> None:
    by = said("anna@example.org", peer, **{"X-Forwarded-For": ["10.0.0.1", "10.0.0.1"]})
    assert (by.role, by.name, by.owner) == (PrincipalRole.VISITOR, "", "")


def test_a_proxy_says_an_address_of_any_script_as_it_is_written_and_no_other_bytes_are_one() -> None:
    assert header_texts(["jörg@example.org".encode(), b"anna@example.org"]) == ["jörg@example.org", "anna@example.org"]
    for values in ([b"j\xf6rg@example.org"], [b"anna@example.org, ben@example.org"], [b"a@b.example", b"c@d.example"]):
        with pytest.raises(Unauthorised):
            ProxyIdentity.of({"header": "Remote-User"}).said(header_texts(values))


def test_what_a_proxy_says_and_is_no_address_is_refused() -> None:
    with pytest.raises(Unauthorised, match="the proxy says in X-Forwarded-Email that this is 'anna', which is not"):
        said("anna", "10.0.0.1")


def test_everything_is_seen_only_by_who_is_limited_by_nothing_and_where_no_rule_is_about_a_part() -> None:
    on_ppc = {"operator": {"see log on ppc": "nothing"}}
    for found, by, act, seen in (
        (settings(), OPERATOR, Act.SEE_LOG, True),
        (settings(), VISITOR, Act.SEE_LOG, False),
        (settings(), evolve(OPERATOR, limits=Scope(platforms=("ppc",))), Act.SEE_LOG, False),
        (settings(), evolve(OPERATOR, limits=Scope(projects=(PAINT,))), Act.SEE_LOG, False),
        (settings(on_ppc), OPERATOR, Act.SEE_LOG, False),
        (settings(on_ppc), OPERATOR, Act.SEE_BUILD, True),
    ):
        assert visitors(found).sees_all(by, act) is seen, (by, act)


def test_what_is_of_a_platform_is_seen_as_its_rule_says() -> None:
    there = visitors(settings({"visitor": {"see log on ppc": "nothing"}}))
    assert there.sees(VISITOR, PAINT, Act.SEE_LOG, X86)
    assert not there.sees(VISITOR, PAINT, Act.SEE_LOG, PPC)
    limited = evolve(OPERATOR, limits=Scope(platforms=("ppc",)))
    assert not there.sees(limited, PAINT, Act.SEE_LOG, X86)


def test_artifacts_are_kept_for_others_only_where_a_visitor_without_a_key_may_fetch_every_one() -> None:
    assert reads(settings()).public()
    assert not reads(settings(visible_to=NOBODY)).public()
    for rule in ("see artifact", "see artifact on ppc"):
        assert not reads(settings({"visitor": {rule: "nothing"}})).public(), rule
    assert not reads(settings({"visitor": {"see artifact": "nothing"}}, PAINT)).public()
    assert reads(settings({"visitor": {"see log": "nothing"}, "observer": {"see artifact": "nothing"}})).public()


def test_what_farm_and_projects_say_of_themselves_is_what_the_settings_say_now() -> None:
    said = Deployment("Old iron", contact="ann@iron.example")
    found = visitors(evolve(settings(url="https://paint.example/"), deployment=said))
    assert found.deployment() == said
    assert (found.place(PAINT).url, found.place("gone").url) == ("https://paint.example/", "")
