"""A build server's own files: what an earlier run left behind does not reach the next."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.host import build_slots
from buildtool.adapters.host.build_slots import BuildSlots
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.archive.measuring import IN_MEMORY
from buildtool.adapters.storage.trees import remove_tree
from buildtool.model.binaries.judging import measured
from buildtool.ports.buildserver import Halt, Halted, SlotPlace
from tests.support.inline import run
from tests.support.packages import require_that


@contextmanager
def anybody(directory: Path) -> Iterator[None]:
    """Be a user to whom modes mean something, whose directory that is: root may do everything."""
    before = os.geteuid()
    if not before:
        os.chown(directory, 65534, 65534)
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def patient(home: Path) -> subprocess.Popen[bytes]:
    """Start a process that ignores TERM, in a session of its own, and return it once it runs."""
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    started = subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PATH": os.defpath, "HOME": str(home)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert started.stdout is not None
    started.stdout.readline()
    started.stdout.close()
    return started


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file immutable")
@pytest.mark.parametrize("flag", ["+i", "+a"])
def test_what_root_s_build_made_immutable_in_its_slot_is_in_nobody_s_way(tmp_path: Path, flag: str) -> None:
    top, tree = tmp_path / "slots", tmp_path / "tree"
    slots = BuildSlots(top, Inline(), {})
    tree.mkdir()
    (tree / "made").write_text("x")

    def freeze() -> None:
        if subprocess.run(["chattr", "-R", flag, str(top)], check=False, capture_output=True).returncode:
            pytest.skip("this file system knows no immutable files")

    try:
        (run(slots.prepare(0, Halt())).home / "left").mkdir()
        freeze()
        place = run(slots.prepare(0, Halt()))
        assert not list(place.home.iterdir())
        freeze()
        assert run(slots.pack(tree, ["made"], place.output / "x.zip", 10_000, Halt())).size
        freeze()
        run(slots.clear(0, Halt()))
        run(slots.prepare(0, Halt()))
        freeze()
        run(slots.clear_all())
        assert not top.exists()
    finally:
        subprocess.run(["chattr", "-R", "-i", "-a", str(tmp_path)], check=False, capture_output=True)


def test_two_slots_that_are_prepared_at_once_before_any_was_are_both_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one found missing the other has made meanwhile: it is not to be taken for what a build left behind."""
    slots, places = BuildSlots(tmp_path / "slots", Inline(), {}), list[SlotPlace]()
    other = threading.Thread(target=lambda: places.append(run(slots.prepare(1, Halt()))))

    def meanwhile(path: Path, check: Callable[[], None] = lambda: None) -> None:
        if path == tmp_path / "slots" and not other.ident:
            other.start()
            other.join(0.3)  # it waits for its turn, or has had it
        remove_tree(path, check)

    monkeypatch.setattr(build_slots, "remove_tree", meanwhile)
    places.append(run(slots.prepare(0, Halt())))
    other.join()
    assert all(place.home.is_dir() and place.output.is_dir() for place in places)
    assert len(places) == 2


class StartingAnew(SynchronousTestCase):
    def setUp(self) -> None:
        self.top = Path(self.mktemp()).absolute() / "slots"
        self.slots = BuildSlots(self.top, Inline(), {})
        self.home = self.successResultOf(Deferred.fromCoroutine(self.slots.prepare(0, Halt()))).home

    def test_what_a_killed_program_left_running_is_ended_and_its_files_are_gone(self) -> None:
        """Nothing of a build of before may write into the slot that the next build is given."""
        require_that(present=Path("/proc/self/environ").exists(), what="there is no /proc", remedy="use Linux")
        mine = patient(self.home)
        others = [patient(self.top.parent), patient(self.top.with_name("slots-of-another") / "slot-0" / "home")]
        try:
            (self.home / "left").touch()
            self.successResultOf(Deferred.fromCoroutine(self.slots.clear_all()))
            assert mine.wait(10) < 0
            assert [other.poll() for other in others] == [None, None]
            assert not self.top.exists()
        finally:
            for process in (mine, *others):
                process.kill()
                process.wait()


def test_what_the_files_of_an_archive_need_is_measured_where_they_are_packed(tmp_path: Path) -> None:
    """Small ones in memory, large ones by way of the disk, and text not at all."""
    program = Path("/proc/self/exe").read_bytes()
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "small").write_bytes(program[:100])
    (tmp_path / "here").write_bytes(program)
    (tmp_path / "large").write_bytes(program + bytes(IN_MEMORY))
    slots = BuildSlots(tmp_path / "slots", Inline(), {})
    run(slots.pack(tmp_path, ["main.c", "small", "here", "large"], tmp_path / "made.zip", 10**9, Halt()))
    found = {file.name: file for file in run(slots.measure(tmp_path / "made.zip", Halt()))}
    assert sorted(found) == ["here", "large", "small"]
    whole = measured("here", program)
    assert whole is not None
    assert found["here"].needs == found["large"].needs == whole.needs
    assert not any(need.whole for need in found["small"].needs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "large", "made.zip", "main.c", "small"]
    halt = Halt()
    halt.ask("the owner came back")
    with pytest.raises(Halted):
        run(slots.measure(tmp_path / "made.zip", halt))


@pytest.mark.parametrize("spoil", ["removes all", "closes all", "puts a link there", "puts files there", "fills it"])
def test_whatever_a_build_does_to_its_slot_it_is_packed_and_the_next_gets_a_fresh_one(spoil: str) -> None:
    """It runs as the same user, and its home is there: what it breaks there is not held against the machine."""
    with TemporaryDirectory() as directory, anybody(Path(directory)):
        slots, halt = BuildSlots(Path(directory) / "slots", Inline(), {}), Halt()
        place = run(slots.prepare(0, halt))
        tree, elsewhere = Path(directory) / "tree", Path(directory) / "elsewhere"
        for made in (tree, elsewhere):
            made.mkdir()
        (tree / "program").write_text("x")
        top = place.output.parent
        match spoil:
            case "removes all":
                shutil.rmtree(top.parent)
            case "closes all":
                for closed in (place.output, top, top.parent):
                    closed.chmod(0)
            case "puts a link there":
                place.output.rmdir()
                place.output.symlink_to(elsewhere)
            case "puts files there":
                shutil.rmtree(top)
                top.write_text("mine")
            case _:
                (place.output / "one.zip").mkdir()
        packed = run(slots.pack(tree, ["program"], place.output / "one.zip", 1_000, halt))
        assert (place.output / "one.zip").stat().st_size == packed.size
        assert list(elsewhere.iterdir()) == []
        run(slots.clear(0, halt))
        assert not top.exists()
        assert run(slots.prepare(0, halt)) == place
        assert all(one.is_dir() for one in (place.home, place.temporary, place.output))
