"""Whom somebody believes who logs in: over real sockets, as the metaserver's own certificate or the farm's is shown."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from buildtool.adapters.tls.certificates import (
    certificate_text,
    key_id,
    new_authority,
    new_key,
    server_certificate,
)
from buildtool.adapters.tls.own_certificate import OwnCertificate
from buildtool.errors import Unauthorised, Unavailable, UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, read_addresses
from buildtool.programs.startcompile.logging_in import Login, believed_authority, in_turn
from tests.adapters.control.test_gateway_identities import KeyedCase


class BelievingTests(KeyedCase):
    async def _believed(self, said: str) -> str:
        from twisted.internet import reactor

        (address,) = read_addresses(said, "--host")
        return await believed_authority(reactor, address)  # type: ignore[arg-type] # it is the real one

    def _bring(self) -> None:
        """Show others a certificate of an authority that the system believes, as an operator may."""
        public, key = new_authority("Public Trust", time.time()), new_key()
        roots = self._path("system.pem")
        roots.parent.mkdir()
        roots.write_bytes(certificate_text([public.certificate]))
        before = os.environ.get("SSL_CERT_FILE")
        self.addCleanup(lambda: os.environ.pop("SSL_CERT_FILE") and before and os.environ.update(SSL_CERT_FILE=before))
        os.environ["SSL_CERT_FILE"] = str(roots.absolute())
        self.tls.take_own(
            OwnCertificate(key, server_certificate(public, key.public_key(), ["localhost"], time.time()), ())
        )

    async def test_a_metaserver_with_a_public_certificate_says_what_later_connections_check(self) -> None:
        await self._serve()
        self._bring()
        with pytest.MonkeyPatch.context() as patch:
            told: list[str] = []
            patch.setattr("buildtool.programs.startcompile.logging_in.complain", told.append)
            for said in (f"tls:localhost:{self.port}", f"tls:127.0.0.1:{self.port}"):
                self.assertEqual(await self._believed(said), self.authority.fingerprint)
        self.assertIn("shows a certificate that is believed here", told[0])
        self.assertIn("trusted at first use", told[1], "its certificate is for another host")
        self.assertTrue(all(f"sha256:{self.authority.fingerprint}" in line for line in told), told)

    async def test_authorities_that_the_address_names_are_believed_and_no_others(self) -> None:
        await self._serve()
        roots = self._path("roots")
        roots.mkdir(parents=True)
        (roots / "a.pem").write_bytes(certificate_text(list(self.authority.believed(self.now.wall()))))
        said = f"tls:127.0.0.1:{self.port}:trustRoots={roots}"
        self.assertEqual(await self._believed(said), self.authority.fingerprint)
        (roots / "a.pem").write_bytes(certificate_text([new_authority("other", time.time()).certificate]))
        with pytest.raises(Unavailable, match="of no authority in trustRoots="):
            await self._believed(said)

    async def test_where_nothing_answers_nobody_is_believed(self) -> None:
        await self._serve()
        await self.listening.stopListening()
        with pytest.raises(Unavailable, match="nothing listens there"):
            await self._believed(f"tls:127.0.0.1:{self.port}")

    async def test_a_fingerprint_is_the_authoritys_and_not_the_certificates(self) -> None:
        await self._serve()
        self.assertNotEqual(key_id(self.tls.identity.certificate), self.authority.fingerprint)


def outcome(do: Awaitable[str]) -> str:
    found: list[str] = []
    waiting: Deferred[str] = ensureDeferred(do)  # type: ignore[arg-type] # a coroutine
    waiting.addCallback(found.append)
    waiting.addErrback(lambda failure: failure.raiseException())
    return found[0]


def trying(**errors: Exception) -> Callable[[MetaserverAddress], Awaitable[str]]:
    async def do(address: MetaserverAddress) -> str:
        if address.host in errors:
            raise errors[address.host]
        return address.host

    return do


ADDRESSES = read_addresses("tls:a:1,tls:b:2,tls:c:3", "--host")


def test_addresses_are_tried_until_one_answers() -> None:
    assert outcome(in_turn(ADDRESSES, trying(a=Unavailable("no a")))) == "b"


def test_a_refusal_ends_the_search_and_what_answers_nowhere_is_told_of_all() -> None:
    async def told(**errors: Exception) -> str:
        try:
            return await in_turn(ADDRESSES, trying(**errors))
        except (Unauthorised, Unavailable) as error:
            return f"{type(error).__name__}: {error}"

    assert outcome(told(a=Unavailable("no a"), b=Unauthorised("go away"))) == "Unauthorised: go away"
    every = {name: Unavailable(f"no {name}") for name in "abc"}
    assert outcome(told(**every)) == "Unavailable: no a; no b; no c"


def test_no_key_is_asked_for_in_plain() -> None:
    login = Login.of("anna@example.org", "", "", wants_json=False)
    with pytest.raises(UsageError, match="tcp:h:1 is plain, and keys are given by TLS only: say tls:h:1"):
        login.run(None, read_addresses("tcp:h:1", "--host")).send(None)  # type: ignore[arg-type] # it is not asked
