"""Joining, and connecting as who has joined: certificates are renewed in time, and a wrong clock is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.tls.certificates import (
    FARM,
    Identified,
    certificate_text,
    key_id,
    new_authority,
    new_key,
    server_certificate,
)
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.adapters.tls.words import skew_words, time_words
from buildtool.errors import Unauthorised, Unavailable, UsageError
from buildtool.model.access.join_line import read_join_line
from buildtool.model.access.metaserver_addresses import read_addresses
from buildtool.model.principal import PrincipalRole
from buildtool.programs.common.joining import FarmEndpoint, join, said_join_line
from buildtool.programs.common.reaching import reach
from buildtool.protocol.enrolment import RevokeOne
from tests.adapters.control.test_gateway_identities import DAY, OPERATOR, KeyedCase

YEAR = 365 * DAY


class JoinedCase(KeyedCase):
    """A farm that this side has joined, as who it connects."""

    async def _farm(self, life: float = 30 * DAY, **said: Any) -> FarmEndpoint:
        from twisted.internet import reactor

        await self._serve(life)
        self.accounts.rejoin_within = lambda: 20 * YEAR
        store = CredentialStore(self._path("identity"))
        roles = [PrincipalRole.BUILD_SERVER]
        own = await join(reactor, read_join_line(await self._invite()), store, roles)  # type: ignore[arg-type] # the real one
        return FarmEndpoint(reactor, store, own, **said)  # type: ignore[arg-type] # as above

    async def _login(self, farm: FarmEndpoint) -> Session:
        from twisted.internet import reactor

        there = farm.with_key(self._endpoint(), "127.0.0.1")
        session = await greet(there, "there", "build server", IReactorTime(reactor))
        self.addCleanup(session.close)
        farm.let_in()
        return session

    async def _greeted(self, farm: FarmEndpoint, roots: Path) -> Session:
        from twisted.internet import reactor

        at = f"tls:127.0.0.1:{self.port}:trustRoots={roots}"
        there = reach(reactor, read_addresses(at, "--host"), farm)  # type: ignore[arg-type] # the real one
        session = await greet(there.ways, there.where, "build server", IReactorTime(reactor))
        self.addCleanup(session.close)
        return session

    async def test_whoever_says_which_authorities_to_believe_still_shows_the_own_key(self) -> None:
        """A config.py for everybody names the farm's authority in its host, and each has joined with a line."""
        farm, roots = await self._farm(), Path(self._path("roots"))
        roots.mkdir(parents=True)
        (roots / "farm.pem").write_bytes(certificate_text(farm.own.believed))
        await self._greeted(farm, roots)
        (roots / "farm.pem").write_bytes(certificate_text([new_authority(f"{FARM}2", DAY).certificate]))
        with pytest.raises(Unavailable, match="of no authority in trustRoots="):
            await self._greeted(farm, roots)

    async def test_who_has_joined_goes_on_to_know_the_farm_by_its_key_where_a_companys_authority_is_named(self) -> None:
        """It signed the certificate that the operator brought, so that newcomers can log in; a key says more."""
        farm, roots = await self._farm(), Path(self._path("roots"))
        roots.mkdir(parents=True)
        (roots / "company.pem").write_bytes(certificate_text([new_authority("Company CA", DAY).certificate]))
        session = await self._greeted(farm, roots)
        self.assertEqual(session.theirs.authority, self.authority.fingerprint)
        farm.own = evolve(farm.own, believed=(new_authority(f"{FARM}2", DAY).certificate,))
        with pytest.raises(Unavailable, match="by TLS"):
            await self._greeted(farm, roots)

    def _shown_in(self, seconds: float) -> None:
        """Show a certificate that is made in so many seconds, as to a client whose clock is wrong by that."""
        key, when = new_key(), self.now.wall() + seconds
        signer = self.authority._signers[-1].identified
        shown = Identified(key, server_certificate(signer, key.public_key(), ["127.0.0.1"], when, DAY))
        self.tls.take(shown, self.authority.chain(self.now.wall()), self.authority.believed(self.now.wall()))

    async def test_how_to_speak_to_transfers_is_made_once_until_there_is_another_certificate(self) -> None:
        farm = await self._farm()
        first = farm.transfers("127.0.0.1", 443)
        assert first is not None
        assert farm.transfers("127.0.0.1", 443) is first
        assert farm.transfers("elsewhere", 443) is None
        farm.own = evolve(farm.own, identified=evolve(farm.own.identified))
        second = farm.transfers("127.0.0.1", 443)
        assert second is not first
        assert second is not None
        assert second.identity is farm.own.identified

    async def test_a_certificate_is_renewed_at_two_thirds_of_its_life_before_it_is_shown(self) -> None:
        times = [self._wall()]
        farm = await self._farm(clock=lambda: times[0])
        first = farm.own.identified
        assert 3_500 < await farm.keep_fresh() <= 3_600
        await self._login(farm)
        assert farm.own.identified == first
        times[0] = first.renew_at() + 1
        self.now.moved = times[0] - self._wall()
        assert await farm.keep_fresh() > 1
        assert key_id(farm.own.identified.key) == key_id(first.key)
        assert farm.own.identified.ends() > first.ends()
        found = farm.store.load()
        assert found is not None
        assert found.identified.certificate == farm.own.identified.certificate

    async def test_of_machines_that_joined_at_once_each_renews_when_it_has_drawn(self) -> None:
        times, drawn = [self._wall()], iter((1.0, 0.5, 0.25))
        farm = await self._farm(clock=lambda: times[0], draw=lambda: next(drawn))
        first = farm.own.identified
        times[0] = (first.renew_at(1.0) + first.renew_at(0.9)) / 2
        self.now.moved = times[0] - self._wall()
        await farm.keep_fresh()
        second = farm.own.identified
        assert second != first, "it drew to be the first"
        times[0] = (second.renew_at(1.0) + second.renew_at(0.6)) / 2
        await farm.keep_fresh()
        assert farm.own.identified == second, "another number is drawn for the next certificate"

    async def test_while_the_metaserver_is_away_a_certificate_that_is_due_goes_on_to_be_used(self) -> None:
        times = [self._wall()]
        farm = await self._farm(clock=lambda: times[0])
        times[0] = farm.own.identified.renew_at() + 1
        await self.listening.stopListening()
        delay = await farm.keep_fresh()
        assert 1 <= delay <= 60
        with pytest.raises(Unavailable, match="nothing listens there"):
            await self._login(farm)
        times[0] = farm.own.identified.ends() + 1
        assert await farm.keep_fresh() == 60

    async def test_a_login_that_was_refused_since_the_certificate_had_expired_there_renews_it_for_the_next(
        self,
    ) -> None:
        """The own clock is slow: by it the certificate still holds."""
        farm = await self._farm(life=DAY, logs_in=True)
        self.now.moved = 2 * DAY
        with pytest.raises(Unauthorised, match="has expired by the metaserver's clock"):
            await self._login(farm)
        assert farm.skew == 0
        with pytest.raises(Unavailable, match="clock"):
            await self._login(farm)  # what was made now has not begun by this machine's clock, which is the test's too
        assert farm.skew == pytest.approx(2 * DAY, abs=30)

    async def test_a_clock_that_is_slow_by_years_is_told_and_renews_all_the_same(self) -> None:
        farm = await self._farm(logs_in=True)
        self._shown_in(3 * YEAR)
        with pytest.raises(Unavailable, match=r"that clock is 1095 days slow or more, set it"):
            await self._login(farm)
        self.now.moved = 3 * YEAR
        with pytest.raises(Unavailable, match=r"this machine's clock is 1095 days slow \(it says .*\): set it"):
            await self._login(farm)

    async def test_a_clock_that_is_fast_by_years_is_told_and_renews_all_the_same(self) -> None:
        farm = await self._farm(logs_in=True)
        self._shown_in(-3 * YEAR)
        with pytest.raises(Unavailable, match=r"that clock is 1094 days fast or more, set it"):
            await self._login(farm)
        self.now.moved = -3 * YEAR
        with pytest.raises(Unavailable, match=r"this machine's clock is 1095 days fast \(it says .*\): set it"):
            await self._login(farm)

    async def test_whoever_was_revoked_is_told_so_when_the_certificate_is_due(self) -> None:
        times = [self._wall()]
        farm = await self._farm(clock=lambda: times[0])
        await self._login(farm)
        await self.accounts.revoke(OPERATOR, RevokeOne("anna", "it was sold"))
        times[0] = farm.own.identified.ends() + YEAR
        with pytest.raises(Unauthorised, match="it was sold"):
            await self._login(farm)

    def _wall(self) -> float:
        import time

        return time.time()


def test_clocks_that_differ_a_little_are_nothing_to_tell() -> None:
    assert skew_words(60, 1e9) == ""
    assert "slow" in skew_words(600, 1e9)
    assert "fast" in skew_words(-600, 1e9)


def test_how_far_a_clock_is_off_at_least_follows_from_the_certificate_and_exactly_from_the_metaserver() -> None:
    life = (1e9, 1e9 + DAY)
    assert "10 days slow or more" in time_words(life, 1e9 - 10 * DAY)
    assert "9 days fast or more" in time_words(life, 1e9 + 10 * DAY)
    assert time_words(life, 1e9, 12 * DAY).startswith("this machine's clock is 12 days slow")


@pytest.mark.parametrize(("said", "words"), [("", "is empty"), ("/dev/zero", "no line to join with")])
def test_a_line_that_is_empty_or_has_no_end_is_refused(said: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script whose variable is empty would otherwise start a build server that nobody lets in."""
    monkeypatch.delenv("BUILDTOOL_JOIN", raising=False)
    with pytest.raises(UsageError, match=words):
        said_join_line(said)
    assert said_join_line(None) is None
