"""A requester's errand: what is asked, said, followed and fetched, and where a lost connection leaves it."""

from collections.abc import Coroutine
from typing import Any

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from buildtool.errors import (
    BuildToolError,
    Conflict,
    DecodeError,
    StorageUnavailable,
    Unauthorised,
    Unavailable,
    UnknownRef,
    UsageError,
    WrongDigest,
)
from buildtool.model.logs.index import Phase
from buildtool.model.text import LINE_LIMIT
from buildtool.model.trust.evidence import ANYTHING, EvidencePolicy, SandboxLevel
from buildtool.ports.requester import Tone
from buildtool.protocol.hello import AskRequests
from buildtool.protocol.messages import AskStatus, Cancel, RequestStatus
from buildtool.requester import text as lines
from buildtool.requester.outcome import MEANINGS, ExitCode, RequestResult, as_json, exit_of_error
from buildtool.requester.requester import Requester, RequestPlan
from tests import messages
from tests.fakes import FakeDownloads, FakeMetaserver

NAME = messages.found().name
LOG = "http://127.0.0.1:23433/logs/17/1"
LOST = Unavailable("the connection was lost")


@define
class Recorder:
    """A console that keeps what it was shown."""

    said: list[str] = field(factory=list)
    states: list[RequestStatus] = field(factory=list)
    logged: bytes = b""
    bars: list[tuple[int, int]] = field(factory=list)

    tones: dict[str, Tone] = field(factory=dict)
    lasting: list[float] = field(factory=list)

    def say(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        self.said.append(line)
        self.tones[line] = tone

    def state(self, told: RequestStatus, seconds: float) -> None:
        self.states.append(told)
        self.lasting.append(seconds)

    def moved(self, told: RequestStatus, line: str) -> None:
        self.say(line)

    def log(self, data: bytes) -> None:
        self.logged += data

    def downloading(self, name: str, received: int, size: int) -> None:
        self.bars.append((received, size))


@define
class FakePlace:
    """Files by path; ``held`` are there already."""

    held: dict[str, str] = field(factory=dict)
    fail: BuildToolError | None = None

    async def choose(self, name: str) -> str:
        if self.fail is not None:
            raise self.fail
        return f"/here/{name}"

    async def occupied(self, path: str) -> bool:
        return path in self.held

    async def holds(self, path: str, size: int, digest: str) -> bool:
        return self.held.get(path) == digest


WALL = 1_000_000.0
"""What the clock of whoever asks says at the beginning."""


@define(eq=False)
class Errand:
    """A Requester among fakes, under a Clock."""

    metaserver: FakeMetaserver
    clock: Clock = field(factory=Clock)
    downloads: FakeDownloads = field(init=False)
    console: Recorder = field(factory=Recorder)
    place: FakePlace = field(factory=FakePlace)
    requester: Requester = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.downloads = FakeDownloads(self.clock)
        self.requester = Requester(
            self.metaserver.connect,
            self.downloads,
            self.console,
            self.place,
            self.clock,
            lambda: WALL + self.clock.seconds(),
            "bin/startcompile.py",
        )

    def begin(self, *, foreground: bool = False, download: bool = True) -> list[Any]:
        """Ask; return a list that gets the Result or the Failure."""
        found: list[Any] = []
        self.asking = Deferred.fromCoroutine(self.requester.ask(RequestPlan(messages.submit(), foreground, download)))
        self.asking.addBoth(found.append)
        return found

    def ask(self, *, foreground: bool = False, download: bool = True) -> RequestResult:
        found = self.begin(foreground=foreground, download=download)
        for _ in range(200):
            if found:
                break
            self.clock.advance(1)
        assert found, self.console.said
        if not isinstance(found[0], RequestResult):
            found[0].raiseException()
        result: RequestResult = found[0]
        return result

    asking: Deferred[Any] = field(init=False)


def errand(*answers: RequestStatus | BuildToolError) -> Errand:
    return Errand(FakeMetaserver(list(answers)))


def test_a_metaserver_that_tells_changes_without_end_does_not_fill_the_screen() -> None:
    it = errand(messages.waiting(log_url=""))
    found = it.begin(foreground=True)
    for number in range(5_000):
        it.metaserver.move(messages.waiting(epoch=number % 2 + 1, server=f"s{number}", log_url=""))
        it.clock.advance(0.001)
    it.metaserver.move(messages.told(answer="dispatched", build_id=17))
    it.clock.advance(0)
    assert found[0].exit is ExitCode.OK
    assert len(it.console.said) < 200
    left = sum(
        int(line.split()[0].replace(",", "")) for line in it.console.said if "more changes were not shown" in line
    )
    assert left > 4_800


# --- taking a request up again ----------------------------------------------------------------------------


def taken_up(it: Errand, *, wait: bool, policy: EvidencePolicy = ANYTHING) -> list[Any]:
    """Follow request 12; return a list that gets the Result or the Failure."""
    found: list[Any] = []
    question = AskStatus(messages.told().request_id, messages.told().token)
    it.asking = Deferred.fromCoroutine(it.requester.follow(question, wait=wait, download=True, policy=policy))
    it.asking.addBoth(found.append)
    return found


def test_a_request_that_was_made_before_is_followed_to_its_end_and_its_artifact_fetched() -> None:
    it = errand()
    it.metaserver.requests[messages.told().request_id] = messages.waiting(log_url="")
    found = taken_up(it, wait=True)
    assert "waits for build 17" in it.console.said[0]
    assert any(line.startswith("cancel with: ") for line in it.console.said)
    it.metaserver.lose()
    it.clock.advance(1)
    it.metaserver.move(messages.told(answer="dispatched", build_id=17))
    it.clock.advance(1)
    assert (found[0].exit, found[0].path) == (ExitCode.OK, f"/here/{NAME}")
    assert it.metaserver.submitted == []


def test_one_that_has_ended_is_fetched_and_one_that_waits_is_left_alone_unless_it_is_waited_for() -> None:
    it = errand()
    it.metaserver.requests[messages.told().request_id] = messages.waiting(log_url="")
    assert taken_up(it, wait=False)[0].exit is ExitCode.WAITING
    assert it.downloads.fetched == []
    it.metaserver.requests[messages.told().request_id] = messages.told(answer="dispatched", build_id=17)
    assert taken_up(it, wait=False)[0].path == f"/here/{NAME}"
    failed = messages.told(answer="dispatched", state="failed", reason="make: exited with code 2", artifact=None)
    it.metaserver.requests[messages.told().request_id] = failed
    assert taken_up(it, wait=True)[0].exit is ExitCode.FAILED


def test_what_was_made_in_less_than_is_taken_is_not_fetched_and_a_line_says_so() -> None:
    it = errand()
    made = messages.told(answer="dispatched", build_id=17)
    assert made.artifact is not None
    it.metaserver.requests[made.request_id] = evolve(made, artifact=evolve(made.artifact, sandbox=SandboxLevel.WEAK))
    found = taken_up(it, wait=False, policy=EvidencePolicy(SandboxLevel.STRICT))
    assert (found[0].exit, found[0].path) == (ExitCode.DOWNLOAD, "")
    assert str(found[0].error) == "what has that digest needs a strict sandbox, has a weak one"
    assert it.downloads.fetched == []
    assert taken_up(it, wait=False, policy=EvidencePolicy(SandboxLevel.WEAK))[0].path == f"/here/{NAME}"


def test_a_page_is_said_and_shown_and_a_request_without_one_says_so() -> None:
    it, pages = errand(), list[str]()
    number, token = messages.told().request_id, messages.told().token
    it.metaserver.requests[number] = messages.waiting(page_url="http://farm.example.org/build/17")
    found: list[Any] = []
    Deferred.fromCoroutine(it.requester.page(AskStatus(number, token), pages.append)).addBoth(found.append)
    assert (found[0].exit, pages, it.console.said) == (ExitCode.OK, ["http://farm.example.org/build/17"], pages)
    it.metaserver.requests[number] = messages.waiting(page_url="")
    Deferred.fromCoroutine(it.requester.page(AskStatus(number, token), pages.append)).addBoth(found.append)
    assert "has no build yet" in found[1].getErrorMessage()


# --- asking for several at once --------------------------------------------------------------------------


def test_each_of_several_is_told_with_its_id_the_answer_why_and_the_command_that_cancels_it() -> None:
    asked = [messages.submit(client_id=f"{size:032x}", compile={"size": size}) for size in (16, 32, 64)]
    queued = messages.waiting("queued", request_id=11, why=("anna: is busy",))
    running = messages.waiting("dispatched", request_id=12)
    hit = messages.told(request_id=13)
    it = errand(queued, running, hit)
    found: list[Any] = []
    asking = it.requester.ask_together([RequestPlan(one, False, False) for one in asked])
    Deferred.fromCoroutine(asking).addBoth(found.append)
    it.clock.advance(0)
    ids = [f"{told.request_id}-{told.token}" for told in (queued, running)]
    head = it.console.said.index("request 11 (size=16): queued as build 17: no build server can take it now")
    assert it.console.said[head : head + 8] == [
        "request 11 (size=16): queued as build 17: no build server can take it now",
        "  anna: is busy",
        f"  page: {queued.page_url}",
        f"  cancel with: bin/startcompile.py cancel {ids[0]}",
        f"request 12 (size=32): {lines.answered(running, 0.0)[0]}",
        f"  page: {running.page_url}",
        f"  cancel with: bin/startcompile.py cancel {ids[1]}",
        "request 13 (size=64): hit: found in 0 ms",
    ]  # fmt: skip
    (results,) = found
    assert [as_json(result)["cancel_id"] for result in results][:2] == ids


# --- asking -----------------------------------------------------------------------------------------------


def test_a_hit_is_said_to_be_one_and_downloaded() -> None:
    it = errand(messages.told())
    result = it.ask()
    assert (result.exit, result.path) == (ExitCode.OK, f"/here/{NAME}")
    assert it.console.said[0] == "hit: found in 0 ms"
    assert it.downloads.fetched == [(messages.found().url, f"/here/{NAME}")]
    assert it.console.bars[-1] == (12_345, 12_345)
    assert it.metaserver.clients[0].ended, "the connection is not left open"


def test_a_hit_is_only_told_without_download() -> None:
    it = errand(messages.told())
    result = it.ask(download=False)
    assert (result.exit, result.path) == (ExitCode.OK, "")
    assert it.console.said[-1] == f"it is at {messages.found().url}"
    assert not it.downloads.fetched


def test_a_file_that_is_there_with_the_right_digest_is_not_fetched_again() -> None:
    it = errand(messages.told())
    it.place.held = {f"/here/{NAME}": messages.DIGEST}
    assert it.ask().path == f"/here/{NAME}"
    assert not it.downloads.fetched


@pytest.mark.parametrize(
    "name",
    ["Makefile", "../x.zip", ".bashrc", ".x.zip", "/etc/x.zip", "a\\b.zip", "a b.zip", "x.zip\n", "-rf.zip", "a.py"],
)
def test_a_name_that_is_none_of_an_artifact_is_no_file(name: str) -> None:
    it = errand(messages.told(artifact=messages.found(name=name)))
    result = it.ask()
    assert result.exit is ExitCode.DOWNLOAD
    assert "which is no name of one" in str(result.error)
    assert not it.downloads.fetched


def test_a_file_is_not_replaced_that_only_a_build_server_called_like_the_artifact() -> None:
    """A donor chooses the name, and where nobody asked for another it is written in the current directory."""
    it = errand(messages.told(artifact=messages.found(name="photos.zip")))
    it.place.held = {"/here/photos.zip": "one's own"}
    result = it.ask()
    assert result.exit is ExitCode.DOWNLOAD
    assert "/here/photos.zip is there, and photos.zip is no name that testproject has" in str(result.error)
    assert not it.downloads.fetched
    it.place.held = {}
    assert it.ask().path == "/here/photos.zip"
    it = errand(messages.told())
    it.place.held = {f"/here/{NAME}": "another build of it"}
    assert it.ask().path == f"/here/{NAME}"


def test_what_is_no_digest_names_no_file_either() -> None:
    it = errand(messages.told(artifact=messages.found(digest="../../../" + "a" * 55)))
    assert "no SHA-256" in str(it.ask().error)
    assert not it.downloads.fetched


@pytest.mark.parametrize(
    ("told", "first"),
    [
        (messages.waiting(), "dispatched as build 17, building on anna (native)"),
        (
            messages.waiting(kind="cross"),
            "dispatched as build 17, building on anna (cross-compiled)",
        ),
        (messages.waiting(kind="emulated"), "dispatched as build 17, building on anna (emulated)"),
        (messages.waiting("joined"), "joined build 17 (building on anna (native))"),
        (messages.waiting("joined", build_state="queued", server=""), "joined build 17 (queued)"),
        (messages.waiting("queued", why=("anna: is busy",)), "queued as build 17: no build server can take it now"),
    ],
)
def test_who_has_to_wait_is_told_how_it_stands_that_mail_comes_and_how_to_cancel(
    told: RequestStatus, first: str
) -> None:
    it = errand(told)
    assert it.ask() == RequestResult(ExitCode.OK, told)
    assert it.console.said[0] == first
    assert it.console.said[1:][: len(told.why)] == [f"  {line}" for line in told.why]
    assert it.console.said[-3:] == [
        "mail will go to anna@mail.example",
        "page: http://127.0.0.1:8080/build/17",
        "cancel with: bin/startcompile.py cancel 12-abcdef",
    ]


def test_a_failure_that_is_remembered_exits_as_a_failure_and_names_force() -> None:
    it = errand(messages.waiting("known-failure", state="failed", reason="make failed"))
    assert it.ask().exit is ExitCode.FAILED
    assert it.console.said == ["failed before, in build 17: make failed", "nothing was built again; --force does"]


def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_id() -> None:
    it = errand(LOST, LOST, messages.waiting())
    assert it.ask().exit is ExitCode.OK
    assert it.metaserver.submitted == [messages.submit()] * 3
    assert "sent again in 0.5 s" in it.console.said[0]
    assert "sent again in 1 s" in it.console.said[1]


def test_a_metaserver_that_goes_away_before_the_answer_is_tried_a_few_times_only() -> None:
    it = errand(*[LOST] * 10)
    with pytest.raises(Unavailable):
        it.ask()
    assert len(it.metaserver.submitted) == 6


def test_a_metaserver_that_was_never_there_is_an_error_at_once() -> None:
    it = Errand(FakeMetaserver(refuse=[Unavailable("no metaserver answers")] * 2))
    found = it.begin()
    assert found
    assert found[0].check(Unavailable)


@pytest.mark.parametrize("problem", [UnknownRef("no ref x"), UsageError("no"), StorageUnavailable("full")])
def test_a_refusal_is_not_tried_again(problem: BuildToolError) -> None:
    it = errand(problem)
    with pytest.raises(type(problem)):
        it.ask()
    assert len(it.metaserver.submitted) == 1


# --- following --------------------------------------------------------------------------------------------


def test_in_the_foreground_state_and_log_are_shown_and_the_artifact_is_fetched() -> None:
    it = errand(messages.waiting("queued"))
    it.downloads.logs = {LOG: b"make\n\xff done\n"}
    found = it.begin(foreground=True)
    it.metaserver.move(messages.waiting("queued", build_state="running", epoch=1, server="anna", log_url=LOG))
    it.clock.advance(0)
    assert "build 17: building on anna (native)" in it.console.said
    assert it.console.logged == b"make\n\xff done\n"
    assert not found
    it.metaserver.move(messages.told(answer="queued", build_id=17))
    it.clock.advance(0)
    assert found[0].exit is ExitCode.OK
    assert found[0].path == f"/here/{NAME}"
    assert "build 17 succeeded" in it.console.said
    assert list(dict.fromkeys((told.build_state, told.state) for told in it.console.states)) == [
        ("queued", "waiting"), ("running", "waiting"), ("", "satisfied"),
    ], "the display follows to the end"  # fmt: skip


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("failed", ExitCode.FAILED),
        ("unbuildable", ExitCode.UNBUILDABLE),
        ("cancelled", ExitCode.CANCELLED),
        ("expired", ExitCode.EXPIRED),
        ("something new", ExitCode.INTERNAL),
    ],
)
def test_the_exit_code_is_the_outcome(state: str, code: ExitCode) -> None:
    it = errand(messages.waiting())
    it.downloads.logs = {LOG: b""}
    found = it.begin(foreground=True)
    it.metaserver.move(messages.waiting(state=state, reason="a reason"))
    it.clock.advance(0)
    assert found[0].exit is code
    assert not it.downloads.fetched


def test_a_second_attempt_is_said_and_its_log_follows() -> None:
    second = "http://127.0.0.1:23433/logs/17/2"
    it = errand(messages.waiting())
    it.downloads.logs = {LOG: b"one\n", second: b"two\n"}
    it.begin(foreground=True)
    it.metaserver.move(messages.waiting(build_state="queued", server=""))
    it.metaserver.move(messages.waiting(epoch=2, server="bob", log_url=second))
    it.clock.advance(0)
    assert it.console.said[-2:] == ["build 17 is queued again", "build 17: building on bob (native), attempt 2"]
    assert it.console.logged == b"one\ntwo\n"


def test_a_lost_connection_is_made_again_and_what_happened_meanwhile_is_heard() -> None:
    it = errand(messages.waiting())
    it.downloads.logs = {LOG: b"all\n"}
    found = it.begin(foreground=True)
    it.metaserver.refuse = [Unavailable("nothing listens there")]
    it.metaserver.lose()
    assert it.console.said[-1] == "the metaserver is away (the connection was lost); trying again in 0.5 s"
    it.metaserver.move(messages.told(answer="dispatched", build_id=17))
    it.clock.advance(0.5)
    assert "nothing listens there" in it.console.said[-1]
    it.clock.advance(1)
    it.clock.advance(0)
    assert found[0].exit is ExitCode.OK


def test_one_line_tells_what_changed_while_the_metaserver_was_away() -> None:
    it = errand(messages.waiting())
    it.downloads.logs = {LOG: b""}
    it.downloads.unfinished = {LOG}
    it.begin(foreground=True)
    it.metaserver.lose()
    it.clock.advance(0.5)
    assert it.console.said[-1] == "the metaserver is back after less than 1 s; meanwhile: nothing has changed"
    it.metaserver.refuse = [Unavailable("nothing listens there")]
    it.metaserver.lose()
    it.metaserver.requests[12] = messages.waiting(epoch=2, server="bob")
    it.clock.pump([0.5, 1.0])
    (line,) = [line for line in it.console.said if "bob" in line]
    assert line == "the metaserver is back after 2 s; meanwhile: build 17: building on bob (native), attempt 2"


def test_for_how_long_something_runs_is_right_also_where_the_clocks_of_both_sides_differ() -> None:
    hour_behind = WALL - 3_600
    it = errand(messages.waiting(asked_at=hour_behind, since=hour_behind))
    it.downloads.logs = {LOG: b""}
    it.downloads.unfinished = {LOG}
    it.begin(foreground=True)
    assert set(it.console.lasting) == {0.0}
    it.clock.advance(90)
    it.metaserver.move(messages.waiting(asked_at=hour_behind, since=hour_behind + 80, server="bob", epoch=2))
    assert it.console.lasting[-1] == 10.0


def test_the_end_has_the_tone_of_what_came_of_it() -> None:
    it = errand(messages.told(answer="dispatched", build_id=17))
    it.ask()
    assert it.console.tones["build 17 succeeded"] is Tone.GOOD
    it = errand(messages.waiting(state="failed", reason="make: exited with code 2"))
    it.ask()
    assert it.console.tones["build 17 failed: make: exited with code 2"] is Tone.BAD


def looked(it: Errand, asked: Coroutine[Any, Any, Any]) -> Any:
    found: list[Any] = []
    Deferred.fromCoroutine(asked).addBoth(found.append)
    it.clock.advance(0)
    return found[0]


def test_the_log_of_a_request_is_shown_whole_or_the_step_that_failed() -> None:
    it = errand()
    it.metaserver.requests[12] = messages.waiting(state="failed", build_state="failed")
    it.downloads.logs = {LOG: b"configure\nmake: error\nthe end\n"}
    it.downloads.steps = {LOG: (Phase("configure", 0, 1, 0.0, 10), Phase("make", 10, 2, 1.0, 22, failed=True))}
    question = AskStatus(12, messages.waiting().token)
    assert looked(it, it.requester.log(question, failed_step=False)).exit is ExitCode.OK
    assert it.console.logged == it.downloads.logs[LOG]
    it.console.logged = b""
    looked(it, it.requester.log(question, failed_step=True))
    assert it.console.logged == b"make: error\n"
    it.downloads.steps = {}
    assert "no step of build 17 failed" in str(looked(it, it.requester.log(question, failed_step=True)).value)
    it.metaserver.requests[12] = messages.waiting("queued")
    assert "nothing was built for it" in str(looked(it, it.requester.log(question, failed_step=False)).value)


def test_requests_are_listed_in_a_table_and_each_is_a_result() -> None:
    it = errand()
    it.metaserver.requests = {12: messages.waiting(asked_at=WALL - 180, ref="v1.0"), 13: messages.told()}
    results = looked(it, it.requester.requests(AskRequests(20)))
    assert [result.exit for result in results] == [ExitCode.OK] * 2
    assert it.console.said[1].split("  ")[0] == f"12-{messages.waiting().token}"
    assert "3 min ago" in it.console.said[1]
    assert "testproject v1.0" in it.console.said[1]


def test_without_a_key_those_that_were_made_from_here_are_listed_and_what_that_leaves_out_is_said() -> None:
    it = errand()
    it.metaserver.keyless = True
    it.metaserver.requests = {12: messages.waiting(), 13: messages.told(request_id=13)}
    token = messages.waiting().token
    own = [AskStatus(14, "gone"), AskStatus(13, messages.told().token), AskStatus(12, token), AskStatus(11, "over")]
    results = looked(it, it.requester.requests(AskRequests(3), own))
    assert [result.told and result.told.request_id for result in results] == [13, 12]
    first, *table = it.console.said
    assert "the farm cannot list your requests" in first
    assert "what this account asked for from this machine (2, and 1 that the farm does not keep any more)" in first
    assert "what you asked for elsewhere is not here" in first
    assert len(table) == 3
    refused = looked(it, it.requester.requests(AskRequests(3)))
    assert "no key says who you are; and this account remembers none" in str(refused.value)


def test_who_follows_gives_up_in_the_end_when_the_metaserver_stays_away() -> None:
    it = errand(messages.waiting())
    it.downloads.logs = {LOG: b""}
    found = it.begin(foreground=True)
    it.metaserver.refuse = [LOST] * 10_000
    it.metaserver.lose()
    for _ in range(5_000):
        it.clock.advance(1)
    assert found[0].check(Unavailable)
    assert "the request goes on" in found[0].getErrorMessage()


def test_a_log_that_is_away_or_not_there_yet_is_asked_for_again() -> None:
    it = errand(messages.waiting())
    it.downloads.log_failing = [Unavailable("away"), Unavailable("away")]
    found = it.begin(foreground=True)
    for _ in range(10):
        it.clock.advance(1)
    assert len(it.console.logged) == 0
    it.downloads.grow(LOG, b"late\n", finished=True)
    for _ in range(10):
        it.clock.advance(1)
    assert it.console.logged == b"late\n"
    it.metaserver.move(messages.told(answer="dispatched", build_id=17))
    it.clock.advance(0)
    assert found[0].exit is ExitCode.OK


def test_a_log_that_never_ends_does_not_keep_the_result_back() -> None:
    it = errand(messages.waiting())
    it.downloads.logs, it.downloads.unfinished = {LOG: b"begin\n"}, {LOG}
    found = it.begin(foreground=True)
    it.metaserver.move(messages.told(answer="dispatched", build_id=17, log_url=LOG))
    it.clock.advance(5)
    assert not found
    it.clock.advance(6)
    assert found[0].exit is ExitCode.OK
    assert it.console.logged == b"begin\n"


def test_a_log_that_cannot_be_shown_is_said_once() -> None:
    it = errand(messages.waiting())
    it.downloads.log_failing = [DecodeError("\x1b[31mdamaged")]
    found = it.begin(foreground=True)
    assert it.console.said[-1] == "the log cannot be shown: damaged"
    it.metaserver.move(messages.told(answer="dispatched", build_id=17, log_url=LOG))
    it.clock.advance(0)
    assert found[0].exit is ExitCode.OK


def test_an_interrupted_errand_leaves_nothing_behind_and_knows_how_the_request_stands() -> None:
    it = errand(messages.waiting())
    it.downloads.logs, it.downloads.unfinished = {LOG: b""}, {LOG}
    found = it.begin(foreground=True)
    it.asking.cancel()
    assert found[0].check(CancelledError)
    assert it.requester.told == messages.waiting()
    assert it.metaserver.clients[0].ended
    assert not it.clock.getDelayedCalls()


# --- fetching ---------------------------------------------------------------------------------------------


def test_a_broken_download_is_resumed() -> None:
    it = errand(messages.told())
    it.downloads.failing = [LOST, LOST]
    assert it.ask().path == f"/here/{NAME}"


@pytest.mark.parametrize("problem", [WrongDigest("another digest"), LOST])
def test_a_download_that_fails_for_good_has_an_exit_code_of_its_own(problem: BuildToolError) -> None:
    it = errand(messages.told())
    it.downloads.failing = [problem] * 20
    result = it.ask()
    assert (result.exit, result.error, result.path) == (ExitCode.DOWNLOAD, problem, "")
    assert result.told == messages.told()


def test_a_place_that_cannot_be_written_is_said() -> None:
    it = errand(messages.told())
    it.place.fail = UsageError("nothing can be written in /here")
    assert it.ask().exit is ExitCode.DOWNLOAD


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".bashrc", "a/b", "", "a\nb", "x" * 201, "-rf"])
def test_a_hostile_name_is_never_a_path(name: str) -> None:
    it = errand(messages.told(artifact=messages.found(name=name)))
    result = it.ask()
    assert result.exit is ExitCode.DOWNLOAD
    assert not it.downloads.fetched


def test_an_artifact_that_is_no_longer_kept_is_said_to_be_gone() -> None:
    it = errand(messages.told(artifact=None))
    result = it.ask()
    assert result.exit is ExitCode.DOWNLOAD
    assert "no longer kept" in str(result.error)


# --- cancelling -------------------------------------------------------------------------------------------


def cancel(it: Errand, message: Cancel) -> Any:
    found: list[Any] = []
    Deferred.fromCoroutine(it.requester.cancel(message)).addBoth(found.append)
    return found[0]


def test_a_request_is_cancelled_by_its_id_and_token() -> None:
    it = Errand(FakeMetaserver(requests={12: messages.waiting()}))
    assert cancel(it, Cancel(12, "abcdef")).exit is ExitCode.OK
    assert it.console.said == ["request 12 is cancelled"]
    assert cancel(it, Cancel(12, "wrong")).check(Unauthorised)


def test_who_leaves_the_address_out_is_told_whom_the_key_has_mailed() -> None:
    told = messages.waiting()
    (known, *_), (unknown, *_) = (lines.how_to_go_on(told, email, "x") for email in ("ben@example.org", ""))
    assert (known, unknown) == ("mail will go to ben@example.org", "mail will go to the address of your key")


# --- words ------------------------------------------------------------------------------------------------

told_anything = messages.ALL["RequestStatus"]


@given(told_anything, told_anything)
def test_whatever_is_told_becomes_lines_that_do_a_terminal_no_harm(before: Any, now: Any) -> None:
    said = [
        *lines.answered(now, 1.0), *lines.ended(now), *lines.moved(before, now),
        *lines.how_to_go_on(now, "anna@mail.example", "bin/startcompile.py"),
    ]  # fmt: skip
    assert all(line.isprintable() for line in said)


@given(st.text())
def test_clean_text_is_one_bounded_printable_line(text: str) -> None:
    assert lines.clean(text).isprintable()
    assert len(lines.clean(text)) <= LINE_LIMIT


def test_every_exit_code_has_a_meaning_and_every_error_an_exit_code() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert exit_of_error(UsageError("x")) is ExitCode.USAGE
    assert exit_of_error(Unavailable("x")) is ExitCode.UNAVAILABLE
    assert exit_of_error(Conflict("x")) is ExitCode.REFUSED
    assert exit_of_error(DecodeError("x")) is ExitCode.INTERNAL


@given(told_anything)
def test_json_holds_everything_that_was_told_and_nothing_that_is_no_json(told: Any) -> None:
    import json

    found = as_json(RequestResult(ExitCode.OK, told, 12.34, "/here/x.zip", UsageError("one\ntwo")))
    again = json.loads(json.dumps(found))
    assert again == found
    assert again["error"] == {"code": "usage", "message": "one two"}
    assert (again["milliseconds"], again["path"], again["exit"]) == (12.3, "/here/x.zip", 0)
    assert again["cancel_id"].startswith(f"{told.request_id}-")
    assert again["request_id"] == told.request_id
