"""The mailer: every mail of the outbox ends as sent or refused, whatever mail server and storage do meanwhile."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from buildtool.adapters.mail.letter import Letter
from buildtool.adapters.mail.mailer import GIVE_UP_AFTER, GIVE_UP_TRIES, PAUSE, RETRY, Mailer, MailerLimits, delay
from buildtool.adapters.mail.message import compose
from buildtool.adapters.mail.smtp import SmtpDelivery
from buildtool.configuration.mail_settings import MailSettings
from buildtool.errors import MailDeferred, MailRefused, MailServerTrouble, UsageError
from buildtool.model.addresses import valid_address
from buildtool.ports.metaserver import OutgoingMail
from tests.support.memory import WallClock
from tests.support.outbox import WALL, KeptMail, MemoryOutbox, outgoing
from tests.support.smtp import SmtpServer, parse

reactor: Any = the_reactor
PACE = MailerLimits()
SETTINGS = MailSettings("mail.test", 25, "farm@example.org", starttls="never")


async def render(mail: OutgoingMail, now: float) -> Letter:
    return Letter(f"about {mail.mail.key}", "body\n")


class Post:
    """A mail server's behaviour in memory: ``problem`` by address, ``away``, or held up by ``hold``."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.senders: list[str] = []
        self.messages: list[bytes] = []
        self.problem: dict[str, Exception] = {}
        self.away = False
        self.open = 0
        self.most_open = 0
        self.hold: list[Deferred[None]] | None = None

    async def __call__(self, address: str, message: bytes, returns_to: str) -> str:
        self.tried.append(address)
        self.senders.append(returns_to)
        self.messages.append(message)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if self.hold is not None:
                self.hold.append(Deferred())
                await self.hold[-1]
            if self.away:
                raise MailServerTrouble("the mail server is away")
            if address in self.problem:
                raise self.problem[address]
            return "250 taken"
        finally:
            self.open -= 1


def mails(*names: str) -> list[OutgoingMail]:
    return [outgoing(f"key-{name}", f"{name}@example.org") for name in names]


class MailerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.post = Post()
        self.outbox = MemoryOutbox()

    def start(
        self, *names: str, settings: MailSettings | None = SETTINGS, pace: MailerLimits = PACE, how: Any = render
    ) -> Mailer:
        for mail in mails(*names):
            self.outbox.put(mail)
        self.wall = WallClock(WALL, self.clock)
        mailer = Mailer(self.outbox, self.clock, self.wall, settings, how, self.post, pace)
        mailer.startService()
        self.addCleanup(lambda: mailer.stopService() if mailer.running else None)
        return mailer


FEW = evolve(SETTINGS, per_address=3, per_asker=5)


async def anew(mail: OutgoingMail, _now: float) -> Letter:
    return Letter(f"anew {mail.mail.key}", "body\n")


async def telling(mail: OutgoingMail, now: float) -> Letter:
    """A mail whose body names every mail that it tells of."""
    return Letter("about much", "".join(f"{one.mail.key}\n" for one in mail.members or (mail,)))


class RatesTests(MailerCase):
    """How many mails go to one address, and are caused from one place."""

    def put(self, key: str, name: str, asker: str = "") -> None:
        mail = outgoing(key, f"{name}@example.org")
        self.outbox.put(evolve(mail, mail=evolve(mail.mail, asker=asker)))

    def told(self) -> list[list[str]]:
        """Of which mails each message tells, in order."""
        return [parse(message).get_content().split() for message in self.post.messages]

    def test_six_hundred_mails_to_one_address_are_some_at_once_and_the_rest_in_few_an_hour_later(self) -> None:
        mailer = self.start(how=telling)
        for number in range(620):
            self.put(f"m{number:03d}", "victim", "192.0.2.66")
            mailer.nudge()
        assert len(self.post.messages) == SETTINGS.per_address
        self.clock.pump([60.0] * 61)
        told = self.told()
        assert len(told) <= 2 * SETTINGS.per_address + 10
        assert sorted(key for keys in told for key in keys) == [f"m{number:03d}" for number in range(620)]
        assert set(self.outbox.done.values()) == {"sent"}

    def test_who_asks_for_many_addresses_is_held_back_and_others_are_not(self) -> None:
        mailer = self.start(how=telling)
        for number in range(SETTINGS.per_asker + 100):
            self.put(f"m{number}", f"victim{number}", "192.0.2.66")
        self.put("other", "ann", "192.0.2.1")
        self.put("own", "olga")
        mailer.nudge()
        assert len(self.post.messages) == SETTINGS.per_asker + 2
        self.clock.pump([60.0] * 20)
        assert len(self.post.messages) == SETTINGS.per_asker + 2
        self.clock.pump([60.0] * 180)
        assert set(self.outbox.done.values()) == {"sent"}
        assert len(self.outbox.done) == SETTINGS.per_asker + 102

    def test_a_digest_that_is_put_off_is_tried_again_as_it_was_under_the_same_message_id(self) -> None:
        mailer = self.start(settings=FEW, how=telling)
        for number in range(6):
            self.put(f"m{number}", "a")
        mailer.nudge()
        self.post.problem["a@example.org"] = MailDeferred("451 come again")
        self.clock.pump([60.0] * 61)
        self.put("late", "a")
        mailer.nudge()
        self.post.problem.clear()
        self.clock.pump([60.0] * 200)
        digests = [parse(message) for message in self.post.messages if "m5" in parse(message).get_content()]
        assert len(digests) > 1
        assert len({str(one["Message-ID"]) for one in digests}) == 1
        assert len({str(one.get_content()) for one in digests}) == 1
        assert set(self.outbox.done.values()) == {"sent"}

    def test_a_digest_that_is_refused_for_good_is_refused_for_all_that_it_tells(self) -> None:
        mailer = self.start(settings=FEW, how=telling)
        for number in range(5):
            self.put(f"m{number}", "a")
        mailer.nudge()
        self.post.problem["a@example.org"] = MailRefused("550 no such user")
        self.clock.pump([60.0] * 61)
        assert [self.outbox.done[f"m{number}"] for number in range(5)] == ["sent"] * 3 + ["refused"] * 2

    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), st.sampled_from([0.0, 1.0, 400.0])),
            max_size=60,
        ),
        st.lists(st.sampled_from([None, MailDeferred("451"), MailServerTrouble("away")]), max_size=6),
    )
    def test_everything_is_told_once_and_no_address_gets_more_at_once_than_it_should(
        self, wanted: list[tuple[str, str, float]], moods: list[Exception | None]
    ) -> None:
        self.setUp()
        mailer = self.start(settings=FEW, how=telling)
        for number, (name, asker, pause) in enumerate(wanted):
            mood = moods[number % len(moods)] if moods else None
            self.post.problem = {f"{name}@example.org": mood} if mood is not None else {}
            self.put(f"m{number}", name, asker)
            mailer.nudge()
            self.clock.advance(pause)
        self.post.problem = {}
        self.clock.pump([60.0] * 1_000)
        assert self.outbox.done == {f"m{number}": "sent" for number in range(len(wanted))}
        letters = {str(parse(message)["Message-ID"]): message for message in self.post.messages}
        told = sorted(key for message in letters.values() for key in parse(message).get_content().split())
        assert told == sorted(self.outbox.done)
        for name in "abc":
            mine = [one for one in letters.values() if parse(one)["To"] == f"{name}@example.org"]
            count = sum(one[0] == name for one in wanted)
            hours = sum(pause for _, _, pause in wanted) / 3_600 + 3
            assert len(mine) <= min(count, FEW.per_address * (1 + hours) + hours + 1)


class EndedTests(MailerCase):
    """Mails that their addresses have ended."""

    def test_what_an_address_has_ended_is_marked_and_not_sent_also_what_waits_to_be_sent_already(self) -> None:
        mailer = self.start("ann", "bob", settings=None)
        mailer.withholds = lambda outgoing: outgoing.mail.email == "ann@example.org"
        mailer.configure(SETTINGS, render, self.post)
        assert [message["To"] for message in map(parse, self.post.messages)] == ["bob@example.org"]
        assert self.outbox.done == {"key-ann": "withheld", "key-bob": "sent"}
        assert "has ended mails" in self.outbox.reasons["key-ann"]

    def test_of_several_that_are_put_together_only_what_was_ended_is_left_out(self) -> None:
        mailer = self.start(how=telling, settings=evolve(SETTINGS, per_address=1))
        for key in ("first", "second", "third"):
            self.outbox.put(outgoing(key, "ann@example.org"))
            mailer.nudge()
        mailer.withholds = lambda outgoing: outgoing.mail.key == "second"
        self.clock.pump([60.0] * 61)
        assert [parse(message).get_content().split() for message in self.post.messages] == [["first"], ["third"]]
        assert self.outbox.done == {"first": "sent", "second": "withheld", "third": "sent"}


class TestMailer(MailerCase):
    def test_what_waits_at_the_start_is_sent(self) -> None:
        self.start("a", "b")
        assert self.outbox.done == {"key-a": "sent", "key-b": "sent"}

    def test_a_mail_that_has_an_address_of_its_own_comes_back_there_and_others_to_the_sender(self) -> None:
        async def told(mail: OutgoingMail, now: float) -> Letter:
            back = "b+1@example.org" if mail.mail.key == "key-a" else ""
            return evolve(await render(mail, now), returns_to=back)

        self.start("a", "b", how=told)
        assert self.post.senders == ["b+1@example.org", SETTINGS.sender]

    def test_new_mail_is_sent_as_soon_as_the_mailer_is_nudged(self) -> None:
        mailer = self.start()
        self.outbox.put(*mails("a"))
        assert self.post.tried == []
        mailer.nudge()
        assert self.outbox.done == {"key-a": "sent"}

    def test_new_mail_is_sent_though_the_wake_up_got_lost(self) -> None:
        self.start()
        self.outbox.put(*mails("a"))
        self.clock.advance(MailerLimits().sweep)
        assert self.outbox.done == {"key-a": "sent"}

    def test_a_mail_put_off_waits_no_longer_when_the_clock_was_wrong_for_a_while(self) -> None:
        """Ahead or behind, when it was put off or afterwards; also when the mailer began with a wrong clock."""
        for step in (8 * 86_400.0, -8 * 86_400.0, 1_800.0):
            self.setUp()
            self.post.problem["a@example.org"] = MailDeferred("451 come again")
            mailer = self.start("a")
            self.wall.now += step
            mailer.nudge()
            self.clock.pump([1.0] * 30)
            self.wall.now -= step
            del self.post.problem["a@example.org"]
            self.clock.pump([1.0] * int(PACE.sweep + PACE.retry.first * 4))
            assert self.outbox.done == {"key-a": "sent"}
            self.setUp()
            self.outbox.put(*mails("b"))
            self.outbox.waiting["key-b"] = KeptMail(evolve(mails("b")[0], tries=3), WALL + 8 * 86_400.0)
            self.start()
            self.clock.pump([60.0] * int(PACE.retry.most / 60 + 1))
            assert self.outbox.done == {"key-b": "sent"}

    def test_a_new_mail_is_sent_at_once_whatever_clock_it_was_written_by(self) -> None:
        mailer = self.start()
        for step in (8 * 86_400.0, -8 * 86_400.0):
            self.wall.now += step
            self.outbox.put(*mails("a"))
            self.outbox.waiting["key-a"].due = self.wall.wall() - step
            mailer.nudge()
            assert self.outbox.done.pop("key-a") == "sent"

    def test_a_mail_put_off_is_tried_again_when_its_time_has_come_and_not_before(self) -> None:
        self.post.problem["a@example.org"] = MailDeferred("451 come again")
        self.start("a")
        assert self.outbox.reasons == {"key-a": "451 come again"}
        first = delay(RETRY, 0, "key-a")
        self.clock.advance(first - 0.1)
        assert len(self.post.tried) == 1
        self.clock.advance(0.2)
        assert len(self.post.tried) == 2
        self.post.problem.clear()
        self.clock.pump([1.0] * 60)
        assert self.outbox.done == {"key-a": "sent"}
        assert len(self.post.tried) == 3

    def test_a_mail_put_off_does_not_hold_up_the_others(self) -> None:
        self.post.problem["a@example.org"] = MailDeferred("451 come again")
        self.start("a", "b", "c")
        assert self.outbox.done == {"key-b": "sent", "key-c": "sent"}

    def test_a_refusal_for_good_is_written_down_and_the_mail_never_tried_again(self) -> None:
        self.post.problem["a@example.org"] = MailRefused("550 no such user")
        self.start("a", "b")
        assert self.outbox.done == {"key-a": "refused", "key-b": "sent"}
        assert self.outbox.reasons == {"key-a": "550 no such user"}
        self.clock.pump([60.0] * 200)
        assert self.post.tried.count("a@example.org") == 1

    def test_while_the_server_is_away_one_mail_at_a_time_asks_whether_it_is_back_ever_more_rarely(self) -> None:
        self.post.away = True
        self.start(*(f"m{n}" for n in range(50)), pace=MailerLimits(lanes=1))
        tries = []
        for _ in range(12):
            before = len(self.post.tried)
            self.clock.pump([1.0] * 300)
            tries.append(len(self.post.tried) - before)
        assert tries[0] <= 8
        assert tries[-1] in {1, 2}
        assert self.post.most_open == 1
        self.post.away = False
        self.clock.pump([1.0] * 300)
        assert set(self.outbox.done.values()) == {"sent"}
        self.clock.pump([1.0] * 300)
        assert len(self.outbox.done) == 50

    def test_the_deliveries_under_way_when_the_server_goes_away_count_as_one_trouble(self) -> None:
        self.post.hold = []
        self.start(*"abcdef")
        self.post.away = True
        for held in list(self.post.hold):
            held.callback(None)
        assert len(self.post.tried) == 4
        self.clock.advance(delay(PAUSE, 0, "server") + 0.01)
        assert len(self.post.tried) == 5, "one asks whether the server is back"

    def test_since_when_the_server_is_away_is_told_until_it_takes_mail_again(self) -> None:
        mailer = self.start()
        assert mailer.problems() == ()
        self.post.away = True
        self.outbox.put(*mails("a"))
        mailer.nudge()
        (told,) = mailer.problems()
        since = datetime.fromtimestamp(WALL, UTC)
        assert told == f"mail waits since {since:%Y-%m-%d %H:%M} UTC: the mail server is away"
        self.clock.pump([1.0] * 200)
        assert mailer.problems() == (told,), "since the first time, however often it was tried"
        self.post.away = False
        self.clock.pump([1.0] * 400)
        assert mailer.problems() == ()

    def test_a_nudge_does_not_cut_a_pause_short(self) -> None:
        self.post.away = True
        mailer = self.start("a")
        for _ in range(100):
            mailer.nudge()
        assert len(self.post.tried) == 1

    def test_a_mail_at_which_the_server_stumbles_does_not_hold_up_the_others(self) -> None:
        self.post.problem["a@example.org"] = MailServerTrouble("closed the connection (DATA)")
        self.start(*"abcdefgh", pace=MailerLimits(lanes=1))
        self.clock.advance(PAUSE.first)
        assert self.post.tried[:2] == ["a@example.org", "b@example.org"]
        self.clock.pump([1.0] * 30)
        assert set(self.outbox.waiting) == {"key-a"}
        before = len(self.post.tried)
        self.clock.pump([1.0] * 3600)
        assert len(self.post.tried) - before < 30

    def test_no_more_deliveries_run_at_once_than_there_are_lanes(self) -> None:
        self.post.hold = []
        self.start(*(f"m{n}" for n in range(20)), pace=MailerLimits(lanes=3, batch=5))
        while self.post.hold:
            self.post.hold.pop(0).callback(None)
            self.clock.advance(0)
        assert len(self.outbox.done) == 20
        assert self.post.most_open == 3

    def test_one_delivery_that_hangs_does_not_block_the_other_lanes(self) -> None:
        self.post.hold = []
        self.start(*"abcde", pace=MailerLimits(lanes=2))
        _, *others = self.post.hold
        while others:
            others.pop().callback(None)
            others = [held for held in self.post.hold[1:] if not held.called]
        assert len(self.outbox.done) == 4

    def test_a_mail_is_not_sent_again_because_the_mark_could_not_be_written(self) -> None:
        self.post.hold = []
        self.start("a")
        self.outbox.broken = True
        self.post.hold[0].callback(None)
        self.post.hold = None
        self.clock.pump([1.0] * 60)
        self.outbox.broken = False
        self.clock.pump([1.0] * 60)
        assert self.outbox.done == {"key-a": "sent"}
        assert len(self.post.tried) == 1

    def test_while_the_database_is_unavailable_the_mailer_waits_and_then_goes_on(self) -> None:
        self.outbox.broken = True
        self.start("a")
        self.clock.pump([1.0] * 120)
        assert self.post.tried == []
        self.outbox.broken = False
        self.clock.pump([1.0] * 5)
        assert self.outbox.done == {"key-a": "sent"}

    def test_a_mail_that_cannot_be_made_is_logged_and_put_off_and_does_not_hold_up_the_others(self) -> None:
        async def broken(mail: OutgoingMail, now: float) -> Letter:
            if mail.mail.key == "key-a":
                raise KeyError("platform")
            return await render(mail, now)

        self.start("a", "b", how=broken)
        assert self.outbox.done == {"key-b": "sent"}
        assert "see the metaserver's log" in self.outbox.reasons["key-a"]
        assert len(self.flushLoggedErrors(KeyError)) == 1

    def test_a_mail_that_is_put_off_for_a_week_is_given_up_and_the_reason_kept(self) -> None:
        self.post.problem["a@example.org"] = MailDeferred("452 mailbox full")
        self.start("a")
        while self.clock.seconds() < GIVE_UP_AFTER - 3600:
            self.clock.advance(60)
        assert not self.outbox.done
        while self.clock.seconds() < GIVE_UP_AFTER + 2 * 3600:
            self.clock.advance(60)
        assert self.outbox.done == {"key-a": "refused"}
        assert "given up after" in self.outbox.reasons["key-a"]
        assert "452 mailbox full" in self.outbox.reasons["key-a"]

    def test_a_mail_tried_seldom_is_not_given_up_however_old_the_wall_clock_makes_it(self) -> None:
        self.post.problem["a@example.org"] = MailDeferred("451 come again")
        self.outbox.put(evolve(outgoing("key-a", "a@example.org"), tries=GIVE_UP_TRIES - 1))
        mail = self.outbox.waiting["key-a"].mail
        self.outbox.waiting["key-a"] = KeptMail(evolve(mail, mail=evolve(mail.mail, created_at=0.0)))
        self.start()
        assert not self.outbox.done
        self.clock.pump([60.0] * 70)
        assert self.outbox.done == {"key-a": "refused"}

    def test_an_address_that_is_none_is_refused_and_never_reaches_the_server(self) -> None:
        self.outbox.put(outgoing("key-a", "a@b\r\nBcc: c@d"))
        self.start()
        assert self.outbox.done == {"key-a": "refused"}
        assert self.post.tried == []

    def test_without_mail_settings_everything_stays_in_the_outbox(self) -> None:
        mailer = self.start("a", settings=None)
        mailer.nudge()
        self.clock.pump([60.0] * 10)
        assert list(self.outbox.waiting) == ["key-a"]
        assert self.post.tried == []
        assert mailer.stopService() is None

    def test_the_same_mail_has_the_same_message_id_each_time_and_another_mail_another(self) -> None:
        self.post.problem["a@example.org"] = MailDeferred("451 come again")
        self.start("a", "b")
        self.clock.pump([1.0] * 15)
        one, other, again = (parse(message) for message in self.post.messages)
        assert one["Message-ID"] == again["Message-ID"] != other["Message-ID"]
        assert one["Message-ID"].endswith("@example.org>")

    def test_the_headers_say_what_kind_of_mail_it_is(self) -> None:
        self.start("a")
        (message,) = map(parse, self.post.messages)
        assert message["X-Buildtool-Build"] == "12"
        assert message["X-Buildtool-Outcome"] == "satisfied"
        assert message["Auto-Submitted"] == "auto-generated"
        assert parsedate_to_datetime(message["Date"]).timestamp() == WALL


class TestConfiguring(MailerCase):
    """Settings that change while the mailer runs."""

    def configure(self, mailer: Mailer, settings: MailSettings | None) -> Post:
        post = Post()
        mailer.configure(settings, anew, post)
        return post

    def test_what_waits_for_a_mail_server_is_sent_when_there_is_one(self) -> None:
        mailer = self.start("a", settings=None)
        assert self.outbox.done == {}
        post = self.configure(mailer, SETTINGS)
        assert (self.outbox.done, self.post.tried) == ({"key-a": "sent"}, [])
        assert b"anew key-a" in post.messages[0]

    def test_what_waits_because_the_old_one_is_away_is_sent_by_the_new_one_at_once(self) -> None:
        self.post.away = True
        mailer = self.start("a")
        assert mailer.problems()
        self.configure(mailer, SETTINGS)
        self.clock.advance(PACE.pause.most)
        assert (self.outbox.done, mailer.problems()) == ({"key-a": "sent"}, ())

    def test_without_a_mail_server_what_waits_is_kept_until_there_is_one_again(self) -> None:
        mailer = self.start()
        self.configure(mailer, None)
        self.outbox.put(*mails("a"))
        mailer.nudge()
        self.clock.pump([1.0] * 300)
        assert (list(self.outbox.waiting), self.post.tried) == (["key-a"], [])
        self.configure(mailer, SETTINGS)
        assert self.outbox.done == {"key-a": "sent"}
        self.successResultOf(mailer.stopService())  # type: ignore[arg-type]
        assert self.clock.getDelayedCalls() == []


class TestStopping(MailerCase):
    def test_a_stop_at_rest_is_immediate_and_leaves_no_timer(self) -> None:
        mailer = self.start("a")
        self.successResultOf(mailer.stopService())  # type: ignore[arg-type]
        assert self.clock.getDelayedCalls() == []

    def test_a_stop_waits_for_deliveries_under_way_and_begins_no_others(self) -> None:
        self.post.hold = []
        mailer = self.start("a", "b", pace=MailerLimits(lanes=1))
        stopped = mailer.stopService()
        assert stopped is not None
        self.assertNoResult(stopped)
        self.post.hold[0].callback(None)
        self.successResultOf(stopped)
        assert self.outbox.done == {"key-a": "sent"}
        assert len(self.post.tried) == 1

    def test_a_delivery_that_hangs_is_broken_off_after_the_grace_and_its_mail_stays_in_the_outbox(self) -> None:
        self.post.hold = []
        mailer = self.start("a")
        stopped = mailer.stopService()
        assert stopped is not None
        self.clock.advance(MailerLimits().grace)
        self.successResultOf(stopped)
        assert list(self.outbox.waiting) == ["key-a"]
        assert self.clock.getDelayedCalls() == []

    def test_after_a_restart_what_was_left_is_sent(self) -> None:
        self.post.hold = []
        mailer = self.start("a")
        stopped = mailer.stopService()
        self.clock.advance(MailerLimits().grace)
        assert stopped is not None
        self.successResultOf(stopped)
        self.post.hold = None
        mailer.startService()
        assert self.outbox.done == {"key-a": "sent"}


class TestDelay(SynchronousTestCase):
    @given(st.integers(0, 10_000), st.text(max_size=20))
    def test_delays_are_the_same_each_time_and_at_most_a_quarter_less_than_their_most(
        self, tries: int, key: str
    ) -> None:
        assert 0.75 * RETRY.delay(tries) <= delay(RETRY, tries, key) <= RETRY.delay(tries)
        assert delay(RETRY, tries, key) == delay(RETRY, tries, key)

    def test_mails_that_were_put_off_together_do_not_all_come_back_together(self) -> None:
        assert len({round(delay(RETRY, 3, f"key-{n}")) for n in range(100)}) > 10


class TestCompose(SynchronousTestCase):
    @given(st.text(max_size=60))
    def test_a_subject_is_read_as_it_was_written_or_is_no_subject(self, subject: str) -> None:
        try:
            message = compose("farm@example.org", "a@example.org", subject, "body\n", key="k", now=WALL)
        except ValueError:
            assert not subject.isprintable()
            return
        read = parse(message)
        assert len(read.keys()) == 9
        assert read["Subject"].split() == subject.split()

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=400))
    def test_a_body_is_read_as_it_was_written(self, body: str) -> None:
        read = parse(compose("farm@example.org", "a@example.org", "s", body, key="k", now=WALL))
        assert read.get_content().removesuffix("\n") == body.removesuffix("\n")

    @given(st.integers(0, 3), st.sampled_from(["x", "ü"]))
    def test_no_line_of_a_message_is_longer_than_a_mail_server_must_take(self, lines: int, char: str) -> None:
        body = (char * 5000 + "\n") * lines
        message = compose("farm@example.org", "a@example.org", "s" * 150, body, key="k", now=0.0)
        assert max(map(len, message.split(b"\n"))) <= 998

    def test_a_header_cannot_be_slipped_in_by_an_address(self) -> None:
        for address in ("a@b\nBcc: c@d", "a@b>\r\nRCPT TO:<c@d", "a@b, c@d"):
            self.assertRaises(UsageError, valid_address, address)
            self.assertRaises(UsageError, compose, "farm@example.org", address, "s", "b", key="k", now=0.0)


class TestOverLoopback(TestCase):
    """Outbox, mailer and sender against a real mail server; time passes on a clock of the test's own."""

    timeout = 20

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = SmtpServer()
        self.addCleanup(self.server.end)
        self.server.start()
        self.outbox = MemoryOutbox()

    def begin(self) -> Mailer:
        settings = MailSettings("127.0.0.1", self.server.port, "farm@example.org", starttls="never")
        # Its time-outs run on a clock that stands still: mail under way is not to be cut off where a pause passes.
        deliver = SmtpDelivery(settings, reactor, Clock())
        mailer = Mailer(
            self.outbox, self.clock, WallClock(WALL, self.clock), settings, render, deliver, MailerLimits(sweep=3600)
        )
        mailer.startService()
        self.addCleanup(mailer.stopService)
        return mailer

    async def test_a_server_that_was_away_for_a_while_has_all_mail_once_it_is_back(self) -> None:
        self.server.stop()
        for mail in mails("a", "b", "c"):
            self.outbox.put(mail)
        marked = self.outbox.changed()
        self.begin()
        for _ in range(3):
            await marked
            assert "refused" in next(iter(self.outbox.reasons.values()))
            assert not self.outbox.done
            marked = self.outbox.changed()
            self.clock.advance(PAUSE.most)
        await marked
        self.server.start()
        while self.outbox.waiting:
            marked = self.outbox.changed()
            self.clock.advance(PAUSE.most)
            await marked
        assert sorted(recipient for recipient, _ in self.server.messages) == [
            "a@example.org", "b@example.org", "c@example.org",
        ]  # fmt: skip

    async def test_a_greylisting_server_takes_the_mail_at_the_second_try(self) -> None:
        self.server.mood["a@example.org"] = "defer"
        self.outbox.put(*mails("a"))
        marked = self.outbox.changed()
        self.begin()
        await marked
        assert "451 come again" in self.outbox.reasons["key-a"]
        self.server.mood.clear()
        marked = self.outbox.changed()
        self.clock.advance(RETRY.first)
        await marked
        assert self.outbox.done == {"key-a": "sent"}
        assert len(self.server.messages) == 1

    async def test_an_unknown_recipient_is_refused_and_the_others_have_their_mail(self) -> None:
        self.server.mood["a@example.org"] = "refuse"
        for mail in mails("a", "b"):
            self.outbox.put(mail)
        self.begin()
        while self.outbox.waiting:
            await self.outbox.changed()
        assert self.outbox.done == {"key-a": "refused", "key-b": "sent"}
        assert "550 no such user" in self.outbox.reasons["key-a"]
