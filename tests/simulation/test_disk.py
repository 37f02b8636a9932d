"""The simulated disk does what a real one does, and after a crash keeps what was synced and nothing that never was."""

import errno
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.adapters.storage.filesystem import Disk, OpenMode, RealDisk, make_directories, read_whole, remove
from tests.simulation.disk import Crashed, Fault, Operation, SimulatedDisk

TOP = Path("top")
NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "missing/a"])
DATA = st.binary(max_size=12)

ACTS = st.one_of(
    st.tuples(st.just("write"), NAMES, st.sampled_from(OpenMode), DATA),
    st.tuples(st.just("read"), NAMES, st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("truncate"), NAMES, st.integers(0, 12)),
    st.tuples(st.sampled_from(["make_directory", "remove_directory", "look", "names", "sync_directory"]), NAMES),
    st.tuples(st.sampled_from(["unlink", "sync", "remove", "make_directories"]), NAMES),
    st.tuples(st.sampled_from(["rename", "link"]), NAMES, NAMES),
)


def act(disk: Disk, top: Path, what: str, name: str, *more: Any) -> object:
    """Do one thing and return what can be compared: an answer, or the error's number."""
    others = [top / one if isinstance(one, str) else one for one in more]
    try:
        if what in DO:
            return DO[what](disk, top / name, *others)
        return getattr(disk, what)(top / name)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def do_write(disk: Disk, path: Path, mode: OpenMode, data: bytes) -> int | None:
    if mode is OpenMode.READ and disk.look(path).directory:
        return None  # a real disk opens it, and no store does
    file = disk.open(path, mode)
    try:
        disk.append(file, data)
        return disk.status(file).size
    finally:
        disk.close(file)


def do_truncate(disk: Disk, path: Path, size: int) -> None:
    if disk.look(path).size >= size:
        with_file(disk, path, lambda file: disk.truncate(file, size))


def do_look(disk: Disk, path: Path) -> object:
    found = disk.look(path)
    return found.plain, found.directory, found.plain and (found.size, found.links)


DO: dict[str, Callable[..., object]] = {
    "write": do_write,
    "read": lambda disk, path, size, position: with_file(disk, path, lambda file: disk.pread(file, size, position)),
    "truncate": do_truncate,
    "look": do_look,
    "names": lambda disk, path: sorted(disk.names(path)),
    "sync": lambda disk, path: with_file(disk, path, disk.sync),
    "rename": lambda disk, path, other: disk.look(path).plain and disk.rename(path, other),
    "link": lambda disk, path, other: disk.look(path).plain and disk.link(path, other),
    "remove": remove,
    "make_directories": make_directories,
}


def with_file(disk: Disk, path: Path, use: Callable[[int], object]) -> object:
    if disk.look(path).directory:
        return "a directory"
    file = disk.open(path, OpenMode.APPEND)
    try:
        return use(file)
    finally:
        disk.close(file)


def simulated(seed: int = 0) -> SimulatedDisk:
    disk = SimulatedDisk(random.Random(seed))
    make_directories(disk, TOP)
    return disk


def write(disk: Disk, path: Path, data: bytes, mode: OpenMode = OpenMode.CONTINUE, *, sync: bool = False) -> None:
    file = disk.open(path, mode)
    disk.append(file, data)
    if sync:
        disk.sync(file)
    disk.close(file)


@given(st.lists(ACTS, max_size=25))
@example([("write", "a", OpenMode.CONTINUE, b""), ("write", "a", OpenMode.READ, b"")])
@example([("make_directories", "d"), ("write", "d/a", OpenMode.CONTINUE, b""), ("rename", "d/a", "d")])
def test_without_trouble_it_answers_as_a_real_disk_does(acts: list[tuple[str, str]]) -> None:
    disk = simulated()
    with tempfile.TemporaryDirectory() as directory:
        for one in acts:
            assert act(disk, TOP, *one) == act(RealDisk(), Path(directory), *one), one


@given(st.lists(ACTS, max_size=20), st.lists(ACTS, max_size=20), st.integers(0, 999))
def test_what_was_synced_survives_whatever_comes_after_it_elsewhere(
    before: list[tuple[str, str]], after: list[tuple[str, str]], seed: int
) -> None:
    disk = simulated(seed)
    for one in before:
        act(disk, TOP, *one)
    make_directories(disk, TOP / "kept" / "here")
    write(disk, TOP / "kept" / "here" / "file", b"synced", sync=True)
    disk.sync_directory(TOP / "kept" / "here")
    for one in after:
        act(disk, TOP, *one)
    disk.crash()
    assert disk.files(TOP / "kept") == {"top/kept/here/file": b"synced"}


@given(st.lists(ACTS, max_size=30), st.integers(0, 999))
def test_a_disk_that_is_synced_all_through_loses_nothing(acts: list[tuple[str, str]], seed: int) -> None:
    disk = simulated(seed)
    for one in acts:
        act(disk, TOP, *one)
    sync_all(disk, TOP)
    before = disk.files()
    disk.crash()
    disk.crash()
    assert disk.files() == before


def sync_all(disk: SimulatedDisk, path: Path) -> None:
    if disk.look(path).directory:
        for name in disk.names(path):
            sync_all(disk, path / name)
        disk.sync_directory(path)
    else:
        with_file(disk, path, disk.sync)


@given(st.lists(ACTS, max_size=25), st.integers(0, 999))
def test_the_same_seed_loses_the_same(acts: list[tuple[str, str]], seed: int) -> None:
    def run() -> dict[str, bytes]:
        disk = simulated(seed)
        for one in acts:
            act(disk, TOP, *one)
        disk.crash()
        return disk.files()

    assert run() == run()


@given(DATA, st.lists(DATA, max_size=4), st.integers(0, 999))
def test_of_writes_that_were_not_synced_a_crash_keeps_the_first_ones_and_perhaps_part_of_one_more_or_zeros(
    synced: bytes, writes: list[bytes], seed: int
) -> None:
    disk = simulated(seed)
    write(disk, TOP / "a", synced, sync=True)
    disk.sync_directory(TOP)
    for data in writes:
        write(disk, TOP / "a", data)
    disk.crash()
    left = disk.files()["top/a"]
    whole = synced + b"".join(writes)
    common = next((i for i, (ours, theirs) in enumerate(zip(left, whole, strict=False)) if ours != theirs), len(left))
    assert len(synced) <= common
    assert len(left) <= len(whole)
    assert not any(left[common:])
    assert len(left) - common <= max((len(data) for data in writes), default=0)


def after_a_crash(seed: int, *acts: Callable[[SimulatedDisk], object]) -> dict[str, bytes]:
    """The files that are left when ``x`` and ``y`` were durable and this was done without a sync."""
    disk = simulated(seed)
    write(disk, TOP / "x", b"xx", sync=True)
    disk.make_directory(TOP / "d")
    disk.sync_directory(TOP)
    for one in acts:
        one(disk)
    disk.crash()
    return {name.removeprefix("top/"): data for name, data in disk.files().items()}


def test_each_kind_of_loss_happens_and_so_does_its_contrary() -> None:
    """A disk that never loses anything would prove nothing."""

    def outcomes(*acts: Callable[[SimulatedDisk], object]) -> set[tuple[tuple[str, bytes], ...]]:
        return {tuple(sorted(after_a_crash(seed, *acts).items())) for seed in range(300)}

    x = ("x", b"xx")
    created = outcomes(lambda disk: write(disk, TOP / "y", b"ab"))
    assert created == {(x,), *((x, ("y", data)) for data in (b"", b"a", b"ab", b"\0", b"\0\0"))}
    assert outcomes(lambda disk: write(disk, TOP / "y", b"ab", sync=True)) == {(x,), (x, ("y", b"ab"))}
    assert outcomes(lambda disk: disk.unlink(TOP / "x")) == {(x,), ()}
    moved = outcomes(lambda disk: disk.rename(TOP / "x", TOP / "d" / "x"))
    assert moved == {(x,), (), (("d/x", b"xx"),), (("d/x", b"xx"), x)}
    cut = outcomes(lambda disk: with_file(disk, TOP / "x", lambda file: disk.truncate(file, 1)))
    assert cut == {(x,), (("x", b"x"),)}


def test_after_a_failed_sync_a_successful_one_does_not_bring_back_what_was_lost() -> None:
    """The file can be read as before until the machine goes down; so it is on Linux (see fsync(2), "EIO")."""
    disk = simulated()
    write(disk, TOP / "a", b"old", sync=True)
    disk.sync_directory(TOP)
    disk.fault = lambda operation: Fault.ERROR if operation.name == "sync" else None
    with pytest.raises(OSError, match="Input/output"):
        write(disk, TOP / "a", b"new", sync=True)
    disk.fault = None
    with_file(disk, TOP / "a", disk.sync)
    assert read_whole(disk, TOP / "a", 99) == b"oldnew"
    disk.crash()
    assert read_whole(disk, TOP / "a", 99) == b"old\0\0\0"
    assert disk.counts["failed sync"] == 1


@given(st.lists(st.tuples(NAMES, DATA), max_size=20), st.integers(0, 60))
def test_a_full_disk_takes_what_fits_and_room_comes_back(writes: list[tuple[str, bytes]], capacity: int) -> None:
    disk = simulated()
    disk.capacity = capacity
    for name, data in writes:
        said = act(disk, TOP, "write", name, OpenMode.EMPTY, data)
        held = sum(map(len, disk.files().values()))
        assert held + disk.free(TOP) == capacity
        if said == "ENOSPC":
            assert disk.free(TOP) == 0
    disk.crash()
    held = sum(map(len, disk.files().values()))  # more than fits, when a file comes back that was cut or removed
    assert disk.free(TOP) == max(capacity - held, 0)
    remove(disk, TOP)
    make_directories(disk, TOP)
    assert disk.free(TOP) == capacity


def test_a_file_that_is_open_takes_room_though_it_has_no_name_any_more() -> None:
    disk = simulated()
    disk.capacity = 10
    file = disk.open(TOP / "a", OpenMode.NEW)
    disk.append(file, b"12345678")
    disk.unlink(TOP / "a")
    assert disk.free(TOP) == 2
    assert disk.pread(file, 9, 0) == b"12345678"
    disk.close(file)
    assert disk.free(TOP) == 10


@given(st.lists(ACTS, min_size=1, max_size=15), st.integers(0, 60))
def test_from_the_operation_at_which_the_machine_goes_down_nothing_happens(
    acts: list[tuple[str, str]], steps: int
) -> None:
    """So that what a program does on its way out (``finally``) changes nothing either."""
    disk = simulated()
    disk.crash_at = disk.operations + steps
    at_crash = None
    for one in acts:
        try:
            act(disk, TOP, *one)
        except Crashed:
            at_crash = at_crash if at_crash is not None else disk.files()
            assert disk.files() == at_crash
    disk.stop()
    assert at_crash is None or disk.files() == at_crash
    act(disk, TOP, "look", "a")


def test_a_file_that_a_killed_program_had_open_can_be_closed_and_nothing_else() -> None:
    disk = simulated()
    file = disk.open(TOP / "a", OpenMode.NEW)
    disk.stop()
    write(disk, TOP / "b", b"by another program")
    with pytest.raises(Crashed):
        disk.append(file, b"late")
    disk.close(file)
    assert disk.files() == {"top/a": b"", "top/b": b"by another program"}
    again = disk.open(TOP / "a", OpenMode.READ)
    disk.close(again)
    for late in (disk.close, disk.sync):
        with pytest.raises(OSError, match="Bad file descriptor"):
            late(again)


def test_faults_are_asked_for_by_operation_and_those_that_need_no_room_do_not_find_the_disk_full() -> None:
    disk = simulated()
    write(disk, TOP / "a", b"ab")
    seen: list[Operation] = []

    def full(operation: Operation) -> Fault | None:
        seen.append(operation)
        return Fault.FULL

    disk.fault = full
    assert read_whole(disk, TOP / "a", 9) == b"ab"
    assert act(disk, TOP, "make_directory", "d") == "ENOSPC"
    assert act(disk, TOP, "rename", "a", "b") == "ENOSPC"
    disk.unlink(TOP / "a")
    assert [one.name for one in seen][:2] == ["open", "pread"]
    assert [one.number for one in seen] == list(range(seen[0].number, seen[0].number + len(seen)))
    assert disk.counts == {"full": 2}


def test_a_slow_operation_is_done_and_the_hook_hears_of_it() -> None:
    told: list[str] = []
    disk = simulated()
    disk.fault = lambda operation: Fault.SLOW if operation.name == "append" else None
    disk.slow = lambda operation: told.append(f"{operation.name} {operation.path}")
    write(disk, TOP / "a", b"ab")
    assert told == ["append top/a"]
    assert disk.files() == {"top/a": b"ab"}


def test_a_failed_write_may_leave_part_of_itself() -> None:
    left = set()
    for seed in range(50):
        disk = simulated(seed)
        disk.fault = lambda operation: Fault.ERROR if operation.name == "append" else None
        assert act(disk, TOP, "write", "a", OpenMode.NEW, b"abc") == "EIO"
        left.add(disk.files()["top/a"])
    assert left == {b"", b"a", b"ab"}


def test_damage_is_one_bit_that_nothing_tells_of() -> None:
    disk = simulated(3)
    disk.put(TOP / "deep" / "a", b"abc")
    before = disk.look(TOP / "deep" / "a")
    disk.damage(TOP / "deep" / "a")
    assert disk.look(TOP / "deep" / "a") == before
    different = int.from_bytes(disk.files()["top/deep/a"], "big") ^ int.from_bytes(b"abc", "big")
    assert different.bit_count() == 1
    disk.crash()
    assert disk.files()["top/deep/a"] != b"abc"
