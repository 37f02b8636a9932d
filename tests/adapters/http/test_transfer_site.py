"""The transfer port over real sockets: what is taken, what is refused and how, and what is given out."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from buildtool.adapters.http.logs import LOG_ANSWER
from buildtool.adapters.http.routes import HttpLimits
from buildtool.adapters.http.transfer_site import ROUTES
from buildtool.adapters.storage.logs import FRAME
from buildtool.model.access.rights import RIGHTS, Act, Extent
from buildtool.model.keeping.gone import GoneKind, Tombstone
from buildtool.model.logs.marks import LogMark, MarkKind
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Artifact, Build
from buildtool.model.servers import OfferKind
from buildtool.model.tickets import TicketKind
from buildtool.model.trust.evidence import Evidence, SandboxLevel
from buildtool.programs.common.visitors import HttpVisitors, transfer_reads
from buildtool.protocol.logs.marks import LOG_MARKS, marks_text
from tests.adapters.http.transfers import KEY, NOW, TransferCase, digest_of, head, parsed, promise, reactor, ticket
from tests.programs.common.test_visitors import settings
from tests.scheduling.worlds import spec
from tests.support.memory import MemoryStore, WallClock
from tests.support.rewriting import rewrite

DATA = bytes(range(256)) * 1000
DIGEST = digest_of(DATA)


@define
class AsRole(HttpVisitors):
    """Whoever asks is of this role."""

    role: PrincipalRole = PrincipalRole.STRANGER

    def principal(self, _transport: object, _headers: object) -> Principal:
        return Principal(self.role, "x")


@define
class Kept:
    """The upkeep, to which what is gone has expired for a reason, if there is one."""

    words: str = ""
    noticed: list[str] = field(factory=list)

    @property
    def rows(self) -> Any:
        return self

    async def tombstone(self, kind: GoneKind, number: int) -> Tombstone | None:
        rule = self.words.partition("rule: ")[2].rstrip(")")
        return Tombstone(kind, number, number, 1_795_132_800.0, rule) if self.words else None

    async def artifact_gone(self, _digest: str) -> str:
        return self.words

    def given_out(self, digest: str) -> None:
        self.noticed.append(digest)


class ActTests(TransferCase):
    """Every route names the act that each method is, and every role reaches exactly those that it may do."""

    async def setUp(self) -> None:  # type: ignore[override]
        here = settings()
        self.asks, store = AsRole(lambda: here, WallClock(NOW)), MemoryStore()
        self.transfers = self.reads = transfer_reads(self.asks, store)
        made = evolve(spec(), project=here.projects[0].name)
        artifact = Artifact(
            1, made.shelf, (), made.platform, OfferKind.NATIVE, 7, 1, "", DIGEST, "", len(DATA), "x.zip", 0.0
        )
        await store.commit([Build(7, made.key(), made, 1, 0.0), artifact], (), NOW)
        self.store, self.artifact = store, artifact
        await super().setUp()
        await self.upload(DATA)
        await self.artifacts.publish(7, 1, DIGEST, len(DATA))
        await self.logs.append(7, 1, 0, b"a log", 100)

    def test_every_route_names_an_act_for_each_method(self) -> None:
        for route in ROUTES:
            assert route.acts
            assert all(isinstance(act, Act) for act in route.acts.values()), route
        assert set(self.site._handlers) == {route.pattern for route in ROUTES}

    async def test_every_role_reaches_exactly_the_routes_whose_act_it_may_do(self) -> None:
        paths = ("/uploads/7/1", "/logs/7/1", "/logs/7/1/index", f"/artifacts/{DIGEST}/x.zip", "/sources/7/1")
        for route, path in zip(ROUTES, paths, strict=True):
            assert route.pattern.fullmatch(path)
            for method, act in route.acts.items():
                for role in PrincipalRole:
                    self.asks.role = role
                    code = (await self.ask(method, path, {"Content-Length": "0", "Upload-Offset": "0"}))[0]
                    may = act is not Act.SERVE and RIGHTS.extent(role, act) > Extent.NONE
                    refused = 401 if act is Act.SERVE else 404
                    assert code == (200 if may else refused), (method, path, role, code)

    async def test_an_artifact_that_was_made_in_less_than_is_demanded_is_not_given_out_and_a_line_says_why(
        self,
    ) -> None:
        self.asks.role = PrincipalRole.REQUESTER

        async def asked(query: str) -> tuple[int, bytes]:
            code, _, body = await self.ask("GET", f"/artifacts/{DIGEST}/x.zip{query}")
            return code, body if code != 200 else b""

        assert await asked("?sandbox=strict") == (404, b"what has that digest needs a strict sandbox, has none\n")
        assert await asked("?sandbox=none&sandbox=strict") == await asked("?sandbox=strict"), "the stricter counts"
        assert (
            (await asked("?sandbox="))[0] == (await asked("?sandbox=x"))[0] == (await asked("?" + "a&" * 101))[0] == 400
        )
        assert (await asked("?sandbox=none"))[0] == (await asked("?other=1"))[0] == 200
        again = evolve(self.artifact, id=2, evidence=Evidence(SandboxLevel.STRICT), withdrawn="it was wrong")
        await self.store.commit([again], (), NOW)
        assert (await asked("?sandbox=strict"))[0] == 404, "what was withdrawn says nothing"
        await self.store.commit([evolve(again, id=3, withdrawn="")], (), NOW)
        assert (await asked("?sandbox=strict"))[0] == 200, "the same bytes were made in a strict one too"

    async def test_what_expired_is_gone_and_the_line_says_why_and_what_is_given_out_is_noticed(self) -> None:
        self.asks.role = PrincipalRole.REQUESTER
        self.transfers.kept = kept = Kept()
        assert (await self.ask("GET", f"/artifacts/{DIGEST}/x.zip"))[0] == 200
        assert kept.noticed == [DIGEST]
        kept.words = "expired on 2026-11-20 (rule: r)"
        code, headers, body = await self.ask("GET", f"/artifacts/{'0' * 64}/x.zip")
        assert (code, body) == (410, b"this artifact expired on 2026-11-20 (rule: r)\n")
        assert headers["Not-Kept"] == "expired"
        for path in ("/logs/7/2", "/logs/7/2?offset=0&wait=9", "/logs/7/2/index", "/logs/7/2/search?q=x"):
            code, _, body = await self.ask("GET", path)
            assert (code, body) == (410, b"the log of build 7, attempt 2, expired on 2026-11-20 (rule: r)\n")
        assert (await self.ask("GET", "/logs/7/1"))[2] == b"a log"
        kept.words = ""
        assert (await self.ask("GET", "/logs/7/2"))[0] == (await self.ask("GET", f"/artifacts/{'0' * 64}/x"))[0] == 404

    async def test_a_method_that_names_no_act_is_none(self) -> None:
        for method, path in (("DELETE", "/logs/7/1"), ("PUT", f"/artifacts/{DIGEST}/x"), ("POST", "/uploads/7/1")):
            assert (await self.ask(method, path, {"Content-Length": "0"}))[0] == 405


class LineTests(TransferCase):
    async def test_a_line_that_is_too_long_is_answered_before_the_connection_ends(self) -> None:
        long = "a" * 20_000
        for request in (head("GET", f"/{long}", {"Host": "x"}), head("GET", "/", {"Host": "x", "X": long * 2})):
            code, _, body = await self.answer(request)
            assert (code, body) == (400, b"this is not a valid HTTP request\n")


class UploadTests(TransferCase):
    async def test_an_upload_is_taken_and_published(self) -> None:
        code, headers, _ = await self.upload(DATA)
        assert (code, headers["Upload-Offset"]) == (201, str(len(DATA)))
        await self.artifacts.publish(7, 1, DIGEST, len(DATA))
        assert self.stored(DIGEST).read_bytes() == DATA

    async def test_a_chunked_upload_is_taken(self) -> None:
        headers = {"Host": "x", "Connection": "close", "Transfer-Encoding": "chunked", **promise(0, len(DATA), DIGEST)}
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (DATA[:100], DATA[100:]))
        code, _, _ = await self.answer(head("PUT", "/uploads/7/1", headers) + body + b"0\r\n\r\n")
        assert code == 201
        assert self.incoming.read_bytes() == DATA

    async def test_one_connection_serves_several_requests(self) -> None:
        first = {**promise(0, 5, digest_of(b"bytes")), "Content-Length": "2"}
        talk = await self.talk(head("PUT", "/uploads/7/1", first))
        talk.say(b"by" + head("PUT", "/uploads/7/1", {**promise(2, 5, digest_of(b"bytes")), "Content-Length": "3"}))
        talk.say(b"tes" + head("HEAD", "/uploads/7/1", {"Authorization": f"Ticket {ticket()}", "Connection": "close"}))
        await talk.closed
        assert [talk.heard.count(mark) for mark in (b" 202 ", b" 201 ", b" 200 ")] == [1, 1, 1]

    async def test_a_cut_connection_leaves_what_came_and_the_next_goes_on_from_there(self) -> None:
        headers = {**promise(0, len(DATA), DIGEST), "Content-Length": str(len(DATA))}
        talk = await self.talk(head("PUT", "/uploads/7/1", headers) + DATA[:70_000])
        await self.arrived(70_000)
        talk.transport.abortConnection()  # type: ignore[union-attr]
        await talk.closed
        code, said, _ = await self.ask("HEAD", "/uploads/7/1", promise(0, len(DATA), DIGEST))
        assert (code, said["Upload-Offset"]) == (200, "70000")
        await self.restart()
        assert (await self.upload(DATA[70_000:], 70_000, len(DATA), DIGEST))[0] == 201
        await self.artifacts.publish(7, 1, DIGEST, len(DATA))
        assert self.stored(DIGEST).read_bytes() == DATA

    async def test_a_newer_connection_takes_over_from_one_that_hangs(self) -> None:
        """A link may be dead at the other end only: the machine that comes back must not wait for a time-out."""
        headers = {**promise(0, len(DATA), DIGEST), "Content-Length": str(len(DATA))}
        hanging = await self.talk(head("PUT", "/uploads/7/1", headers) + DATA[:50_000])
        await self.arrived(50_000)
        assert (await self.upload(DATA[50_000:], 50_000, len(DATA), DIGEST))[0] == 201
        await hanging.closed
        assert hanging.heard == b""
        assert self.incoming.read_bytes() == DATA

    async def test_two_uploads_of_two_builds_at_once_do_not_mix(self) -> None:
        other = DATA[::-1]
        first = {**promise(0, len(DATA), DIGEST), "Content-Length": "256000"}
        one = await self.talk(head("PUT", "/uploads/7/1", first))
        two = await self.talk(
            head(
                "PUT",
                "/uploads/8/1",
                {**promise(0, len(other), digest_of(other), ticket(build_id=8)), "Content-Length": "256000"},
            )
        )
        for start in range(0, len(DATA), 50_000):
            one.say(DATA[start : start + 50_000])
            two.say(other[start : start + 50_000])
        await one.until(b"201 Created")
        await two.until(b"201 Created")
        assert self.incoming.read_bytes() == DATA
        assert (self.state / "incoming" / "8-1").read_bytes() == other

    async def test_bytes_with_another_digest_are_thrown_away(self) -> None:
        code, _, text = await self.upload(DATA, digest=digest_of(b"other"))
        assert code == 422
        assert one_line(text)
        assert not self.incoming.exists()
        assert (await self.upload(DATA))[0] == 201

    async def test_an_upload_that_starts_too_late_hears_where_to_go_on(self) -> None:
        await self.upload(DATA[:100], 0, len(DATA), DIGEST)
        code, headers, text = await self.upload(DATA[200:], 200, len(DATA), DIGEST)
        assert (code, headers["Upload-Offset"]) == (409, "100")
        assert one_line(text)

    async def test_an_upload_for_the_case_that_nothing_is_there_takes_nothing_away(self) -> None:
        """It hears where to go on instead; where nothing is there, it is taken."""
        new: dict[str, Any] = {"If-None-Match": "*"}
        await self.upload(DATA[:100], 0, len(DATA), DIGEST)
        code, headers, text = await self.upload(DATA, **new)
        assert (code, headers["Upload-Offset"]) == (412, "100")
        assert one_line(text)
        assert self.incoming.read_bytes() == DATA[:100]
        await self.publish(DATA, build_id=9)
        code, headers, _ = await self.upload(DATA, **new)
        assert (code, headers["Upload-Offset"]) == (412, str(len(DATA)))
        other = DATA[::-1]
        await self.artifacts.discard(7, 1)
        assert (await self.upload(other, **new))[0] == 201
        assert self.incoming.read_bytes() == other

    async def test_what_is_published_already_is_not_asked_for_again(self) -> None:
        await self.publish(DATA, build_id=9)
        _, headers, _ = await self.ask("HEAD", "/uploads/7/1", promise(0, len(DATA), DIGEST))
        assert headers["Upload-Offset"] == str(len(DATA))
        assert (await self.upload(b"", len(DATA), len(DATA), DIGEST))[0] == 201
        await self.artifacts.publish(7, 1, DIGEST, len(DATA))

    async def arrived(self, length: int) -> None:
        """Wait until so many bytes are in the file."""
        while not self.incoming.exists() or self.incoming.stat().st_size < length:
            await next_turn()


class RefusedUploadTests(TransferCase):
    """Every refusal comes before the body, is one line of text, and leaves nothing on disk."""

    async def refused(self, code: int, headers: dict[str, str], path: str = "/uploads/7/1", method: str = "PUT") -> str:
        """Send only the head of a request whose body would be long; the answer must not wait for it."""
        fields = {"Host": "x", "Content-Length": str(10**9), **headers}
        talk = await self.talk(head(method, path, fields) + b"x" * 100)
        await talk.closed
        got, said, text = parsed(talk.heard)
        assert (got, said["Connection"], one_line(text)) == (code, "close", True), talk.heard
        assert said["X-Content-Type-Options"] == "nosniff"
        assert list((self.state / "incoming").iterdir()) == []
        return text.decode()

    async def test_without_a_ticket(self) -> None:
        for text in ("", "Basic eDp5", "Ticket", "Ticket ", "Ticket " + "x" * 5000, "Ticket \xff", "Ticket ...."):
            headers = promise(0, 10**9, DIGEST) | {"Authorization": text}
            assert "ticket" in await self.refused(401, headers)

    async def test_with_a_forged_or_expired_ticket(self) -> None:
        good = ticket(max_bytes=10)
        for text in (ticket(key=bytes(32)), good.replace(".10.", ".9999999999."), good[:-1], ticket(expires=NOW)):
            await self.refused(401, promise(0, 10**9, DIGEST, text))

    async def test_with_a_ticket_for_something_else(self) -> None:
        for text in (ticket(TicketKind.LOG), ticket(build_id=8), ticket(epoch=2)):
            await self.refused(403, promise(0, 10**9, DIGEST, text))

    async def test_for_an_attempt_that_has_ended(self) -> None:
        """Its ticket holds for hours yet, but nobody would ever publish or discard what came."""
        self.ended.add((7, 1))
        said = await self.refused(404, promise(0, 10**9, DIGEST, ticket(max_bytes=10**9)))
        assert "attempt 1 of build 7 has ended" in said

    async def test_longer_than_the_ticket_allows(self) -> None:
        await self.refused(413, promise(0, 10**9, DIGEST))

    async def test_a_body_longer_than_the_announced_artifact(self) -> None:
        await self.refused(413, promise(0, 1000, DIGEST))
        await self.refused(413, promise(900, 1000, DIGEST) | {"Content-Length": "101"})

    async def test_headers_that_make_no_sense(self) -> None:
        good = promise(0, 1000, DIGEST)
        for name, values in {
            "Upload-Digest": ["", "x" * 64, DIGEST.upper(), DIGEST + "0", "../" * 20],
            "Upload-Length": ["", "-1", "1e3", "9" * 19, "\xb2"],
            "Upload-Offset": ["x", "-1", "1001"],
        }.items():
            for value in values:
                await self.refused(400, good | {name: value})
        await self.refused(400, {**good, "upload-offset": "5"})

    async def test_other_addresses_and_methods(self) -> None:
        good = promise(0, 10**9, DIGEST)
        for path in ("/", "/uploads", "/uploads/7/1/", "/uploads/7/-1", "/uploads/0/1", "/uploads/7/../8/1", "//", "*"):
            await self.refused(404, good, path)
        for path in ("/uploads/%37/1", "/uploads/7/1%00", "/../../etc/passwd", "/artifacts/../key", "http://x/y"):
            await self.refused(404, good, path)
        for method in ("POST", "DELETE", "GET", "PATCH", "put"):
            await self.refused(405, good, method=method)
        for method in ("PUT", "POST", "OPTIONS"):
            await self.refused(405, good, f"/artifacts/{DIGEST}/x.zip", method)

    async def test_a_body_where_none_belongs(self) -> None:
        digest = await self.publish(b"x")
        for method, path in {"GET": f"/artifacts/{digest}/x", "HEAD": "/uploads/7/1"}.items():
            talk = await self.talk(head(method, path, {**promise(0, 1000, DIGEST), "Content-Length": "99999999"}))
            await talk.closed
            assert parsed(talk.heard)[0] == 413

    async def test_without_a_length(self) -> None:
        code, _, text = await self.answer(head("PUT", "/uploads/7/1", {**promise(0, 9, DIGEST), "Connection": "close"}))
        assert code == 411
        assert one_line(text)

    async def test_more_than_the_disk_can_hold(self) -> None:
        much = 10**15
        text = promise(0, much, DIGEST, ticket(max_bytes=much))
        await self.refused(507, text | {"Content-Length": str(much)})
        assert (await self.ask("HEAD", "/uploads/7/1", text))[0] == 507

    async def test_more_than_a_build_server_may_store_in_a_day(self) -> None:
        self.beyond.add((7, 1))
        for method in ("PUT", "HEAD"):
            said = promise(0, 9, DIGEST) | ({"Content-Length": "9"} if method == "PUT" else {})
            code, headers, _ = await self.ask(method, "/uploads/7/1", said)
            assert (code, headers["Retry-After"]) == (429, "91")
        assert [told[:2] for told in self.told_unkept] == [(7, 1)] * 2
        self.beyond.clear()
        assert (await self.upload(b"123456789"))[0] == 201
        assert self.counted == [(7, 1, 9)]

    async def test_a_chunked_body_that_does_not_end(self) -> None:
        headers = {"Transfer-Encoding": "chunked", "Connection": "close", **promise(0, 1000, DIGEST)}
        chunk = b"190\r\n" + b"x" * 400 + b"\r\n"
        for end in (b"", b"0\r\n\r\n", chunk * 1000):
            talk = await self.talk(head("PUT", "/uploads/7/1", headers))
            talk.say(chunk * 3 + end)
            await talk.closed
            assert parsed(talk.heard)[0] == 413
            assert talk.heard.count(b"HTTP/1.1") == 1
            assert self.incoming.stat().st_size <= 1000

    async def test_what_is_no_http(self) -> None:
        good = head("PUT", "/uploads/7/1", {**promise(0, 1000, DIGEST), "Transfer-Encoding": "chunked"})
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 600 + b"\r\n",
            b"GET / HTTP/1.1\r\nA: " + b"b" * 17000 + b"\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: " + b"9" * 9000 + b"\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            good + b"zz\r\nhello",
            good + b"5\r\nhelloXX",
        ):
            talk = await self.talk(garbage)
            await talk.closed
            assert talk.heard.count(b"HTTP/1.1") <= 1, garbage
            assert b" 400 " in talk.heard or not talk.heard, garbage
            assert b"Traceback" not in talk.heard
        self.assertEqual((await self.ask("GET", "/"))[0], 404)

    async def test_two_lengths_do_not_get_a_body_past_the_door(self) -> None:
        """A request that is not valid is not begun, though the rest of it would be."""
        fields = {**promise(0, 5, digest_of(b"bytes")), "Content-Length": "5", "content-length": "5", "X": "y"}
        talk = await self.talk(head("PUT", "/uploads/7/1", fields) + b"bytes")
        await talk.closed
        assert parsed(talk.heard)[0] == 400
        assert not self.incoming.exists()


class BusyTests(TransferCase):
    limits = HttpLimits(connections=3, idle=0.3, linger=0.05)

    async def test_a_silent_connection_makes_room_for_whoever_comes(self) -> None:
        held = [await self.talk() for _ in range(3)]
        for _ in range(5):
            assert (await self.ask("GET", "/"))[0] == 404
        await held[0].closed
        assert held[0].heard == b""

    async def test_where_all_are_busy_one_more_is_closed_at_once(self) -> None:
        put = head("PUT", "/uploads/7/1", {**promise(0, 5, DIGEST), "Content-Length": "5"})
        busy = [await self.talk(put + b"x") for _ in range(3)]
        while not all(channel.requests for channel in self.site._open):
            await next_turn()
        over = await self.talk()
        await over.closed
        assert over.heard == b""
        for talk in busy:
            await talk.closed

    async def test_who_says_nothing_or_not_enough_is_cut_off(self) -> None:
        silent = await self.talk()
        half_a_head = await self.talk(b"GET / HTTP/1.1\r\nA: ")
        put = head("PUT", "/uploads/7/1", {**promise(0, 5, DIGEST), "Content-Length": "5"})
        half_a_body = await self.talk(put + b"x")
        for talk in (silent, half_a_head, half_a_body):
            await talk.closed
            assert talk.heard == b""
        assert (await self.ask("HEAD", "/uploads/7/1", promise(0, 5, DIGEST)))[1]["Upload-Offset"] == "1"

    async def test_trickling_does_not_prolong_the_wait(self) -> None:
        talk = await self.talk(b"GET / HTTP/1.1\r\n")
        while not talk.closed.called:
            talk.say(b"A: b\r\n")
            await later(0.05)
        assert talk.heard == b""


class LogTests(TransferCase):
    async def watched(self) -> None:
        """Wait until somebody waits for more of the log."""
        while not self.logs._watchers:
            await next_turn()

    async def append(
        self, offset: int, data: bytes, text: str | None = None, **more: str
    ) -> tuple[int, dict[str, str], bytes]:
        text = text or ticket(TicketKind.LOG)
        headers = {"Authorization": f"Ticket {text}", "Upload-Offset": str(offset), **more}
        return await self.ask("POST", "/logs/7/1", headers, data)

    async def test_a_log_is_appended_to_and_read(self) -> None:
        assert (await self.append(0, b"hello \xff\x00"))[:2][0] == 200
        code, headers, _ = await self.append(6, b"\xff\x00 there")
        assert (code, headers["Log-Length"]) == (200, "14")
        code, headers, body = await self.ask("GET", "/logs/7/1")
        assert (code, body) == (200, b"hello \xff\x00 there")
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in headers["Content-Security-Policy"]
        assert (headers["Log-Length"], headers["Log-Finished"]) == ("14", "no")
        await self.logs.finish(7, 1)
        _, headers, body = await self.ask("GET", "/logs/7/1")
        assert (body, headers["Log-Finished"]) == (b"hello \xff\x00 there", "yes")

    async def test_marks_and_errors_are_in_its_index_which_is_sent_once(self) -> None:
        log = b"make\nx.c:1: error: no\n"
        marks = marks_text(
            [LogMark(0, 0, MarkKind.BEGIN, 0.0, "build"), LogMark(1, len(log), MarkKind.FAILED, 1.5, "code 2")]
        )
        for _ in range(2):  # the answer to the first was lost
            assert (await self.append(0, log, **{LOG_MARKS: marks}))[0] == 200
        code, headers, body = await self.ask("GET", "/logs/7/1/index")
        told = json.loads(body)
        assert (code, headers["Content-Type"], told["errors"]) == (200, "application/json", [[2, 5]])
        assert [(phase["name"], phase["end"], phase["failed"]) for phase in told["phases"]] == [
            ("build", len(log), True)
        ]
        code, _, body = await self.ask("GET", "/logs/7/1/index", {"If-None-Match": headers["ETag"]})
        assert (code, body) == (304, b"")
        assert (await self.ask("GET", "/logs/7/1/index?from=x"))[0] == 400
        assert (await self.ask("GET", "/logs/8/1/index"))[0] == 404

    async def test_marks_that_are_none_are_refused_before_their_log_is_taken(self) -> None:
        code, _, text = await self.append(0, b"x", **{LOG_MARKS: "[[0,0]]"})
        assert (code, one_line(text)) == (400, True)
        assert (await self.ask("GET", "/logs/7/1"))[0] == 404

    async def test_a_log_is_searched(self) -> None:
        await self.append(0, b"one\nTwo\ntwo\n")
        code, headers, body = await self.ask("GET", "/logs/7/1/search?q=two")
        assert (code, headers["Content-Type"]) == (200, "application/json")
        told = {"type": "LogSearchSummary", "lines": [2, 3], "count": 2, "complete": True, "upto": 3}
        assert json.loads(body) == told
        assert json.loads((await self.ask("GET", "/logs/7/1/search?q=two&case=1"))[2])["lines"] == [3]
        for query in ("", "?q=", "?q=a%0Ab", "?q=" + "x" * 201, "?" + "&".join(["q=x"] * 11)):
            assert (await self.ask("GET", f"/logs/7/1/search{query}"))[0] == 400

    async def test_a_gap_and_too_much_are_refused_with_the_length(self) -> None:
        await self.append(0, b"abc")
        code, headers, text = await self.append(5, b"x")
        assert (code, headers["Upload-Offset"], one_line(text)) == (409, "3", True)
        small = ticket(TicketKind.LOG, max_bytes=4)
        assert (await self.append(3, b"de", small))[0] == 413
        assert (await self.append(5, b"", small))[0] == 413
        await self.logs.finish(7, 1)
        assert (await self.append(3, b"d"))[0] == 409
        assert (await self.append(0, b"abc"))[0] == 200

    async def test_appending_needs_the_logs_own_ticket(self) -> None:
        assert (await self.append(0, b"x", ticket()))[0] == 403
        assert (await self.append(0, b"x", "nonsense"))[0] == 401
        assert (await self.append(0, b"x", ticket(TicketKind.LOG, expires=1)))[0] == 401
        assert (await self.ask("GET", "/logs/7/1"))[0] == 404

    async def test_ranges_and_head(self) -> None:
        whole = bytes(range(256)) * 5000
        await self.append(0, whole)
        for finish in (False, True):
            if finish:
                await self.logs.finish(7, 1)
            assert (await self.ask("GET", "/logs/7/1"))[2] == whole
            for said, start, end in (
                (f"{FRAME - 5}-{FRAME + 4}", FRAME - 5, FRAME + 5),
                ("-10", len(whole) - 10, len(whole)),
                ("100-", 100, len(whole)),
                (f"0-{10**15}", 0, len(whole)),
            ):
                code, headers, body = await self.ask("GET", "/logs/7/1", {"Range": f"bytes={said}"})
                assert (code, body) == (206, whole[start:end])
                assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(whole)}"
            code, headers, body = await self.ask("HEAD", "/logs/7/1")
            assert (code, headers["Content-Length"], body) == (200, str(len(whole)), b"")
        code, headers, _ = await self.ask("GET", "/logs/7/1", {"Range": f"bytes={len(whole)}-"})
        assert (code, headers["Content-Range"]) == (416, f"bytes */{len(whole)}")

    async def test_a_follower_hears_of_more_as_soon_as_it_is_there(self) -> None:
        talk = await self.talk(head("GET", "/logs/7/1?offset=0&wait=30", {"Host": "x"}))
        await self.watched()
        await self.append(0, b"first")
        await talk.until(b"first")
        talk.say(head("GET", "/logs/7/1?offset=5&wait=30", {"Host": "x"}))
        await self.watched()
        await self.append(5, b"second")
        await talk.until(b"second")
        talk.say(head("GET", "/logs/7/1?offset=11&wait=30", {"Host": "x"}))
        await self.watched()
        await self.logs.finish(7, 1)
        await talk.until(b"Log-Finished: yes")
        assert b"Log-Length: 11" in talk.heard

    async def test_a_follower_who_leaves_is_forgotten(self) -> None:
        talk = await self.talk(head("GET", "/logs/7/1?offset=0&wait=30", {"Host": "x"}))
        await self.watched()
        talk.transport.abortConnection()  # type: ignore[union-attr]
        while self.logs._watchers:
            await next_turn()

    async def test_a_wait_ends(self) -> None:
        await self.append(0, b"abc")
        code, headers, body = await self.ask("GET", "/logs/7/1?offset=3&wait=1")
        assert (code, headers["Log-Finished"], body) == (200, "no", b"")

    async def test_one_answer_to_a_follower_is_bounded(self) -> None:
        await self.append(0, bytes(LOG_ANSWER + 10))
        _, headers, body = await self.ask("GET", "/logs/7/1?offset=0")
        assert len(body) == LOG_ANSWER
        _, headers, body = await self.ask("GET", f"/logs/7/1?offset={LOG_ANSWER}")
        assert (len(body), headers["Log-Length"]) == (10, str(LOG_ANSWER + 10))

    async def test_nonsense_in_the_address_is_refused(self) -> None:
        await self.append(0, b"abc")
        for query in ("offset=x", "offset=-1", "wait=1.5", "other=1", "offset=1&offset=2", "a&" * 20, "offset=\xb2"):
            assert (await self.ask("GET", f"/logs/7/1?{query}"))[0] == 400, query
        assert (await self.ask("GET", "/logs/7/1?offset=4"))[0] == 409
        assert (await self.ask("GET", "/logs/8/1"))[0] == 404
        assert (await self.ask("GET", "/logs/8/1?offset=0"))[0] == 404


class ArtifactTests(TransferCase):
    async def test_an_artifact_is_given_out_whole_and_for_ever(self) -> None:
        digest = await self.publish(DATA)
        code, headers, body = await self.ask("GET", f"/artifacts/{digest}/lua-5.4.zip")
        assert (code, body) == (200, DATA)
        assert headers["ETag"] == f'"{digest}"'
        assert "immutable" in headers["Cache-Control"]
        assert headers["Content-Disposition"] == 'attachment; filename="lua-5.4.zip"'
        assert headers["X-Content-Type-Options"] == "nosniff"
        code, headers, body = await self.ask("HEAD", f"/artifacts/{digest}/x.zip")
        assert (code, headers["Content-Length"], body) == (200, str(len(DATA)), b"")

    async def test_ranges(self) -> None:
        path = f"/artifacts/{await self.publish(DATA)}/x.zip"
        for said, start, end in (("0-0", 0, 1), ("100-199", 100, 200), ("-5", len(DATA) - 5, len(DATA))):
            code, headers, body = await self.ask("GET", path, {"Range": f"bytes={said}"})
            assert (code, body) == (206, DATA[start:end])
            assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
        for ignored in ("bytes=5-4", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "x"):
            assert (await self.ask("GET", path, {"Range": ignored}))[0] == 200
        assert (await self.ask("GET", path, {"Range": "bytes=0-1", "If-Range": '"other"'}))[0] == 200
        assert (await self.ask("GET", path, {"Range": "bytes=999999-"}))[0] == 416

    async def test_who_has_it_already_is_told_so(self) -> None:
        digest = await self.publish(DATA)
        for tags in (f'"{digest}"', f'"x", W/"{digest}"', "*"):
            code, _, body = await self.ask("GET", f"/artifacts/{digest}/x", {"If-None-Match": tags})
            assert (code, body) == (304, b"")
        assert (await self.ask("GET", f"/artifacts/{digest}/x", {"If-None-Match": '"x"'}))[0] == 200

    async def test_hostile_names_do_no_harm(self) -> None:
        digest = await self.publish(DATA)
        for name in ("..", ".htaccess", 'a"b', "a\r\nX: y", "a;b", "é", "x" * 300, "..\\..\\x", "a/b", ""):
            code, headers, _ = await self.ask("GET", f"/artifacts/{digest}/{quote(name, safe='')}")
            assert code == 200
            assert headers["Content-Disposition"] == f'attachment; filename="{digest[:16]}.zip"'
            assert "X" not in headers

    async def test_unknown_ones_are_not_found(self) -> None:
        for path in (DIGEST, f"{DIGEST}/x", f"{DIGEST.upper()}/x", "../../key/x", f"{DIGEST}/../x", f"{DIGEST}/a/b"):
            assert (await self.ask("GET", f"/artifacts/{path}"))[0] == 404, path

    async def test_damaged_bytes_are_withheld_and_reported(self) -> None:
        digest = await self.publish(DATA)
        assert (await self.ask("GET", f"/artifacts/{digest}/x"))[0] == 200
        rewrite(self.stored(digest), DATA[:-1] + b"?")
        code, _, text = await self.ask("GET", f"/artifacts/{digest}/x")
        assert (code, one_line(text)) == (410, True)
        assert self.corrupt == [digest]
        await self.restart()
        assert (await self.ask("HEAD", f"/artifacts/{digest}/x"))[0] == 410

    async def test_a_reader_who_leaves_does_not_keep_the_file_open(self) -> None:
        data = os.urandom(1024 * 1024) * 20
        digest = await self.publish(data)
        talk = await self.talk(head("GET", f"/artifacts/{digest}/x", {"Host": "x"}))
        await talk.until(b"\r\n\r\n")
        talk.transport.abortConnection()  # type: ignore[union-attr]
        while any(str(digest) in link for link in open_files()):
            await next_turn()

    async def test_a_file_that_shrinks_while_it_is_sent_is_cut_off(self) -> None:
        """Fewer bytes than announced and a closed connection: nobody takes that for the whole."""
        digest = await self.publish(bytes(40 * 1024 * 1024))
        talk = await self.talk(head("GET", f"/artifacts/{digest}/x", {"Host": "x"}))
        await talk.until(b"\r\n\r\n")
        talk.transport.pauseProducing()  # type: ignore[union-attr]
        os.truncate(self.stored(digest), 1024)
        talk.transport.resumeProducing()  # type: ignore[union-attr]
        await talk.closed
        assert len(talk.heard) < 40 * 1024 * 1024


class StallTests(TransferCase):
    limits = HttpLimits(stall=0.3, linger=0.05)

    async def test_a_reader_who_takes_nothing_is_cut_off(self) -> None:
        digest = await self.publish(bytes(40 * 1024 * 1024))
        talk = await self.talk(head("GET", f"/artifacts/{digest}/x", {"Host": "x"}))
        await talk.until(b"\r\n\r\n")
        talk.transport.pauseProducing()  # type: ignore[union-attr]
        while self.site._open:
            await next_turn()
        talk.transport.resumeProducing()  # type: ignore[union-attr]
        await talk.closed


class FullDiskTests(TransferCase):
    """The state directory on a file system of two megabytes."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.mounted = Path(self.mktemp())
        self.mounted.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(self.mounted)]
        subprocess.run(mount, check=True, timeout=20)
        self.addCleanup(subprocess.run, ["umount", str(self.mounted)], check=True, timeout=20)
        await super().setUp()

    def mktemp(self) -> str:
        return str(self.mounted / "state") if hasattr(self, "mounted") else super().mktemp()

    async def test_a_disk_that_fills_up_during_an_upload_loses_that_upload_and_nothing_else(self) -> None:
        kept = await self.publish(DATA, build_id=9)
        much = bytes(1_500_000)
        headers = {**promise(0, len(much), digest_of(much)), "Content-Length": str(len(much)), "Connection": "close"}
        talk = await self.talk(head("PUT", "/uploads/7/1", headers) + much[:100])
        while not self.incoming.exists() or not self.incoming.stat().st_size:
            await next_turn()
        filler = self.mounted / "filler"
        with filler.open("wb", buffering=0) as file:
            file.write(bytes(1_000_000))
        talk.say(much[100:])
        await talk.closed
        code, _, text = parsed(talk.heard)
        assert (code, one_line(text)) == (507, True)
        assert b"disk is full" in text
        assert not self.incoming.exists()
        assert (await self.ask("GET", f"/artifacts/{kept}/x"))[2] == DATA
        filler.unlink()
        assert (await self.upload(much))[0] == 201
        await self.artifacts.publish(7, 1, digest_of(much), len(much))

    async def test_a_log_that_does_not_fit_stays_as_it_was(self) -> None:
        headers = {"Authorization": f"Ticket {ticket(TicketKind.LOG)}", "Upload-Offset": "0"}
        await self.ask("POST", "/logs/7/1", headers, b"kept")
        filler = self.mounted / "filler"
        with filler.open("wb", buffering=0) as file:
            file.write(bytes(1_800_000))
        code, _, text = await self.ask("POST", "/logs/7/1", headers, b"kept" + bytes(900_000))
        assert (code, one_line(text)) == (507, True)
        assert (await self.ask("GET", "/logs/7/1"))[2].startswith(b"kept")
        filler.unlink()
        code, said, _ = await self.ask("POST", "/logs/7/1", headers, b"kept" + bytes(900_000))
        assert (code, said["Log-Length"]) == (200, "900004")


class KeyTests(TransferCase):
    async def test_the_key_and_other_files_of_the_state_cannot_be_fetched(self) -> None:
        (self.state / "key").write_bytes(KEY)
        for path in ("/key", "/../key", "/artifacts/../key", "/artifacts/ab/../../key", "/logs/../key", "/%2e%2e/key"):
            code, _, body = await self.ask("GET", path)
            assert code == 404
            assert KEY not in body


def one_line(text: bytes) -> bool:
    return text.endswith(b"\n") and text.count(b"\n") == 1 and 10 < len(text) < 300 and b"Traceback" not in text


def open_files() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return found


def later(seconds: float) -> Deferred[None]:
    turn: Deferred[None] = Deferred()
    reactor.callLater(seconds, turn.callback, None)
    return turn


def next_turn() -> Deferred[None]:
    return later(0)
