"""SIGHUP: a configuration is taken over whole or refused whole."""

from pathlib import Path
from typing import cast

import pytest
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from buildtool.adapters.runtime.threads import Threads
from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import ConfigurationError, StorageUnavailable
from buildtool.programs.metaserver.reload import FIXED, ConfigurationReload, reread
from tests.support.logs import listening

EXAMPLE = Path(__file__).resolve().parents[3] / "testproject" / "config.py"
PLAIN = f"projects = [load({str(EXAMPLE)!r})]\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    found = tmp_path / "config.py"
    found.write_text(PLAIN)
    return found


@define
class Taker:
    """What takes settings over; ``problem`` is raised when it does."""

    taken: list[Settings] = field(factory=list)
    problem: Exception | None = None

    async def __call__(self, settings: Settings) -> None:
        self.taken.append(settings)
        if self.problem is not None:
            raise self.problem


def test_what_may_change_is_taken_over(path: Path) -> None:
    taker = Taker()
    reloading = ConfigurationReload(CurrentConfiguration(load_settings(path)), taker)
    path.write_text(PLAIN + "public_url = 'https://farm.example.org'\nmail = {'host': 'mx', 'sender': 'a@b.org'}\n")
    with listening() as said:
        assert Deferred.fromCoroutine(reloading.reload()).called
    (settings,) = taker.taken
    assert (settings.public_url, settings.mail is not None) == ("https://farm.example.org", True)
    assert said == [f"the configuration was read again and holds now: {path}, testproject"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("this is no Python", "config.py"),
        (PLAIN + "web_prot = 1", "did you mean 'web_port'?"),
        (PLAIN + "mail = {'host': 'mx'}", "sender is missing"),
        ("projects = []", "projects is empty"),
        (PLAIN + "public_url = 'https://other.example'\npb_port = 1234", "pb_port cannot be changed"),
    ],
)
def test_one_mistake_refuses_the_whole_file_and_the_old_configuration_stays(path: Path, text: str, words: str) -> None:
    taker = Taker()
    old = load_settings(path)
    reloading = ConfigurationReload(CurrentConfiguration(old), taker)
    path.write_text(text)
    with listening() as said:
        assert Deferred.fromCoroutine(reloading.reload()).called
    assert taker.taken == []
    assert reloading.current.settings is old
    (line,) = said
    assert line.startswith("the configuration stays as it was: ")
    assert words in line
    path.write_text(PLAIN)
    assert Deferred.fromCoroutine(reloading.reload()).called
    assert len(taker.taken) == 1, "once it is right it is taken over"


@pytest.mark.parametrize("name", FIXED)
def test_what_the_metaserver_has_open_or_promised_is_not_changed_and_is_named(path: Path, name: str) -> None:
    old = load_settings(path)
    other = {"bind": "'0.0.0.0'", "state_dir": "'elsewhere'", "lease": "30", "plain_ports": "['web']"}
    value = "'127.0.0.7'" if name.endswith("_bind") else other.get(name, "4321")
    path.write_text(f"{PLAIN}{name} = {value}\n")
    with pytest.raises(ConfigurationError, match=f"^{name} cannot be changed"):
        reread(old)


def test_a_database_that_takes_nothing_now_does_not_take_a_configuration_back(path: Path) -> None:
    taker = Taker(problem=StorageUnavailable("the disk is full"))
    reloading = ConfigurationReload(CurrentConfiguration(load_settings(path)), taker)
    with listening() as said:
        assert Deferred.fromCoroutine(reloading.reload()).called
    assert [line.split(":")[0] for line in said] == [
        "what waits is given out by the new configuration later",
        "the configuration was read again and holds now",
    ]


def test_reloads_come_one_after_the_other(path: Path) -> None:
    waiting: list[Deferred[None]] = []

    async def take(_settings: Settings) -> None:
        waiting.append(Deferred())
        await waiting[-1]

    reloading = ConfigurationReload(CurrentConfiguration(load_settings(path)), take)
    first, second = (Deferred.fromCoroutine(reloading.reload()) for _ in range(2))
    assert (len(waiting), first.called, second.called) == (1, False, False)
    waiting[0].callback(None)
    assert (len(waiting), first.called) == (2, True)
    waiting[1].callback(None)
    assert second.called


class SlowTests(TestCase):
    """A configuration that takes long is read beside everything else, and not for ever."""

    timeout = 60

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).resolve()
        self.path.write_text(PLAIN)
        self.taker = Taker()
        self.threads = Threads(cast("IReactorFromThreads", reactor), 1, "test")
        self.addCleanup(self.threads.stop)
        self.clock = cast("IReactorTime", reactor)

    async def test_the_reactor_turns_while_a_configuration_is_read(self) -> None:
        reloading = ConfigurationReload(
            CurrentConfiguration(load_settings(self.path)), self.taker, self.threads, self.clock
        )
        flag = self.path.with_suffix(".flag")
        wait = (
            f"import pathlib, time\nwhile not pathlib.Path({str(flag.resolve())!r}).exists():\n    time.sleep(0.01)\n"
        )
        self.path.write_text(wait + PLAIN)
        reading = Deferred.fromCoroutine(reloading.reload())
        await deferLater(self.clock, 0)
        assert not reading.called, "the reactor has turned meanwhile"
        flag.touch()
        await reading
        assert len(self.taker.taken) == 1

    async def test_one_that_never_ends_is_given_up_and_the_old_one_stays(self) -> None:
        old = load_settings(self.path)
        reloading = ConfigurationReload(CurrentConfiguration(old), self.taker, self.threads, self.clock, patience=0.1)
        flag = self.path.with_suffix(".flag")
        wait = (
            f"import pathlib, time\nwhile not pathlib.Path({str(flag.resolve())!r}).exists():\n    time.sleep(0.01)\n"
        )
        self.path.write_text(wait + PLAIN)
        with listening() as said:
            await reloading.reload()
        flag.touch()
        assert self.taker.taken == []
        assert reloading.current.settings is old
        assert said == [
            f"the configuration stays as it was: {self.path} was not read within 0.1 s: what does it wait for?"
        ]
