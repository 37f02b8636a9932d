"""What the chaos is made of does what it says: the script, the judgement, the proxy, the looking for leftovers."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock, StringTransport

from tests.chaos import leftovers
from tests.chaos.judgement import Told
from tests.chaos.keys import Revoked
from tests.chaos.processes import Guard, belonging, end_all
from tests.chaos.proxy import ROUGH, Line, Proxy, Weather
from tests.chaos.script import LONG, SHORT, Manner, Trouble, scripted

seeds = st.integers(0, 2**32)


# --- the script -----------------------------------------------------------------------------------------------


@given(seeds)
def test_a_seed_always_gives_the_same_script(seed: int) -> None:
    assert scripted(seed, SHORT) == scripted(seed, SHORT)


@given(seeds)
def test_every_distinct_build_is_asked_for_and_all_goes_wrong_in_time(seed: int) -> None:
    script = scripted(seed, SHORT)
    assert len(script.asked) == SHORT.requests
    builds = {(asked.variant, asked.revision) for asked in script.asked}
    assert len(builds) == SHORT.variants * SHORT.revisions
    assert len({asked.email for asked in script.asked}) == SHORT.requests
    assert all(0 <= asked.at <= SHORT.seconds for asked in script.asked)
    assert all(len(asked.wishes()) == (3 if asked.manner is Manner.TOGETHER else 1) for asked in script.asked)
    assert all(0 < fault.at < SHORT.seconds and fault.seconds <= SHORT.longest for fault in script.faults)


def test_the_long_run_has_everything_that_can_happen() -> None:
    script = scripted(1, LONG)
    assert (len(script.asked), LONG.variants * LONG.revisions, LONG.servers) == (500, 40, 8)
    away = {Trouble.DEAD, Trouble.NUMB}
    assert {fault.trouble for seed in range(1, 6) for fault in scripted(seed, LONG).faults} == set(Trouble)
    assert sum(fault.trouble in away for fault in script.faults) == 1
    assert {asked.manner for asked in script.asked} == set(Manner)
    assert {variant.stray for revision in script.revisions for variant in revision} == {"none", "child", "daemon"}


@given(seeds)
def test_one_machine_is_away_another_is_revoked_a_third_is_made_anew_and_the_farm_moves_once(seed: int) -> None:
    faults = scripted(seed, SHORT).faults
    once = [{Trouble.DEAD, Trouble.NUMB}, {Trouble.REVOKED}, {Trouble.ANEW}, {Trouble.ROTATED}]
    found = [[fault.target for fault in faults if fault.trouble in kinds] for kinds in once]
    assert [len(targets) for targets in found] == [1, 1, 1, 1]
    assert len({target for targets in found[:3] for target in targets}) == 3


# --- the judgement --------------------------------------------------------------------------------------------


def told(*states: str, over: bool = False) -> Told:
    made = Told()
    made.answered(7, states or ("waiting",), over=over)
    return made


def test_one_mail_and_the_artifact_is_as_it_should_be() -> None:
    one = told()
    one.answered(7, ["satisfied"], over=False)
    one.mailed("<a@b>", "satisfied")
    one.mailed("<a@b>", "satisfied")
    one.fetched = True
    assert (one.lost(), one.twice()) == ("", "")


def test_a_hit_needs_no_mail_and_a_mail_besides_is_one_too_many() -> None:
    one = told("satisfied", over=True)
    one.fetched = True
    assert (one.lost(), one.twice()) == ("", "")
    one.mailed("<a@b>", "satisfied")
    assert "2 ends" in one.twice()


def test_a_cancellation_is_an_end_unless_the_request_had_ended_before() -> None:
    one = told()
    one.cancelled("cancelled")
    assert (one.lost(), one.twice()) == ("", "")
    late = told()
    late.cancelled("failed")
    assert "no end" in late.lost()
    late.mailed("<a@b>", "failed")
    assert (late.lost(), late.twice()) == ("", "")


def test_silence_a_missing_artifact_and_contradictions_are_told_apart() -> None:
    assert "never answered" in Told().lost()
    assert "no end" in told().lost()
    one = told()
    one.mailed("<a@b>", "satisfied")
    assert "did not get" in one.lost()
    one.stands("failed")
    assert "heard" in one.twice()
    two = told()
    two.mailed("<a@b>", "failed")
    two.mailed("<c@b>", "failed")
    assert "2 ends" in two.twice()
    three = told()
    three.answered(8, ["waiting"], over=False)
    assert "several requests" in three.twice()


def test_one_mail_tells_of_all_that_was_asked_for_at_once() -> None:
    one = told("satisfied", "waiting", "waiting")
    assert "no end" in one.lost()
    one.mailed("<a@b>", "failed")
    one.stands("failed")
    one.fetched = True
    assert (one.lost(), one.twice()) == ("", "")
    one.mailed("<c@b>", "satisfied")
    assert "2 ends" in one.twice()


# --- the proxy ------------------------------------------------------------------------------------------------


class Through:
    """One connection through a proxy, without a network: what is said at one end, and what arrives at the other."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self.clock = MemoryReactorClock()
        self.proxy = Proxy(self.clock, 1234, random.Random(seed))
        self.proxy.weather = weather
        self.line = Line(self.proxy)
        self.near, self.far = StringTransport(), StringTransport()
        for transport in (self.near, self.far):
            transport.setTcpNoDelay = lambda enabled: None  # type: ignore[attr-defined]
        self.line.near.makeConnection(self.near)
        self.line.far.makeConnection(self.far)


@given(st.lists(st.binary(min_size=1, max_size=300_000), max_size=6), seeds, st.booleans())
def test_whatever_the_weather_bytes_arrive_whole_and_in_order(pieces: list[bytes], seed: int, relaxed: bool) -> None:
    through = Through(Weather(delay=0.3, rates=(50e3, 1e6)), seed)
    for number, piece in enumerate(pieces):
        through.line.near.dataReceived(piece)
        through.clock.advance(0.01)
        if relaxed and number == 2:
            through.proxy.clear_up()
            through.line.relax()
    for _ in range(1000):
        through.clock.advance(0.1)
    assert through.far.value() == b"".join(pieces)
    assert through.near.producerState == "producing"


def test_a_slow_connection_is_slow_and_its_sender_waits() -> None:
    through = Through(Weather(rates=(100e3,)), 1)
    through.line.near.dataReceived(bytes(400_000))
    assert through.near.producerState == "paused"
    through.clock.advance(3.9)
    assert not through.far.value()
    through.clock.advance(0.2)
    assert len(through.far.value()) == 400_000
    assert through.near.producerState == "producing"


def test_what_is_held_back_does_not_arrive_and_breaks_when_it_is_over() -> None:
    through = Through(Weather(), 1)
    through.proxy.opened(through.line)
    through.proxy.hold()
    through.line.near.dataReceived(b"words")
    through.clock.advance(60)
    assert not through.far.value()
    assert not through.far.disconnecting
    through.proxy.release()
    assert through.far.disconnected
    assert through.near.disconnected


def test_an_answer_may_be_lost_with_its_connection() -> None:
    lost = 0
    for seed in range(100):
        through = Through(Weather(cut=1.0, life=100.0), seed)
        through.line.near.dataReceived(b"a question")
        through.line.far.dataReceived(bytes(2_000))
        through.clock.advance(0.1)
        if through.near.disconnected:
            lost += 1
            assert not through.near.value()
    assert 10 < lost < 60


def test_some_connections_break_in_rough_weather_and_none_in_calm() -> None:
    broken = 0
    for seed in range(100):
        through = Through(ROUGH, seed)
        through.clock.advance(ROUGH.life)
        broken += through.near.disconnected
    assert 0 < broken < 50


# --- who was revoked ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "attempts", "problems"),
    [
        ("succeeded", [(1, "anna", 90.0, 110.0), (2, "ben", 111.0, 120.0)], 0),
        ("succeeded", [(1, "anna", 90.0, 99.0)], 0),
        ("cancelled", [(1, "anna", 90.0, 110.0)], 0),
        ("failed", [(1, "anna", 90.0, 110.0)], 1),
        ("succeeded", [(1, "anna", 90.0, 110.0), (2, "anna", 111.0, 120.0)], 2),
    ],
)
def test_what_a_revoked_machine_was_building_went_elsewhere_and_it_is_given_nothing_more(
    tmp_path: Path, state: str, attempts: list[tuple[int, str, float, float]], problems: int
) -> None:
    database = tmp_path / "farm.sqlite"
    with closing(sqlite3.connect(database)) as writing, writing:
        writing.execute("CREATE TABLE builds (id, state)")
        writing.execute("CREATE TABLE attempts (build_id, epoch, server, offered_at, ended_at)")
        writing.execute("INSERT INTO builds VALUES (5, ?)", (state,))
        writing.executemany("INSERT INTO attempts VALUES (5, ?, ?, ?, ?)", attempts)
    assert len(Revoked("anna", 100.0, ((5, 1),)).left(database)) == problems


# --- what is left over ----------------------------------------------------------------------------------------


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives in a directory of the run."""
    (tmp_path / "slots").mkdir()
    with subprocess.Popen(["sleep", "300"], env={"HOME": f"{tmp_path}/slots/slot-0/home"}) as process:
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # a moment after the program was replaced
            time.sleep(0.01)
        yield process
        process.kill()


def test_a_process_that_a_build_left_is_found_and_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    assert leftovers.of_builds(tmp_path) == [f"process {sleeper.pid}: sleep 300"]
    assert not belonging(tmp_path, sleeper.pid)
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert end_all(tmp_path) == 1
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not leftovers.of_programs(tmp_path)


def test_the_guard_ends_what_is_left_when_its_program_is_killed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    words = (
        "import sys, time, pathlib; from tests.chaos.processes import Guard\n"
        "guard = Guard(pathlib.Path(sys.argv[1])); print('up', flush=True); time.sleep(300)"
    )
    root = Path(__file__).resolve().parent.parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", words, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, start_new_session=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        program.kill()
    assert sleeper.wait(30) == -signal.SIGKILL


def test_the_guard_goes_when_all_is_over(tmp_path: Path) -> None:
    guard = Guard(tmp_path)
    assert leftovers.of_programs(tmp_path, guard.pid) == []
    guard.close()
    assert not belonging(tmp_path)


def test_files_that_only_unfinished_acts_need_are_found(tmp_path: Path) -> None:
    digest = "ab" * 32
    clean = (f"artifacts/ab/{digest}.zip", "logs/1-1.log.zst", "mirrors/a.git/HEAD", "lock")
    dirty = ("incoming/1-1", "artifacts/.x.tmp", "logs/1-2.log", "mirrors/a.git/objects/pack/tmp_pack_x")
    for name in (*clean, *dirty, "mirrors/a.git/index.lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = leftovers.in_state(tmp_path)
    assert found == sorted(f"{tmp_path.name}/{name}" for name in (*dirty, "mirrors/a.git/index.lock"))


def test_a_damaged_database_is_found(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite"
    with closing(sqlite3.connect(path)) as writing, writing:
        writing.execute("CREATE TABLE words (word TEXT)")
        writing.execute("CREATE INDEX by_word ON words (word)")
        writing.executemany("INSERT INTO words VALUES (?)", [(f"word {number}",) for number in range(2000)])
    assert leftovers.in_database(path) == []
    content = bytearray(path.read_bytes())
    content[-4096:-3000] = bytes(1096)
    path.write_bytes(content)
    assert leftovers.in_database(path)
