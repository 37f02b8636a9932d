"""A build's commit on its way from the metaserver to a build server that cannot have it from its origin."""

import os
from pathlib import Path

import pytest

from buildtool.adapters.http import transfer_client
from buildtool.errors import BadTicket, BadUpload, BuildToolError, NotFound, TooLong, Unavailable
from buildtool.model.tickets import TicketKind
from buildtool.ports.metaserver import BeingMade, Bundle
from buildtool.protocol.source_parts import SourceKind, SourcePart
from tests.adapters.http.transfers import TransferCase, digest_of, ticket
from tests.support.rewriting import rewrite

DATA = os.urandom(700_000)


class SourceTests(TransferCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.patch(transfer_client, "COPY_PAUSE", 0.01)
        self.file = self.state / "a.bundle"
        self.file.write_bytes(DATA)
        self.made = Bundle(self.file, len(DATA), digest_of(DATA))
        self.errors: list[BuildToolError] = []
        self.target = self.state / "copy"
        self.most = 10**9
        self.asked: list[SourcePart] = []

    async def bundle(self, build_id: int, _part: SourcePart) -> Bundle:
        self.assertEqual(build_id, 7)
        self.asked.append(_part)
        if self.errors:
            raise self.errors.pop(0)
        return self.made

    @property
    def words(self) -> dict[str, str]:
        return {"Authorization": f"Ticket {ticket(TicketKind.SOURCE, max_bytes=self.most)}"}

    async def fetch(self) -> None:
        text = ticket(TicketKind.SOURCE, max_bytes=self.most)
        await self.client.fetch_copy(f"{self.base}/sources/7/1", text, self.target)

    async def test_it_is_given_to_who_has_the_ticket_whole_or_from_any_place(self) -> None:
        code, headers, body = await self.ask("GET", "/sources/7/1", self.words)
        self.assertEqual((code, body), (200, DATA))
        self.assertEqual((headers["ETag"], headers["Source-Length"]), (f'"{digest_of(DATA)}"', str(len(DATA))))
        self.assertEqual(headers["Cache-Control"], "no-store")
        code, _, body = await self.ask("GET", "/sources/7/1", {**self.words, "Range": "bytes=1000-"})
        self.assertEqual((code, body), (206, DATA[1000:]))
        code, headers, body = await self.ask("HEAD", "/sources/7/1", self.words)
        self.assertEqual((code, body, headers["Source-Length"]), (200, b"", str(len(DATA))))

    async def test_the_address_says_which_part_is_wanted_and_what_is_none_is_refused(self) -> None:
        for part in (
            SourcePart(),
            SourcePart(SourceKind.TAGS),
            SourcePart(SourceKind.COMMIT, ("lib",)),
            SourcePart(SourceKind.TAGS, ("a b/c&d=\udcff%", "\u00e9+")),
        ):
            self.asked.clear()
            code, _, _ = await self.ask("GET", f"/sources/7/1{part.address()}", self.words)
            self.assertEqual((code, self.asked), (200, [part]))
        self.asked.clear()
        for query in ("x=1", "inside=", "inside=%00", "inside", "&".join(["inside=a"] * 21), f"inside={'a' * 4097}"):
            self.assertEqual((await self.ask("GET", f"/sources/7/1/tags?{query}", self.words))[0], 400, query)
        self.assertEqual((await self.ask("GET", "/sources/7/1/else", self.words))[0], 404)
        self.assertEqual(self.asked, [])

    async def test_nobody_else_gets_it(self) -> None:
        for words, code in (
            ({}, 401),
            ({"Authorization": "Ticket nonsense"}, 401),
            ({"Authorization": f"Ticket {ticket(TicketKind.LOG)}"}, 403),
            ({"Authorization": f"Ticket {ticket(TicketKind.ARTIFACT)}"}, 403),
        ):
            self.assertEqual((await self.ask("GET", "/sources/7/1", words))[0], code)
        self.assertEqual((await self.ask("GET", "/sources/8/1", self.words))[0], 403)
        self.assertEqual((await self.ask("PUT", "/sources/7/1", self.words, b"x"))[0], 405)
        self.ended.add((7, 1))
        self.assertEqual((await self.ask("GET", "/sources/7/1", self.words))[0], 404)

    async def test_a_ticket_for_sources_is_good_for_nothing_else(self) -> None:
        self.assertEqual((await self.ask("POST", "/logs/7/1", {**self.words, "Upload-Offset": "0"}, b"x"))[0], 403)

    async def test_a_build_server_waits_until_it_is_made_and_has_it_then(self) -> None:
        self.errors = [BeingMade("later"), BeingMade("later")]
        await self.fetch()
        self.assertEqual(self.target.read_bytes(), DATA)

    async def test_what_broke_off_goes_on_where_it_was(self) -> None:
        part = Path(f"{self.target.parent}/.{self.target.name}.{digest_of(DATA)[:16]}.part")
        part.write_bytes(DATA[:300_000])
        await self.fetch()
        self.assertEqual(self.target.read_bytes(), DATA)
        self.assertFalse(part.exists())

    async def test_it_is_asked_for_again_when_the_metaserver_was_busy_or_packed_it_anew(self) -> None:
        self.errors = [Unavailable("busy"), Unavailable("busy")]
        await self.fetch()
        self.assertEqual(self.target.read_bytes(), DATA)
        other = os.urandom(500)
        self.file.write_bytes(other)
        self.made = Bundle(self.file, len(other), digest_of(other))
        await self.fetch()
        self.assertEqual(self.target.read_bytes(), other)

    async def test_what_is_not_what_was_promised_is_not_kept(self) -> None:
        rewrite(self.file, DATA[:-1] + bytes([DATA[-1] ^ 1]))
        with pytest.raises(BadUpload):
            await self.fetch()
        self.assertFalse(self.target.exists())

    async def test_what_is_not_there_too_large_or_not_allowed_is_said_at_once(self) -> None:
        self.errors = [NotFound("nothing of the kind"), NotFound("nothing of the kind")]
        with pytest.raises(NotFound, match="nothing of the kind"):
            await self.fetch()
        self.most = 1000
        with pytest.raises(TooLong):
            await self.fetch()
        with pytest.raises(BadTicket):
            await self.client.fetch_copy(f"{self.base}/sources/7/1", "nonsense", self.target)
