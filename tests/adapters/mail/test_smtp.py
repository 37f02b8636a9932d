"""One mail to a real mail server over loopback: taken, refused, put off; and what is said of a server in trouble."""

import base64
import re
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as the_reactor
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from buildtool.adapters.mail.message import compose, mail_test
from buildtool.adapters.mail.smtp import PATIENCE, SmtpDelivery, _Sender
from buildtool.configuration.mail_settings import MailSettings
from buildtool.errors import (
    BuildToolError,
    ConfigurationError,
    MailDeferred,
    MailRefused,
    MailServerTrouble,
    UsageError,
)
from tests.support.smtp import Authority, ScriptedServer, SilentServer, SmtpServer, mail_text

reactor: Any = the_reactor
ALICE = "alice@example.org"


def settings(port: int, **others: Any) -> MailSettings:
    given: dict[str, Any] = {"host": "127.0.0.1", "port": port, "sender": "farm@example.org", "starttls": "never"}
    given.update(others)
    return MailSettings(**given)


def message(body: str = "Hello\n") -> bytes:
    return compose("farm@example.org", ALICE, "Hello", body, key="1", now=0.0)


class SmtpCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.clock = Clock()

    def server(self, **how: Any) -> SmtpServer:
        server = SmtpServer(**how)
        self.addCleanup(server.end)
        server.start()
        return server

    def delivery(self, chosen: MailSettings, trust_root: object | None = None) -> SmtpDelivery:
        return SmtpDelivery(chosen, reactor, self.clock, trust_root=trust_root)

    async def problem(self, delivery: SmtpDelivery, kind: type[BuildToolError]) -> str:
        """Deliver, which must fail like this, and return the one line that says why."""
        with pytest.raises(kind) as caught:
            await delivery(ALICE, message())
        said = str(caught.value)
        assert said.isprintable()
        assert len(said) < 700
        return said


class TestPlain(SmtpCase):
    async def test_a_mail_that_is_taken_arrives_whole_and_the_answer_is_returned(self) -> None:
        server = self.server()
        assert await self.delivery(settings(server.port))(ALICE, message("Grüße\n")) == "250 taken"
        ((recipient, arrived),) = server.messages
        assert recipient == ALICE
        assert arrived["From"] == "farm@example.org"
        assert arrived.get_content() == "Grüße\n"

    async def test_dots_at_line_starts_arrive_as_they_were_wherever_twisted_cuts_the_message_into_chunks(self) -> None:
        server = self.server()
        deliver = self.delivery(settings(server.port))
        head = len(message("")) - 1
        for shift in range(-3, 4):
            filler = ("x" * 61 + "\n") * 300
            body = filler[: 2**14 - head + shift - 1] + "\n.\n..\nMAIL FROM:<evil@example.org>\n.x\n"
            await deliver(ALICE, message(body))
            assert server.messages[-1][1].get_content() == body
        assert len(server.messages) == 7

    async def test_an_unknown_recipient_is_a_refusal_with_the_server_s_own_words(self) -> None:
        server = self.server()
        server.mood[ALICE] = "refuse"
        said = await self.problem(self.delivery(settings(server.port)), MailRefused)
        assert said == f"the mail server 127.0.0.1:{server.port} refused the mail to {ALICE}: 550 no such user"

    async def test_a_refusal_of_the_message_itself_is_a_refusal(self) -> None:
        server = self.server()
        server.at_data = "refuse"
        assert "550 no such user" in await self.problem(self.delivery(settings(server.port)), MailRefused)

    async def test_a_request_to_come_again_puts_the_mail_off_at_the_recipient_and_at_the_message(self) -> None:
        server = self.server()
        server.mood[ALICE] = "defer"
        assert "451 come again" in await self.problem(self.delivery(settings(server.port)), MailDeferred)
        server.mood[ALICE], server.at_data = "accept", "defer"
        assert "451 come again" in await self.problem(self.delivery(settings(server.port)), MailDeferred)

    async def test_a_sender_that_is_not_accepted_is_the_settings_fault_and_no_refusal_of_the_mail(self) -> None:
        server = self.server()
        server.at_sender = "550 who are you"
        said = await self.problem(self.delivery(settings(server.port)), MailServerTrouble)
        assert "farm@example.org: 550 who are you: check mail.sender" in said

    async def test_a_server_that_is_too_busy_is_in_trouble_whatever_it_was_asked(self) -> None:
        server = self.server()
        server.mood[ALICE] = "full"
        assert "421 too busy" in await self.problem(self.delivery(settings(server.port)), MailServerTrouble)

    async def test_a_connection_dropped_in_the_middle_is_trouble_and_says_where(self) -> None:
        server = self.server()
        server.mood[ALICE] = "drop"
        said = await self.problem(self.delivery(settings(server.port)), MailServerTrouble)
        assert said.endswith("closed the connection (RCPT TO)")

    async def test_a_server_that_is_not_there_is_trouble_that_names_the_settings(self) -> None:
        server = self.server()
        server.stop()
        said = await self.problem(self.delivery(settings(server.port)), MailServerTrouble)
        assert "cannot be reached" in said
        assert "refused" in said
        assert "mail.port" in said

    async def test_a_host_name_that_does_not_exist_is_trouble_that_says_so(self) -> None:
        said = await self.problem(self.delivery(settings(25, host="no-such-host.invalid")), MailServerTrouble)
        assert "no such name" in said
        assert "mail.host" in said

    async def test_an_address_that_is_none_is_never_sent_to_the_server(self) -> None:
        server = self.server()
        with pytest.raises(UsageError):
            await self.delivery(settings(server.port))("a@b>\r\nRCPT TO:<c@d", message())
        assert server.tries == 0


class TestReturnPath(SmtpCase):
    async def test_the_envelope_has_the_address_of_this_mail_and_the_header_the_farm_s(self) -> None:
        server = self.server()
        await self.delivery(settings(server.port))(ALICE, message(), "farm-bounces+b17-0123@example.org")
        await self.delivery(settings(server.port))(ALICE, message())
        assert server.senders == ["farm-bounces+b17-0123@example.org", "farm@example.org"]
        assert [arrived["From"] for _, arrived in server.messages] == ["farm@example.org"] * 2


class TestUtf8(SmtpCase):
    """Addresses with letters beyond a to z."""

    JUERG = "jürg@example.org"

    def letter(self, sender: str = "farm@example.org") -> bytes:
        return compose(sender, self.JUERG, "Hello", "Hello\n", key="1", now=0.0)

    async def test_they_are_mailed_where_the_mail_server_takes_them_and_stand_in_the_header_as_they_are(self) -> None:
        server = self.server(utf8=True)
        assert await self.delivery(settings(server.port))(self.JUERG, self.letter()) == "250 taken"
        ((recipient, arrived),) = server.messages
        assert recipient == self.JUERG
        assert arrived["To"].addresses[0].addr_spec == self.JUERG

    async def test_where_the_mail_server_does_not_take_them_the_mail_is_refused_which_says_why(self) -> None:
        server = self.server()
        with pytest.raises(MailRefused) as caught:
            await self.delivery(settings(server.port))(self.JUERG, self.letter())
        assert "takes no addresses with letters beyond a to z (SMTPUTF8)" in str(caught.value)
        assert self.JUERG in str(caught.value)
        assert await self.delivery(settings(server.port))(ALICE, message()) == "250 taken"

    async def test_a_sender_that_the_mail_server_cannot_spell_is_the_settings_fault(self) -> None:
        server = self.server()
        delivery = self.delivery(settings(server.port, sender="höf@example.org"))
        assert "check mail.sender" in await self.problem(delivery, MailServerTrouble)


class TestSlow(SmtpCase):
    """Time-outs run on the clock that is handed in; no test waits for one."""

    async def silent(self, first: bytes) -> tuple[SilentServer, int]:
        server = SilentServer(first)
        listening = server.listen(reactor)
        self.addCleanup(listening.stopListening)
        return server, listening.getHost().port  # type: ignore[attr-defined]

    async def test_a_server_that_says_nothing_is_given_up_after_the_patience_and_the_connection_closed(self) -> None:
        for first, stage in ((b"", ""), (b"220 hello\r\n", " (EHLO)")):
            server, port = await self.silent(first)
            trying = Deferred.fromCoroutine(self.problem(self.delivery(settings(port)), MailServerTrouble))
            await server.reached
            self.clock.advance(PATIENCE)
            said = await trying
            assert f"did not answer within 60 s{stage}" in said
            await server.gone

    async def test_a_delivery_that_is_cancelled_closes_the_connection(self) -> None:
        server, port = await self.silent(b"")
        trying = Deferred.fromCoroutine(self.delivery(settings(port))(ALICE, message()))
        await server.reached
        trying.cancel()
        with pytest.raises(CancelledError):
            await trying
        await server.gone

    async def test_a_mail_that_was_taken_counts_even_if_the_server_never_hangs_up(self) -> None:
        taken: Deferred[None] = Deferred()

        def answer(line: bytes) -> bytes:
            verb = line.partition(b" ")[0]
            if line == b"RSET":
                taken.callback(None)
            return {b"EHLO": b"250 well\r\n", b"MAIL": b"250 well\r\n", b"RCPT": b"250 well\r\n",
                    b"DATA": b"354 go\r\n", b".": b"250 mine\r\n"}.get(verb, b"")  # fmt: skip

        server = ScriptedServer(b"220 hello\r\n", answer)
        listening = server.listen(reactor)
        self.addCleanup(listening.stopListening)
        trying = Deferred.fromCoroutine(
            self.delivery(settings(listening.getHost().port))(ALICE, message())  # type: ignore[attr-defined]
        )
        await taken
        self.clock.advance(PATIENCE - 1)
        assert await trying == "250 mine"


class TestHostile(SmtpCase):
    """A mail server that misbehaves costs a mail's delay, no more."""

    async def said_of(self, greeting: bytes, answer: Callable[[bytes], bytes | None], **others: Any) -> str:
        listening = ScriptedServer(greeting, answer).listen(reactor)
        self.addCleanup(listening.stopListening)
        port = listening.getHost().port  # type: ignore[attr-defined]
        return await self.problem(self.delivery(settings(port, **others)), MailServerTrouble)

    async def test_something_that_speaks_no_smtp_is_named_as_that(self) -> None:
        said = await self.said_of(b"SSH-2.0-OpenSSH_9.2\r\n", lambda _line: b"")
        assert "does not speak SMTP (greeting)" in said
        assert "SSH-2.0" in said

    async def test_a_server_that_turns_everybody_away_is_quoted(self) -> None:
        assert "turned us away: 554 go away" in await self.said_of(b"554 go away\r\n", lambda _line: b"221 bye\r\n")

    async def test_an_answer_without_an_end_is_broken_off(self) -> None:
        said = await self.said_of(b"220-hello\r\n" * 1000, lambda _line: b"")
        assert "an answer without an end" in said

    async def test_control_characters_in_an_answer_do_not_reach_the_reason(self) -> None:
        said = await self.said_of(b"554 \x1b[31m\x07go\xff away" + b"x" * 5000 + b"\r\n", lambda _line: None)
        assert "go" in said

    async def test_a_server_that_repeats_what_it_was_told_makes_no_password_known(self) -> None:
        def answer(offered: bytes, line: bytes) -> bytes:
            if line.startswith(b"EHLO"):
                return b"250-mail.test\r\n250 AUTH " + offered + b"\r\n"
            return b"535 hunter2-hunter2? no such login: " + line + b"\r\n"

        for offered in (b"PLAIN LOGIN", b"LOGIN", b"PLAIN"):
            said = await self.said_of(
                b"220 hello\r\n", partial(answer, offered), username="farm", password="hunter2-hunter2"
            )
            assert "did not let us log in: 535 ***? no such login: " in said, said
            for secret in (b"hunter2-hunter2", b"\0farm\0hunter2-hunter2", b"farm\0farm\0hunter2-hunter2"):
                assert secret.decode() not in said
                assert base64.b64encode(secret).decode() not in said

    async def test_commands_slipped_in_before_tls_are_not_taken_for_answers_under_tls(self) -> None:
        def answer(line: bytes) -> bytes:
            if line.startswith(b"EHLO"):
                return b"250-mail.test\r\n250 STARTTLS\r\n"
            return b"220 go\r\n250 injected\r\n"

        said = await self.said_of(b"220 hello\r\n", answer, starttls="required")
        assert "more than one answer to STARTTLS" in said


class TestTls(SmtpCase):
    """STARTTLS with an authority of the test's own."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.authority = Authority(Path(directory.name))
        self.trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(self.authority.pem)])

    async def test_mail_goes_over_tls_when_the_certificate_holds_and_says_so(self) -> None:
        server = self.server(tls=self.authority.server("127.0.0.1"))
        for starttls in ("required", "opportunistic"):
            deliver = self.delivery(settings(server.port, starttls=starttls), self.trust)
            assert await deliver(ALICE, message()) == "250 taken (over TLS)"
        assert server.secured == [True, True]

    async def test_a_certificate_of_an_unknown_authority_is_not_accepted(self) -> None:
        server = self.server(tls=self.authority.server("127.0.0.1"))
        for starttls in ("required", "opportunistic"):
            said = await self.problem(self.delivery(settings(server.port, starttls=starttls)), MailServerTrouble)
            assert "TLS failed" in said
            assert "certificate verify failed" in said
        assert not server.messages

    async def test_a_certificate_for_another_name_is_not_accepted(self) -> None:
        server = self.server(tls=self.authority.server("mail.example.org"))
        delivery = self.delivery(settings(server.port, starttls="required"), self.trust)
        assert "TLS failed" in await self.problem(delivery, MailServerTrouble)
        assert not server.messages

    async def test_without_verify_any_certificate_will_do(self) -> None:
        server = self.server(tls=self.authority.server("mail.example.org"))
        deliver = self.delivery(settings(server.port, starttls="required", verify=False))
        assert await deliver(ALICE, message()) == "250 taken (over TLS)"

    async def test_a_server_without_tls_has_no_mail_when_tls_is_required_and_has_it_when_it_is_not(self) -> None:
        server = self.server()
        delivery = self.delivery(settings(server.port, starttls="required"))
        assert "mail.starttls is required" in await self.problem(delivery, MailServerTrouble)
        assert not server.messages
        assert await self.delivery(settings(server.port, starttls="opportunistic"))(ALICE, message()) == "250 taken"

    async def test_never_sends_in_the_clear_though_tls_is_offered(self) -> None:
        server = self.server(tls=self.authority.server("127.0.0.1"))
        assert await self.delivery(settings(server.port))(ALICE, message()) == "250 taken"

    async def test_login_under_tls_with_the_right_password(self) -> None:
        server = self.server(tls=self.authority.server("127.0.0.1"), login=("farm", "s3cret"))
        chosen = settings(server.port, starttls="opportunistic", username="farm", password="s3cret")
        assert await self.delivery(chosen, self.trust)(ALICE, message()) == "250 taken (over TLS)"

    async def test_a_wrong_password_is_the_settings_fault_and_is_not_repeated_in_what_is_said(self) -> None:
        server = self.server(tls=self.authority.server("127.0.0.1"), login=("farm", "s3cret"))
        chosen = settings(server.port, starttls="required", username="farm", password="wr0ng-guess")
        said = await self.problem(self.delivery(chosen, self.trust), MailServerTrouble)
        assert "did not let us log in: 535" in said
        assert "mail.username" in said
        assert "wr0ng" not in said

    async def test_a_server_that_wants_a_login_is_not_taken_for_one_that_refuses_the_mail(self) -> None:
        server = self.server(tls=self.authority.server("127.0.0.1"), login=("farm", "s3cret"))
        delivery = self.delivery(settings(server.port, starttls="required"), self.trust)
        said = await self.problem(delivery, MailServerTrouble)
        assert "530" in said
        assert "check mail.username" in said

    async def test_a_password_is_not_sent_in_the_clear_just_because_no_tls_is_offered(self) -> None:
        server = self.server(login=("farm", "s3cret"), login_in_clear=True)
        chosen = settings(server.port, starttls="opportunistic", username="farm", password="s3cret")
        assert "a login asks for it" in await self.problem(self.delivery(chosen), MailServerTrouble)
        assert await self.delivery(evolve(chosen, starttls="never"))(ALICE, message()) == "250 taken"

    async def test_a_server_without_a_login_that_we_know_is_named_as_that(self) -> None:
        server = self.server()
        chosen = settings(server.port, username="farm", password="s3cret")
        assert "offers no login" in await self.problem(self.delivery(chosen), MailServerTrouble)


class TestImplicitTls(SmtpCase):
    """TLS from the first byte, as on port 465; and certificates of our own."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.authority = Authority(Path(directory.name))
        self.trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(self.authority.pem)])

    async def test_mail_goes_over_tls_from_the_first_byte_and_logs_in_there(self) -> None:
        server = self.server(tls=self.authority.server("127.0.0.1"), implicit=True, login=("farm", "s3cret"),
                             login_in_clear=True)  # fmt: skip
        chosen = settings(server.port, implicit_tls=True, username="farm", password="s3cret")
        assert await self.delivery(chosen, self.trust)(ALICE, message()) == "250 taken (over TLS)"
        assert server.secured == [True]

    async def test_a_certificate_that_does_not_hold_is_not_accepted(self) -> None:
        server = self.server(tls=self.authority.server("mail.example.org"), implicit=True)
        chosen = settings(server.port, implicit_tls=True)
        assert "TLS failed" in await self.problem(self.delivery(chosen, self.trust), MailServerTrouble)
        assert await self.delivery(evolve(chosen, verify=False))(ALICE, message()) == "250 taken (over TLS)"

    async def test_a_server_that_begins_without_tls_is_sent_nothing(self) -> None:
        server = self.server()
        chosen = settings(server.port, implicit_tls=True)
        assert "TLS failed" in await self.problem(self.delivery(chosen, self.trust), MailServerTrouble)
        assert server.tries == 0

    async def test_a_server_that_asks_for_a_certificate_is_shown_ours_by_either_way_to_tls(self) -> None:
        ours = self.authority.file("farm.example.org")
        for implicit in (True, False):
            server = self.server(tls=self.authority.server("127.0.0.1", asks=True), implicit=implicit)
            starttls = "opportunistic" if implicit else "required"
            chosen = settings(server.port, implicit_tls=implicit, starttls=starttls, certificate=ours)
            assert await self.delivery(chosen, self.trust)(ALICE, message()) == "250 taken (over TLS)"
            (shown,) = server.shown
            assert shown["subjectAltName"] == (("DNS", "farm.example.org"),)
            await self.problem(self.delivery(evolve(chosen, certificate=None), self.trust), MailServerTrouble)
            assert len(server.messages) == 1

    async def test_files_that_hold_no_certificate_or_another_key_are_named_and_nothing_is_sent(self) -> None:
        ours, other = self.authority.file("farm.example.org"), self.authority.file("other.example.org")
        empty = ours.with_name("empty.pem")
        empty.write_text("")
        server = self.server(tls=self.authority.server("127.0.0.1"), implicit=True)
        for certificate, key, said in (
            (empty, None, f"certificate_file = {empty}: no PEM certificate"),
            (ours, empty, f"key_file = {empty}: no PEM private key"),
            (ours, other, f"key_file = {other}: that is not the key of {ours}"),
            (ours.with_name("gone.pem"), None, "cannot be read: No such file"),
        ):
            chosen = settings(server.port, implicit_tls=True, certificate=certificate, key=key)
            assert said in await self.problem(self.delivery(chosen, self.trust), MailServerTrouble)
        assert server.tries == 0


class TestMailTest(SmtpCase):
    """``bin/metaserver --mail-test ADDRESS``."""

    async def test_it_sends_one_mail_and_says_what_the_server_said(self) -> None:
        server = self.server()
        chosen = settings(server.port)
        said = await mail_test(chosen, ALICE, self.delivery(chosen), "k", 1_700_000_000.0)
        assert said == f"the mail server 127.0.0.1:{server.port} took a test mail for {ALICE}: 250 taken"
        ((_, arrived),) = server.messages
        assert ALICE in mail_text(arrived)
        assert "2023-11-14 22:13 UTC" in mail_text(arrived)

    async def test_without_mail_settings_it_says_what_to_write_into_the_configuration(self) -> None:
        with pytest.raises(ConfigurationError, match="mail = None"):
            await mail_test(None, ALICE, self.delivery(settings(25)), "k", 0.0)

    async def test_a_malformed_address_is_a_usage_error_before_anything_is_sent(self) -> None:
        server = self.server()
        chosen = settings(server.port)
        with pytest.raises(UsageError):
            await mail_test(chosen, "alice", self.delivery(chosen), "k", 0.0)
        assert server.tries == 0


class TestChunks(SynchronousTestCase):
    """What goes over the wire does not depend on how the message is cut."""

    @given(st.text(st.sampled_from(".\na"), max_size=30), st.lists(st.integers(0, 30)))
    def test_dots_are_doubled_at_line_starts_and_only_there(self, text: str, cuts: list[int]) -> None:
        body = text.encode()
        edges = [0, *sorted(cut for cut in cuts if cut <= len(body)), len(body)]
        sender = _Sender(b"", b"", None, b"")
        wire = b"".join(sender.transformChunk(body[a:b]) for a, b in pairwise(edges) if a < b)
        assert wire == re.sub(rb"(?m)^\.", b"..", body).replace(b"\n", b"\r\n")
