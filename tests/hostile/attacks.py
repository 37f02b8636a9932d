"""The attacks, by name. Each runs until its time is over, whatever the farm answers; being refused is no failure."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException

import attrs
from attrs import define, field

from buildtool.errors import BuildToolError
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import ProjectSkill
from buildtool.protocol.codec import decode, text_of
from buildtool.protocol.messages import Accepted, AskExplain, Draining, Ended, Goodbye, Heartbeat, Order, SubmitTogether
from tests.hostile.peer import LOCAL, Gone, Peer, registration, submission

CALLS = 64
"""Calls that one connection may have waiting."""

FILLER = 90
"""Properties of 4 KB each in a question that is as large as may be."""

CONTROL = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e\r\n\u2028"
"""What does something to a terminal, or to the order of what is read, in every text of a peer here."""

SPAM = f"BUY NOW http://evil.example/ {CONTROL}" * 8


@define(eq=False)
class Target:
    """The farm that is attacked: its ports, a project that it has, a commit of that, and the time when it is over."""

    control: int
    transfer: int
    web: int
    skill: ProjectSkill
    commit: str
    option: str
    until: float
    source: str = "127.0.0.1"
    held: list[Peer] = field(factory=list)

    def goes_on(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.until

    def peer(self, role: str = "requester", *, hello: bool = True) -> Peer:
        """Connect once more."""
        return Peer(self.control, role, hello=hello, source=self.source)

    def server(self, name: str, *, offers: int = 1, host_info: str = "") -> Peer:
        """Connect as a build server under ``name``. Raises Gone if it is refused."""
        peer = self.peer("build server")
        answer = peer.asked("register", registration(name, self.skill, offers=offers, host_info=host_info))
        if answer.get("type") != "Welcome":
            peer.close()
            raise Gone(f"registering was answered {answer}")
        return peer

    def explain(self, revision: str = "", *, filler: int = 0, revrange: str = "") -> AskExplain:
        """Return a question; ``filler`` makes it large."""
        more = {f"p{secrets.token_hex(3)}_{each}": "x" * 4_090 for each in range(filler)}
        return AskExplain(self.skill.project, "", revision or self.commit, revrange, {}, {}, {**LOCAL, **more})


@contextmanager
def _refusals() -> Iterator[None]:
    """Take being refused, cut off or not answered as what an attacker has to expect."""
    with suppress(Gone, OSError, HTTPException, BuildToolError):
        yield


def _again(target: Target, act: Callable[[], None]) -> None:
    while target.goes_on():
        began = time.monotonic()
        with _refusals():
            act()
        if time.monotonic() - began < 0.01:
            time.sleep(0.01)


def questions(target: Target) -> None:
    """Announce 64 platforms under each of many names, leave, and ask 64 questions at a time about all of them."""
    for number in range(150):
        with _refusals():
            target.server(f"liar-{secrets.token_hex(4)}-{number}", offers=64).close()
    question = text_of(target.explain())

    def ask() -> None:
        with target.peer() as peer:
            while target.goes_on():
                for number in [peer.send("explain", question) for _ in range(CALLS)]:
                    peer.answer(number)

    _again(target, ask)


def waiting_calls(target: Target) -> None:
    """Keep ten connections full of calls of 370 KB whose answers wait for a commit that there is not."""
    peers: list[Peer] = []
    for _ in range(10):
        with _refusals():
            peers.append(target.peer())

    def flood() -> None:
        for each, peer in enumerate(peers):
            try:
                for _ in range(CALLS):
                    peer.send("explain", text_of(target.explain(secrets.token_hex(20), filler=FILLER)))
            except (Gone, OSError):
                peers[each] = target.peer()

    _again(target, flood)


def understood(target: Target) -> None:
    """Ask one question at a time, each with 360 KB that it does not need and that is never the same."""

    def ask() -> None:
        with target.peer() as peer:
            while target.goes_on():
                peer.call("explain", text_of(target.explain(filler=FILLER - 2)))

    _again(target, ask)


def unknown_commits(target: Target) -> None:
    """Ask for 256 commits that there are not, over four connections, and hang up; again and again."""

    def ask() -> None:
        peers = [target.peer() for _ in range(4)]
        for peer in peers:
            for _ in range(CALLS):
                peer.send("explain", text_of(target.explain(secrets.token_hex(20))))
        time.sleep(1.0)
        for peer in peers:
            peer.close()

    _again(target, ask)


def wide_ranges(target: Target) -> None:
    """Ask 64 times at once for everything within 999 commits."""

    def ask() -> None:
        with target.peer() as peer:
            question = text_of(target.explain(revrange="999"))
            for number in [peer.send("explain", question) for _ in range(CALLS)]:
                peer.answer(number)

    _again(target, ask)


def silent(target: Target) -> None:
    """Hold hundreds of connections to all three ports that say nothing, or say a byte now and then."""
    held: list[socket.socket] = []

    def hold() -> None:
        if len(held) < 1_200:
            for port in (target.control, target.transfer, target.web):
                one = socket.create_connection(("127.0.0.1", port), 5.0, source_address=(target.source, 0))
                if port != target.control:
                    one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A")
                held.append(one)
        else:
            held[:] = held[300:]

    _again(target, hold)


def chatter(target: Target) -> None:
    """Say again and again, with control characters, that one drains, and say good-bye in four thousand characters."""
    draining = text_of(Draining("A" * 2_000 + CONTROL + "B" * 1_900))

    def talk() -> None:
        name = f"chatty-{secrets.token_hex(2)}"
        with target.server(name, host_info=CONTROL) as peer:
            end = min(target.until, time.monotonic() + 2.0)
            while time.monotonic() < end:
                for number in [peer.send("draining", draining) for _ in range(CALLS - 4)]:
                    peer.answer(number)
            peer.call("goodbye", text_of(Goodbye("G" * 4_000)))

    _again(target, talk)


def names(target: Target) -> None:
    """Log in under one invented name after another."""
    _again(target, lambda: target.server(f"invented-{secrets.token_hex(6)}").close())


def pages(target: Target) -> None:
    """Show up as many machines with 4 KB of text that is slow to scan, and look at the pages that have it."""
    for number in range(50):
        with _refusals():
            target.held.append(target.server(f"info-{number}-{secrets.token_hex(2)}", host_info="i" * 4_000))

    def look() -> None:
        connection = HTTPConnection("127.0.0.1", target.web, timeout=20, source_address=(target.source, 0))
        try:
            connection.request("GET", "/buildservers")
            connection.getresponse().read()
        finally:
            connection.close()

    _again(target, look)


def mails(target: Target) -> None:
    """Have a victim mailed, in one's own words, about builds that one asked for and one failed oneself."""
    count = secrets.randbelow(10**6)

    def bomb() -> None:
        nonlocal count
        with target.server(f"bomber-{secrets.token_hex(2)}") as server, target.peer() as peer:
            while target.goes_on():
                count += 1
                wanted = submission(
                    target.skill.project, target.commit, {target.option: count}, "victim@victim.example"
                )
                if peer.asked("submit", wanted).get("answer") != "dispatched":
                    return
                _, arguments, number = server.order()
                (asked,) = arguments if isinstance(arguments, tuple) else (None,)
                order = decode(Order, asked)
                server.reply(number, Accepted(order.build_id, order.epoch))
                server.asked("ended", Ended(order.build_id, order.epoch, AttemptEnd.FAILED, SPAM, SPAM))

    _again(target, bomb)


def together(target: Target) -> None:
    """Ask for 64 builds at once that nobody can make, where the reasons are as long as liars can make them."""
    for number in range(40):
        with _refusals():
            target.held.append(target.server(f"s{number}-{secrets.token_hex(2)}" + "x" * 40, offers=8))
    count = secrets.randbelow(10**6)

    def ask() -> None:
        nonlocal count
        count += CALLS
        wanted = tuple(
            attrs.evolve(
                submission(target.skill.project, target.commit, {target.option: count + each}), system={"arch": "zz1"}
            )
            for each in range(CALLS)
        )
        with target.peer() as peer:
            peer.asked("together", SubmitTogether(wanted))
            for each in target.held:
                with _refusals():
                    each.asked("heartbeat", Heartbeat())

    _again(target, ask)


ATTACKS: dict[str, Callable[[Target], None]] = {
    act.__name__: act
    for act in (
        questions,
        waiting_calls,
        understood,
        unknown_commits,
        wide_ranges,
        silent,
        chatter,
        names,
        pages,
        mails,
        together,
    )
}
