"""The integrator's example is real: it builds, checks itself, does what its options say, and is reproducible."""

import hashlib
import os
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from buildtool.adapters.host.build_slots import BuildSlots
from buildtool.adapters.host.recipe_commands import RecipeCommands
from buildtool.adapters.processes.runner import Processes
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.storage.archive.packing import make_zip
from buildtool.adapters.storage.spool import Spool
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.buildserver.attempt import AttemptTools
from buildtool.buildserver.delivery import DeliveryQueue
from buildtool.buildserver.order_check import ServerOffer
from buildtool.buildserver.server import BuildServer
from buildtool.configuration.settings import load_settings
from buildtool.errors import UsageError
from buildtool.model.logs.marks import LogMark
from buildtool.model.options import canonical
from buildtool.model.platforms import Value
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Offer, OfferKind
from buildtool.project.definition import Checked, Project
from buildtool.project.recipe import Command, Plan, Recipe, Wanted
from buildtool.protocol.messages import AbortOrder, Done, Ended, Order, Welcome
from tests.fakes_build import BASE, FakeLink, FakeUploads
from tests.support.packages import require

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "testproject/source"
PLATFORM = canonical({"os": "linux", "arch": "x86_64"})


def project() -> Project:
    return load_settings(ROOT / "config.py", secrets=False).project("testproject")


def values(**given: Value) -> dict[str, Value]:
    return dict(project().options.compile_values(given))


def plan_for(
    source: Path,
    kind: str = "native",
    platform: dict[str, Value] | None = None,
    given: dict[str, Value] | None = None,
) -> Plan:
    return project().recipe.plan(
        Wanted(
            options=values(**(given or {})), platform=platform or {}, kind=kind, tools={}, source=source,
            revision="0" * 40, cpus=2,
        )
    )  # fmt: skip


def need_compiler() -> None:
    require("gcc", "gcc")
    require("make", "make")


def build(directory: Path, **given: Value) -> Path:
    """Build a copy of the sources in ``directory`` as the recipe says, and return the binary."""
    need_compiler()
    shutil.copytree(SOURCE, directory)
    plan = plan_for(directory, given=given)
    for command in plan.commands:
        environment = {"PATH": os.environ["PATH"], **plan.environment}
        subprocess.run(command.argv, cwd=directory, env=environment, check=True, capture_output=True, timeout=120)
    return directory / "tally"


def tally(binary: Path, text: str) -> dict[str, str]:
    said = subprocess.run([binary], input=text.encode(), capture_output=True, check=True, timeout=20)
    return dict(line.rsplit(" ", 1) for line in said.stdout.decode().splitlines())


def test_each_option_changes_what_the_program_does(tmp_path: Path) -> None:
    text = "zwölf boxkämpfer jagen zwölf\n"
    plain = tally(build(tmp_path / "plain"), text)
    assert plain["crc32"] == f"{zlib.crc32(text.encode()):08x}"
    assert (plain["bytes"], plain["lines"], plain["words"]) == (str(len(text.encode())), "1", "4")
    assert plain["most frequent zwölf"] == "2"
    other = tally(build(tmp_path / "other", checksum="adler32", utf8=True), text)
    assert other["adler32"] == f"{zlib.adler32(text.encode()):08x}"
    assert other["characters"] == str(len(text))


def test_the_size_of_the_table_bounds_how_many_words_are_told_apart(tmp_path: Path) -> None:
    words = " ".join(f"word{number}" for number in range(100))
    small = build(tmp_path / "small", table_size=16, checksum="fnv1a")
    said = subprocess.run([small], input=words.encode(), capture_output=True, check=True, timeout=20)
    assert b"different 16 or more\n" in said.stdout
    version = subprocess.run([small, "--version"], capture_output=True, check=True, timeout=20)
    assert version.stdout == b"tally 1.0 checksum=fnv1a utf8=no table_size=16\n"


def test_two_checkouts_in_different_places_give_the_same_artifact(tmp_path: Path) -> None:
    """Neither the directory nor the time gets into the binary."""
    digests = set()
    for place in (tmp_path / "a", tmp_path / "quite/another place"):
        place.parent.mkdir(parents=True, exist_ok=True)
        build(place)
        packed = make_zip(place, plan_for(place).deliverables, tmp_path / "out.zip")
        digests.add(packed.digest)
    assert len(digests) == 1


@given(
    checksum=st.sampled_from(["crc32", "adler32", "fnv1a"]), utf8=st.booleans(), size=st.integers(16, 65536),
    kind=st.sampled_from(["native", "cross", "emulated"]),
)  # fmt: skip
def test_every_option_reaches_the_build(checksum: str, utf8: bool, size: int, kind: str) -> None:
    plan = plan_for(Path("/source"), kind, given={"checksum": checksum, "utf8": utf8, "table_size": size})
    for part in (f"CHECKSUM={checksum}", f"UTF8={int(utf8)}", f"TABLE_SIZE={size}"):
        assert part in plan.commands[0].argv
    # What was built for another machine cannot be run on this one.
    assert (len(plan.commands) == 2) == (kind != "cross")


def test_the_binary_is_made_for_every_processor_of_its_architecture() -> None:
    """Build servers announce the lowest level only, and that is what the compiler makes unasked."""
    assert "-march" not in " ".join(plan_for(Path("/s"), platform={"cpu_level": "x86-64-v1"}).commands[0].argv)


def test_values_that_make_no_sense_are_refused() -> None:
    for wrong in ({"checksum": "md5"}, {"table_size": 15}, {"utf8": "maybe"}):
        with pytest.raises(UsageError):
            project().options.compile_values(wrong)


def checked(**machine: Value) -> Checked:
    return Checked("testproject", "0" * 40, {}, {}, machine, 0)


def test_the_checkers_refuse_a_full_disk_and_an_owner_who_says_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = tmp_path / "refuse"
    monkeypatch.setenv("BUILDTOOL_REFUSE_FILE", str(refuse))
    checkers = project().client_checkers
    assert [checker(checked(disk=64)) for checker in checkers] == [None, None]
    refuse.write_text("I am compiling a kernel\nuntil noon\n")
    assert [checker(checked(disk=63)) for checker in checkers] == [
        "only 63 MiB of disk are free, 64 are needed",
        "I am compiling a kernel",
    ]


def test_the_repository_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDTOOL_TESTPROJECT_REPOSITORY", "/srv/tally.git")
    assert project().path_to_url("") == "/srv/tally.git"
    with pytest.raises(LookupError):
        project().path_to_url("elsewhere")


# --- with real git, processes and archives ------------------------------------------------------------------


def git(*arguments: str, cwd: Path) -> str:
    author = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), **author}
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


class KeepingUploads(FakeUploads):
    """Reads what is uploaded, as it is deleted afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.digests: list[str] = []

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        data = Path(path).read_bytes()
        assert len(data) == size
        self.digests.append(hashlib.sha256(data).hexdigest())
        assert self.digests[-1] == digest


class RealBuilds(TestCase):
    timeout = 120

    def setUp(self) -> None:
        need_compiler()
        from twisted.internet import reactor as stock

        reactor = cast(ReactorBase, stock)
        holder = TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.top = Path(holder.name).resolve()
        self.origin = self.top / "origin"
        shutil.copytree(SOURCE, self.origin)
        git("init", "-q", cwd=self.origin)
        git("add", "-A", cwd=self.origin)
        git("commit", "-q", "-m", "tally", cwd=self.origin)
        self.commit = git("rev-parse", "HEAD", cwd=self.origin)
        self.pool = Threads(reactor, 4, "files")
        self.addCleanup(self.pool.stop)
        self.processes = Processes(reactor)
        mirror = GitMirror(self.top / "mirrors", self.pool)
        self.link, self.uploads = FakeLink(), KeepingUploads()
        self.commands = RecipeCommands(self.processes, self.pool, IReactorTime(reactor))
        self.tools = AttemptTools(
            sources=Worktrees(mirror, self.top / "sources", self.pool),
            commands=self.commands,
            workshop=BuildSlots(self.top / "slots", self.pool, {}),
            uploads=self.uploads,
            clock=IReactorTime(reactor),
            environment={"PATH": os.environ["PATH"]},
            server="one",
            cpus=2,
        )

    def serve(self, recipe: Recipe | None = None) -> BuildServer:
        made = attrs.evolve(project(), path_to_url=lambda _: str(self.origin), client_checkers=())
        if recipe is not None:
            made = attrs.evolve(made, recipe=recipe)
        offered = ServerOffer({made.name: made}, [Offer(PLATFORM)], 2)
        spool = Spool(self.top / "spool", self.pool)
        deliveries = DeliveryQueue(spool, self.link, self.uploads, self.tools.clock)
        server = BuildServer(offered, self.tools, self.link, deliveries, self.pool)
        server.connected(Welcome(1, BASE, 10**9, 10**7, 60.0))
        return server

    def order(self, build_id: int, **given: Value) -> Order:
        options = project().options.compile_values(given)
        return Order(
            build_id,
            1,
            "testproject",
            "",
            self.commit,
            1,
            options,
            PLATFORM,
            OfferKind.NATIVE,
            "t",
            "t",
            f"{BASE}/{build_id}",
        )

    async def finished(self, server: BuildServer) -> None:
        """Wait until nothing runs any more, and nothing waits to be delivered."""
        await server.drain("the test is over")

    async def test_an_order_becomes_an_artifact(self) -> None:
        """Checked out, compiled, self-checked, packed, uploaded: twice in two slots, with the same bytes."""
        server = self.serve()
        for number in (1, 2):
            await server.build(self.order(number))
        await self.finished(server)
        assert all(isinstance(told, Done) for told in self.link.told), self.link.told
        assert len(self.link.told) == 2
        assert len(set(self.uploads.digests)) == 1
        assert b"ok crc32" in self.uploads.log
        assert not list((self.top / "slots").iterdir())
        assert not list((self.top / "spool").iterdir())

    async def test_the_bytes_of_an_artifact_are_the_same_whatever_the_umask_of_its_commands(self) -> None:
        script = "umask; mkdir -p out/deep; echo text > out/deep/text; cp /bin/true out/run; ls -l out/deep"
        making = Recipe(1, lambda _: Plan([Command(["sh", "-c", script], name="make")], ["out"]))
        for number, umask in enumerate((0o000, 0o077), 1):
            self.tools = attrs.evolve(self.tools, commands=attrs.evolve(self.commands, umask=umask))
            server = self.serve(making)
            await server.build(self.order(number))
            await self.finished(server)
        assert [type(told) for told in self.link.told] == [Done, Done], self.link.told
        assert b"\n0000\n" in self.uploads.log
        assert b"\n0077\n" in self.uploads.log
        assert b"-rw-rw-rw-" in self.uploads.log
        assert b"-rw-------" in self.uploads.log
        assert len(set(self.uploads.digests)) == 1

    async def test_a_command_has_a_terminal_where_its_recipe_says_so_and_there_alone(self) -> None:
        script = "test -t 1 && echo terminal $TERM $(stty size) || echo none"
        plan = Plan([Command(["sh", "-c", script], terminal=given) for given in (False, True)], ["main.c"])
        server = self.serve(Recipe(1, lambda _: plan))
        await server.build(self.order(1))
        await self.finished(server)
        assert isinstance(self.link.told[0], Done), self.link.told
        assert self.uploads.log.count(b"\nnone\n") == 1
        assert b"\nterminal dumb 24 80\n" in self.uploads.log

    async def test_a_compile_error_is_the_projects_failure_and_shows_in_the_log(self) -> None:
        (self.origin / "main.c").write_text("int main(void) { return nothing; }\n")
        git("commit", "-q", "-a", "-m", "broken", cwd=self.origin)
        self.commit = git("rev-parse", "HEAD", cwd=self.origin)
        server = self.serve()
        await server.build(self.order(1))
        await self.finished(server)
        (told,) = self.link.told
        assert isinstance(told, Ended)
        assert told.end is AttemptEnd.FAILED
        assert "nothing" in told.log_tail

    async def test_an_aborted_build_leaves_no_process(self) -> None:
        """The order is stopped in mid-command; the end is told once the whole process group is gone."""
        script = "echo started; sleep 600 & sleep 600; wait"
        endless = Recipe(1, lambda _: Plan([Command(["sh", "-c", script], name="endless")], ["tally"]))
        server = self.serve(endless)
        started: Deferred[None] = Deferred()
        append = self.uploads.append_log

        async def appended(url: str, ticket: str, offset: int, data: bytes, marks: Sequence[LogMark] = ()) -> int:
            length = await append(url, ticket, offset, data, marks)
            if b"\nstarted\n" in self.uploads.log and not started.called:
                started.callback(None)
            return length

        self.uploads.append_log = appended  # type: ignore[method-assign]
        await server.build(self.order(1))
        await started
        await server.abort(AbortOrder(1, 1, "nobody waits"))
        await self.finished(server)
        (told,) = self.link.told
        assert isinstance(told, Ended)
        assert told.end is AttemptEnd.ABORTED
        assert not self.processes._running
