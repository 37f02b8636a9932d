"""What is on the wire in each minor version of the protocol, as it was released: ``tests/protocol/transcripts``.

``messages.jsonl`` has the text of messages, one a line; each other file one connection: ``>`` is what the side that
connects sends, ``<`` what the metaserver does, ``*`` something that happens there. ``python -m
tests.protocol.transcripts`` writes the files of this version, where there are none yet.
"""

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field
from twisted.internet.task import Clock

from buildtool.adapters.control.build_server_link import BuildServerLink
from buildtool.adapters.control.client import connect_requester
from buildtool.adapters.control.gateway import Gateway
from buildtool.errors import BuildToolError
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import (
    Capability,
    Held,
    HeldState,
    HeldVerdict,
    Offer,
    OfferKind,
    OwnerNotice,
    ProjectSkill,
    Verdict,
)
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol import codec, hello, news, operator
from buildtool.protocol import messages as protocol
from buildtool.protocol.hooks import messages as hooks
from buildtool.protocol.pages import farm_view, figures, subscriptions, visiting
from buildtool.protocol.pages.farm_view import WhyLine
from buildtool.protocol.projects import channels, latest, targets, triggers, watches
from tests import messages
from tests.adapters.control.wires import Wires
from tests.fakes import FakeBuildServerService, FakeOrders, FakeRequestService

ROOT = Path(__file__).parent / "transcripts"
NOW = ROOT / f"{hello.PROTOCOL_VERSION}.{hello.PROTOCOL_MINOR}"
CLASSES: dict[str, type[attrs.AttrsInstance]] = {
    name: cls
    for one in (
        hello,
        protocol,
        operator,
        visiting,
        news,
        farm_view,
        figures,
        triggers,
        targets,
        subscriptions,
        latest,
        channels,
        watches,
        hooks,
    )
    for name, cls in vars(one).items()
    if attrs.has(cls) and name[0] != "_"
}

_CAPABILITY = Capability(
    (
        Offer((("arch", "ppc"), ("bits", 32), ("tools", ("gcc", "make"))), OfferKind.CROSS, (("CC", "ppc-gcc"),)),
        Offer((("libc_version", "2.17"),), up_to=(("libc_version", "2.44"),)),
    ),
    (("cpus", 2), ("memory", 4_096)),
    (ProjectSkill("testproject", 1, messages.DIGEST),),
    4,
    "a machine\nof two lines",
    "Anna <anna@mail.example>",
    "buildtool",
)
_HELD = (Held(17, 1, frozen=True), Held(18, 2, HeldState.DONE))
_NOTICE = OwnerNotice("its owner is at the machine", 1_800_000_000.0, ((1_798_000_000.0, 1_799_000_000.0),))
_JUDGED = (HeldVerdict(17, 1, Verdict.GO_ON), HeldVerdict(18, 2, Verdict.DROP, "it is cancelled"))
_TURNS = protocol.ReactorTurns(1_000, 0.5, 2.25, 7.5, 12.0, 1.5)
_WHY = WhyLine("every slot is taken", ("anna", "bob"), 2)

SAMPLES: tuple[attrs.AttrsInstance, ...] = (
    hello.Hello(3, "requester", "buildtool"),
    messages.submit(),
    messages.submit(compile={"opt": 2, "utf8": False, "a": ("b", "c")}, email='"ö"@x.example', force=True, native=True),
    protocol.SubmitTogether((messages.submit(), messages.submit(client_id="1" * 32))),
    protocol.Cancel(12, "abcdef"),
    protocol.Follow(12, "abcdef"),
    protocol.AskStatus(12, "abcdef"),
    protocol.AskExplain("testproject", "", "main", "5", {"utf8": True}, {"arch": "ppc"}, {"os": "linux"}, True, True),
    attrs.evolve(
        protocol.AskExplain("testproject", "", "main", "", {}, {}, {"os": "linux"}),
        sandbox=SandboxLevel.STRICT,
        nice=4,
        supersede=True,
    ),
    protocol.AskWhy(12, "abcdef"),
    protocol.AskBuild(17),
    messages.found(),
    messages.submit(sandbox=SandboxLevel.STRICT, nice=4, supersede=True),
    messages.told(
        artifact=messages.found(sandbox=SandboxLevel.WEAK, need=(("libc_version", "2.17"),)), sandbox=SandboxLevel.WEAK
    ),
    protocol.Register("anna", attrs.evolve(_CAPABILITY, sandbox=SandboxLevel.WEAK, sandbox_notes=("it sees /home",), access_uri="ssh://attic")),
    attrs.evolve(messages.order(), sandbox=SandboxLevel.STRICT),
    protocol.Done(17, 1, messages.DIGEST, messages.DIGEST, 5, "a.zip", 1.5, "done\n", SandboxLevel.STRICT, 0.5,
                  (("libc_version", "2.17"),)),
    messages.told(),
    messages.waiting("queued", why=("every slot is taken", "it is the \N{GRINNING FACE} third in the queue")),
    protocol.RequestStatuses((messages.told(), messages.waiting())),
    _WHY,
    messages.explanation(
        "queued", reasons=(_WHY,), seconds=12.5, basis="3 builds", build_id=17, ahead=5, ahead_own=2, ahead_shares=2
    ),
    messages.explanation("hit", artifact=messages.found(), nearest_artifact=messages.found(build_id=18), steps=3),
    protocol.AskHealth(),
    hello.AskProjects(),
    hello.AskRequests(20),
    hello.AskRefs("testproject", "trunk"),
    hello.RefsFound(("main", "v1.0")),
    watches.WatchBranch(protocol.Submit("", "lua", "ann@example.org", "", "main", "", {}, {}, {}), False, "daily"),
    watches.AskWatches(3),
    watches.EndWatch(7),
    watches.WatchesFound(
        (
            watches.WatchStatus(
                7, "lua", "", "refs/heads/main", "ann@example.org", True, "07:00 UTC", 1_700_000_000.0, "0" * 40, 2, ""
            ),
        ),
        more=True,
    ),
    watches.WatchStatus(
        8, "lua", "trunk", "HEAD", "a\N{HORIZONTAL ELLIPSIS}@b.org", False, "", 1_700_000_000.0, "r7", 0, "it is away"
    ),
    subscriptions.AskSubscription("abc.def"),
    subscriptions.EndSubscription("abc.def", again=True),
    subscriptions.SubscriptionStatus("ann@example.org", ("everything so far",), True),
    channels.AskChannels("lua"),
    channels.ChannelsFound(
        (
            channels.ChannelStatus(
                "lua", "release", "tags v*", 2, "0123456789abcdef0123456789abcdef01234567", "v1.2",
                (channels.ChannelMember("linux-ppc", "utf8=yes", 17, "lua.zip", messages.DIGEST, 12345),),
                "v1.3", ("os=linux arch=ppc",),
            ),
        )
    ),
    latest.AskLatest("lua", "", "main", {"utf8": True}, {"arch": "ppc"}, {}, True, SandboxLevel.WEAK),
    latest.LatestFound("lua", "main", "0123456789abcdef0123456789abcdef01234567", messages.found(), 3, 1_700_000_000.0,
                       12.5, 4),
    latest.LatestFound("lua", "main", "r17", None, 0, 0.0, 0.0, 10_000, more=True),
    triggers.AskTriggers("lua/push main"),
    triggers.LookNow("lua"),
    triggers.TriggersFound(
        (
            triggers.TriggerStatus(
                "lua", "push main", "every 10m", ("refs/heads/main",), 4, 1, 1_700_000_000.0, 1_700_000_600.0,
                "asked for main at 0123456789ab: requests 7 to 10",
            ),
            triggers.TriggerStatus(
                "lua", "tag v*", "every 10m", ("refs/tags/v*",), 4, 0, None, 1_700_000_020.0, "it does not answer", True
            ),
        ),
        more=True,
        hooks=(
            triggers.HookStatus(
                "lua", 1_700_000_000.0, "GitHub: push of refs/heads/main", (triggers.RefusalCount("forged", 2),),
                1_700_000_020.0, "the signature is not made with this project's secret",
            ),
        ),
    ),
    targets.AskTargets("lua/github_status acme/lua"),
    targets.TryTargets("lua"),
    targets.TargetsFound(
        (
            targets.TargetStatus("lua/github_status acme/lua", 0, None, 0, 1_700_000_000.0, ""),
            targets.TargetStatus(
                "lua/webhook https://farm.test/hook", 2, 1_700_000_000.0, 1, None, "it answers 502", away=True
            ),
        ),
        more=True,
    ),
    hooks.DeliverHook("lua", {"x-github-event": "push"}, "eNqrrgUAAXUA+Q==", 2, by_tls=True),
    hooks.HookAnswered(202, "lua looks at its repository: push"),
    messages.waiting(asked_at=1_700_000_000.0, ref="main", since=1_700_000_060.5, usual=90.25),
    hello.ProjectsDescribed("0" * 64, '{"projects":[]}'),
    _TURNS,
    protocol.HealthStatus(False, ("the disk is full",), _TURNS, 5_400.5),
    protocol.HealthStatus(True),
    protocol.Refused("usage", '--opt: no such option\ttab \x7f \\ " é'),
    protocol.Register("anna", _CAPABILITY, _HELD, "0123abcd", _NOTICE),
    protocol.Welcome(7, "http://127.0.0.1:23433", 10**9, 10**7, 60.0, _JUDGED),
    protocol.Heartbeat(_HELD, _NOTICE),
    protocol.HeartbeatAnswer(_JUDGED),
    protocol.Draining("it is Friday"),
    messages.order(),
    protocol.AbortOrder(17, 1, "nobody waits for it any more"),
    protocol.Accepted(17, 1),
    attrs.evolve(protocol.Ended(17, 1, AttemptEnd.FAILED, "exit code 2", ""), processor=12.25),
    *(protocol.Ended(17, 1, end, "exit code 2", "make: *** [all] Error 2\n\x1b[0m") for end in AttemptEnd),
    protocol.Done(17, 1, messages.DIGEST, messages.DIGEST, 5, "a.zip", 1.5, "done\n"),
    protocol.RenewTickets(17, 1, source=True),
    protocol.Tickets("log", "artifact", "source"),
    protocol.Goodbye("the build server stops"),
    protocol.Ok(stale=True),
    operator.AskFarmStatus(),
    operator.PauseServer("anna", "its disk is changed"),
    operator.ResumeServer("anna"),
    operator.ForgetServer("anna"),
    operator.AbortBuild(17, "wrong branch"),
    operator.DrainServer("attic", "its disk is being replaced", only_look=True),
    operator.AbortSeveral(("lua",), ("linux-ppc",), ("anna@example.org",), "wrong branch", True, 17, 3),
    operator.CancelSeveral(("lua",), ("ppc",), ("anna@example.org",), "she left", only_count=True, until=17, said=3),
    operator.SeveralEnded(("3 builds are aborted; 4 requests are told",), 3, 1, 17, more=True),
    operator.RaiseRequest(17, 20),
    operator.LowerRequest(17, 5, "abcdef"),
    operator.RebuildBuild(17, "anna@mail.example", "0" * 32),
    operator.PurgeArtifact(messages.DIGEST, "it is infected"),
    operator.PurgeBuiltBy("anna", "it was infected"),
    operator.ForgetFailure(17),
    operator.Drain(on=True),
    operator.ReportBounce("b17-0123456789abcdef0123", "550 5.1.1 user unknown"),
    operator.FarmStatus(
        3, 1, 1, 1, 2, None, 0, False, ("the outbox cannot be read",),
        (operator.ServerStatus("anna", "building", "", 1, 4), operator.ServerStatus("bob", "missing", "lost", 0, 2)),
        (operator.RunningBuildStatus(17, 1, "testproject", "0123abcd" * 5, "anna", "building", 61.5),),
        (operator.WaitingBuildStatus(18, "testproject", "0123abcd" * 5, 2, 0.25, ("every slot is taken",)),),
        _TURNS,
    ),
    operator.ActionResult(("build 17 is aborted; 2 requests told",), build_id=17, count=2),
    visiting.AskBuildFor(17, "ab" * 32, "192.0.2.7", trusted=True),
    visiting.AskHealthFor("ab" * 32, "127.0.0.1", trusted=True),
    news.FollowEvents(),
    news.EventsFollowed(41),
    news.EventNotes(41, 44, (news.EventNote(43, "build-queued", "build/17"), news.EventNote(44, "x", "farm")), False),
    visiting.MakeToken("nightly builds", 86_400.0, ("submit", "cancel")),
    visiting.TokenMade("bt_" + "t" * 32, "ab" * 8, 1_790_086_400.5),
    visiting.AskTokens("anna"),
    visiting.TokenList(
        (
            visiting.ListedToken(
                "ab" * 8, "token", "nightly builds", "anna", "requester", ("submit",), 1_790_000_000.0, 1_790_086_400.5,
                this=True,
            ),
        ),
        more=True,
    ),
    visiting.EndToken("ab" * 8),
    visiting.ActFor("bt_" + "t" * 32, "192.0.2.7", True, protocol.AskBuild(17), "anna@example.org"),
    visiting.AskVisitor("bt_" + "t" * 32, "192.0.2.7", trusted=False),
    visiting.VisitorStatus(
        "requester", "anna", "anna@example.org", ("lua",), ("linux-ppc",), ("submit",), 1_790_000_010.0,
        (visiting.LimitLeft("requests", 1_000.0, 3_600.0, 997, 10.8),),
    ),
    visiting.AskSignIn("", "192.0.2.7", False, "anna@example.org", "b" * 32),
    visiting.SignIn("", "192.0.2.7", False, "aaaa-bbbb-cccc-dddd", "b" * 32, "Firefox"),
    visiting.SignedIn("bs_" + "s" * 32, "anna", "requester", 1_790_086_400.5),
    visiting.SignOut("bs_" + "s" * 32, "192.0.2.7", trusted=False),
    farm_view.AskFarm(),
    farm_view.FarmView(
        (farm_view.RunningView(17, 84.5, 130.0, "5 earlier builds of lua on elm"),),
        (farm_view.WaitView("busy", "a slot to be free", ("elm",), 1, (18, 19), 6, 46.0, "6 ahead, one slot", ""),),
        2,
        draining=False,
    ),
    figures.AskFigures(),
    figures.FiguresTold((figures.Figure("buildtool_builds_running", ("linux-ppc",), (3.0,)),)),
)  # fmt: skip

Log = list[tuple[str, bytes]]


@define(eq=False)
class Recorded(Wires):
    """Connections of which is kept what was sent, and by which side."""

    log: Log = field(factory=list)

    def __attrs_post_init__(self) -> None:
        assert self.server is not None
        build = self.server.buildProtocol

        def built(address: Any) -> Any:
            made = build(address)
            made.dataReceived = self._kept(">", made.dataReceived)  # type: ignore[union-attr, method-assign]
            return made

        self.server.buildProtocol = built  # type: ignore[method-assign, assignment]

    def join(self, client: Any) -> bool:
        client.dataReceived = self._kept("<", client.dataReceived)
        return super().join(client)

    def _kept(self, mark: str, receive: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def received(data: bytes) -> None:
            if self.log and self.log[-1][0] == mark:
                self.log[-1] = mark, self.log[-1][1] + data
            else:
                self.log.append((mark, data))
            receive(data)

        return received


@define(eq=False)
class Stage:
    """A metaserver with fakes behind it, and what may happen there."""

    clock: Clock = field(factory=Clock)
    gateway: Gateway = field(init=False)
    ends: Recorded = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.gateway = Gateway(self.clock)
        requests = FakeRequestService({12: messages.waiting()})
        servers = FakeBuildServerService(verdicts=_JUDGED)
        self.ends = Recorded(self.clock, self.gateway.factory(requests.handlers, servers.handlers))

    def happens(self, what: str) -> None:
        """Do what a transcript says, and let everything flow."""
        self.ends.log.append(("*", what.encode()))
        if what == "time passes":
            self.ends.advance(15.0)
        elif what == "a request moves":
            self.gateway.followers.moved(messages.told())
        elif what == "a build is ordered":
            self.gateway.connections.dispatch("anna", 1, messages.order())
        elif what == "a build is aborted":
            self.gateway.connections.abort("anna", 1, protocol.AbortOrder(17, 1, "nobody waits for it any more"))
        self.ends.run()


def requester(stage: Stage) -> None:
    """Submit, follow, and ask everything that a requester may."""
    client = stage.ends.result(connect_requester(stage.ends, "here", stage.clock))  # type: ignore[arg-type]
    stage.ends.result(client.ask(messages.submit(), protocol.RequestStatus))
    stage.ends.result(client.ask(protocol.SubmitTogether((messages.submit(),)), protocol.RequestStatuses))
    stage.ends.result(client.follow(protocol.Follow(12, "abcdef"), lambda _: None))
    stage.happens("time passes")
    stage.happens("a request moves")
    stage.ends.result(client.ask(protocol.AskWhy(12, "abcdef"), protocol.Explanation))
    stage.ends.result(client.ask(protocol.AskBuild(17), protocol.Explanation))
    stage.ends.result(client.ask(protocol.AskHealth(), protocol.HealthStatus))
    stage.ends.result(client.ask(hello.AskProjects(), hello.ProjectsDescribed))
    try:
        stage.ends.result(client.ask(protocol.AskStatus(12, "wrong"), protocol.RequestStatus))
    except BuildToolError:
        stage.ends.result(client.ask(protocol.Cancel(12, "abcdef"), protocol.RequestStatus))


def build_server(stage: Stage) -> None:
    """Register, take an order, be told to stop it, live, end it, and say good-bye."""
    register = protocol.Register("anna", _CAPABILITY, (), "0123abcd")
    link = BuildServerLink(stage.ends, "here", lambda: register, stage.clock, final=lambda _: None)  # type: ignore[arg-type]
    link.orders = FakeOrders(has=_HELD)
    link.startService()
    stage.ends.run()
    stage.happens("a build is ordered")
    stage.happens("a build is aborted")
    stage.happens("time passes")
    stage.ends.result(link.tell(protocol.RenewTickets(17, 1, source=True), protocol.Tickets))
    stage.ends.result(link.tell(protocol.Draining("it is Friday"), protocol.Ok))
    stage.ends.result(link.tell(protocol.Ended(17, 1, AttemptEnd.FAILED, "exit code 2", ""), protocol.Ok))
    stage.ends.result(
        link.tell(protocol.Done(18, 2, messages.DIGEST, messages.DIGEST, 5, "a.zip", 1.5, ""), protocol.Ok)
    )
    stage.ends.outcome(link.stopService())


PLAYS: dict[str, Callable[[Stage], None]] = {"requester.txt": requester, "build_server.txt": build_server}


def played(play: Callable[[Stage], None]) -> Log:
    """Return what both sides send in a play."""
    stage = Stage()
    play(stage)
    return stage.ends.log


def log_of(text: str) -> Log:
    """Return what a transcript of a connection says."""
    return [(line[0], ast.literal_eval(line[2:])) for line in text.splitlines()]


def files() -> dict[str, str]:
    """Return the transcripts of this version, by name."""
    found = {"messages.jsonl": "".join(f"{codec.text_of(sample).decode()}\n" for sample in SAMPLES)}
    for name, play in PLAYS.items():
        found[name] = "".join(f"{mark} {data!r}\n" for mark, data in played(play))
    return found


def main() -> int:
    """Write the transcripts of this version, unless it has some."""
    if NOW.exists():
        print(f"{NOW} is there already: a released version never changes", file=sys.stderr)
        return 1
    NOW.mkdir(parents=True)
    for name, text in files().items():
        (NOW / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
