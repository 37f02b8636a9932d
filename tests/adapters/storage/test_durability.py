"""Artifacts and logs on a disk that goes down, fails or is full at any single operation."""

import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.filesystem import OpenMode
from buildtool.adapters.storage.logs import LogState, LogStore
from buildtool.errors import BadUpload, Damaged, NotFound, StorageUnavailable, WrongDigest
from tests.adapters.http.transfers import digest_of
from tests.simulation.disk import Crashed, Fault, Operation, SimulatedDisk
from tests.support.lanes import examples

T = TypeVar("T")

STATE = Path("state")
KEY = (7, 1)
PIECES = (b"some of ", b"what was ", b"built")
WHOLE = b"".join(PIECES)
DIGEST = digest_of(WHOLE)
LIMIT = 1000
SEEDS = st.integers(0, 99_999)
MOST = 60
"""More operations than anything here takes."""


def do(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result, which is there at once; also Crashed, which no Failure holds back."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]  # type: ignore[no-any-return]


def a_disk(seed: int) -> SimulatedDisk:
    disk = SimulatedDisk(random.Random(seed))  # noqa: S311 - a seed is to repeat what it draws
    disk.put(STATE / "lock", b"")
    return disk


def down_after(disk: SimulatedDisk, steps: int, act: Callable[[], object], *, power: bool) -> bool:
    """Let the machine go down, or only the program, after so many operations; say whether it was done by then."""
    disk.crash_at = disk.operations + steps
    done = True
    try:
        act()
    except Crashed:
        done = False
    disk.crash() if power else disk.stop()
    return done


def failing_at(number: int, fault: Fault) -> Callable[[Operation], Fault | None]:
    return lambda operation: fault if operation.number == number else None


# --- artifacts --------------------------------------------------------------------------------------------------


def artifacts(disk: SimulatedDisk, *keep: tuple[int, int]) -> ArtifactStore:
    """A store that was just started."""
    store = ArtifactStore(STATE, Inline(), disk)
    do(store.start(keep))
    return store


def upload(store: ArtifactStore) -> None:
    """What a build server and the transfer port do: ask how much is there, go on from there, begin anew if told to."""
    there = do(store.uploads.uploaded(*KEY))
    if do(store.present(DIGEST, len(WHOLE))):
        return
    sending = do(store.uploads.begin(*KEY, there, len(WHOLE), lambda: None))
    try:
        position = 0
        for piece in PIECES:
            if position + len(piece) > there:
                do(sending.write([piece[max(there - position, 0) :]]))
            position += len(piece)
        do(sending.verify(DIGEST))
    finally:
        do(sending.close())


def deliver(store: ArtifactStore) -> None:
    """Upload and publish, as often as it takes: whoever is told what is wrong can go on."""
    for _ in range(4):
        try:
            upload(store)
            do(store.publish(*KEY, DIGEST, len(WHOLE)))
        except (WrongDigest, BadUpload, StorageUnavailable):
            continue
        return
    pytest.fail("it cannot be delivered")


def published(store: ArtifactStore) -> bytes | None:
    """What a requester would get."""
    try:
        stored = do(store.open(DIGEST))
    except NotFound:
        assert not do(store.present(DIGEST, len(WHOLE)))
        return None
    try:
        return do(stored.read(0, stored.size))
    finally:
        stored.close()


def test_a_disk_that_does_not_answer_does_not_say_that_an_artifact_is_gone() -> None:
    disk = SimulatedDisk(random.Random(0))  # noqa: S311 - it is to repeat what it draws
    store = artifacts(disk, KEY)
    deliver(store)
    disk.fault = lambda _operation: Fault.ERROR
    with pytest.raises(StorageUnavailable):
        do(store.present(DIGEST, len(WHOLE)))
    disk.fault = lambda _operation: None
    assert do(store.present(DIGEST, len(WHOLE)))


def check_settled(disk: SimulatedDisk, store: ArtifactStore) -> None:
    """It is there whole, and nothing else is."""
    assert published(store) == WHOLE
    assert do(store.present(DIGEST, len(WHOLE)))
    assert disk.files(STATE) == {"state/lock": b"", f"state/artifacts/{DIGEST[:2]}/{DIGEST}.zip": WHOLE}


@settings(max_examples=examples(15))
@given(SEEDS, st.booleans(), st.booleans())
def test_whenever_the_machine_goes_down_during_an_upload_it_is_published_whole_or_not_and_can_be_finished(
    seed: int, power: bool, again: bool
) -> None:
    for step in range(MOST):
        disk = a_disk(seed)
        said = down_after(disk, step, lambda disk=disk: deliver(artifacts(disk, KEY)), power=power)  # type: ignore[misc]
        if again:  # also while it starts again, and goes on
            down_after(disk, seed % MOST, lambda disk=disk: deliver(artifacts(disk, KEY)), power=True)  # type: ignore[misc]
        store = artifacts(disk, KEY)
        assert published(store) in ([WHOLE] if said else [None, WHOLE])
        deliver(store)
        check_settled(disk, store)
        disk.crash()
        check_settled(disk, artifacts(disk))


def test_an_upload_takes_fewer_operations_than_are_tried_here() -> None:
    disk = a_disk(0)
    deliver(artifacts(disk, KEY))
    assert 20 < disk.operations < MOST - 10


@settings(max_examples=examples(25))
@given(SEEDS, st.integers(0, MOST))
def test_what_is_told_of_an_upload_after_the_machine_went_down_is_what_is_there(seed: int, step: int) -> None:
    """The rest may be lost, or zeros; going on at that place is then found to be wrong, and not before."""
    disk = a_disk(seed)
    down_after(disk, step, lambda: upload(artifacts(disk, KEY)), power=True)
    store = artifacts(disk, KEY)
    there = do(store.uploads.uploaded(*KEY))
    assert there == len(disk.files(STATE).get("state/incoming/7-1", b""))
    sending = do(store.uploads.begin(*KEY, there, len(WHOLE), lambda: None))
    assert sending.received.length == there
    assert sending.received.hasher.hexdigest() == digest_of(disk.files(STATE)["state/incoming/7-1"])


def test_after_the_program_was_killed_an_upload_goes_on_where_it_stopped() -> None:
    disk = a_disk(0)
    sending = do(artifacts(disk, KEY).uploads.begin(*KEY, 0, len(WHOLE), lambda: None))
    do(sending.write([PIECES[0]]))
    disk.stop()
    store = artifacts(disk, KEY)
    assert do(store.uploads.uploaded(*KEY)) == len(PIECES[0])
    deliver(store)
    check_settled(disk, store)


def test_what_is_discarded_while_a_store_starts_does_not_keep_it_from_starting() -> None:
    disk = a_disk(0)
    upload(artifacts(disk, KEY))

    def discard(operation: Operation) -> None:
        if (operation.name, operation.path) == ("look", "state/incoming/7-1"):
            disk.fault = None
            disk.unlink(STATE / "incoming" / "7-1")

    disk.fault = discard
    assert do(artifacts(disk, KEY).uploads.uploaded(*KEY)) == 0


@settings(max_examples=examples(15))
@given(SEEDS, st.booleans())
def test_an_upload_whose_attempt_has_ended_is_gone_after_the_next_start(seed: int, power: bool) -> None:
    for step in range(MOST):
        disk = a_disk(seed)
        down_after(disk, step, lambda disk=disk: upload(artifacts(disk, KEY)), power=power)  # type: ignore[misc]
        artifacts(disk)
        assert disk.files(STATE) == {"state/lock": b""}


@settings(max_examples=examples(15))
@given(SEEDS)
def test_going_down_while_a_damaged_copy_is_replaced_leaves_one_of_the_two(seed: int) -> None:
    for step in range(MOST):
        disk = a_disk(seed)
        deliver(artifacts(disk, KEY))
        path = STATE / "artifacts" / DIGEST[:2] / f"{DIGEST}.zip"
        disk.damage(path)
        store = artifacts(disk, KEY)
        with pytest.raises(Damaged):
            do(store.open(DIGEST))
        damaged = disk.files()[str(path)]
        said = down_after(disk, step, lambda store=store: deliver(store), power=True)  # type: ignore[misc]
        assert disk.files()[str(path)] in ([WHOLE] if said else [damaged, WHOLE])


@settings(max_examples=examples(15))
@given(SEEDS, st.sampled_from([Fault.FULL, Fault.ERROR]))
def test_whatever_fails_once_the_upload_can_be_finished_and_lasts(seed: int, fault: Fault) -> None:
    """A sync that failed above all: what it should have written is lost, though a second one would succeed."""
    for step in range(MOST):
        disk = a_disk(seed)
        store = artifacts(disk, KEY)
        disk.fault = failing_at(disk.operations + step, fault)
        deliver(store)
        disk.fault = None
        check_settled(disk, store)
        disk.crash()
        check_settled(disk, artifacts(disk))


def test_an_upload_whose_sync_failed_is_not_believed_though_it_could_not_be_removed_at_once() -> None:
    for going_on in (deliver, lambda store: do(store.publish(*KEY, DIGEST, len(WHOLE)))):
        disk = a_disk(0)
        store = artifacts(disk, KEY)
        upload(store)
        disk.fault = lambda one: Fault.ERROR if one.name in {"sync", "unlink"} else None
        with pytest.raises(StorageUnavailable):
            do(store.publish(*KEY, DIGEST, len(WHOLE)))
        with pytest.raises(StorageUnavailable):
            do(store.publish(*KEY, DIGEST, len(WHOLE)))
        with pytest.raises(StorageUnavailable):
            do(store.uploads.begin(*KEY, len(WHOLE), len(WHOLE), lambda: None))
        disk.fault = None
        with suppress(BadUpload):
            going_on(store)
        deliver(store)
        disk.crash()
        check_settled(disk, artifacts(disk))


def test_an_artifact_that_cannot_be_read_on_is_one_line_too() -> None:
    disk = a_disk(0)
    store = artifacts(disk, KEY)
    deliver(store)
    stored = do(store.open(DIGEST))
    disk.fault = lambda one: Fault.ERROR if one.name == "pread" else None
    with pytest.raises(StorageUnavailable, match="cannot read an artifact: Input/output error"):
        do(stored.read(0, 5))


def test_a_full_disk_takes_the_upload_when_there_is_room_again() -> None:
    disk = a_disk(0)
    disk.capacity = len(WHOLE) - 1
    store = artifacts(disk, KEY)
    with pytest.raises(StorageUnavailable, match="disk is full"):
        upload(store)
    with pytest.raises(StorageUnavailable, match="disk is full"):
        do(store.uploads.room(len(WHOLE)))
    disk.capacity = 2 * len(WHOLE)
    deliver(store)
    check_settled(disk, store)


def test_a_published_name_that_was_not_durable_when_the_program_was_killed_is_so_once_it_is_published_again() -> None:
    survived = set()
    for seed in range(30):
        disk = a_disk(seed)
        store = artifacts(disk, KEY)
        upload(store)
        disk.fault = lambda one: Fault.ERROR if one.name == "sync_directory" else None
        with pytest.raises(StorageUnavailable):
            do(store.publish(*KEY, DIGEST, len(WHOLE)))
        with pytest.raises(StorageUnavailable):
            do(store.publish(*KEY, DIGEST, len(WHOLE)))
        disk.fault = None
        do(store.publish(*KEY, DIGEST, len(WHOLE)))
        disk.crash()
        survived.add(published(artifacts(disk)))
    assert survived == {WHOLE}


# --- logs -------------------------------------------------------------------------------------------------------


def logs(disk: SimulatedDisk) -> LogStore:
    """A store that was just started."""
    store = LogStore(STATE, Inline(), disk)
    do(store.start())
    return store


def write_log(store: LogStore) -> None:
    position = 0
    for piece in PIECES:
        do(store.append(*KEY, position, piece, LIMIT))
        position += len(piece)


def finish_log(store: LogStore) -> None:
    do(store.finish(*KEY))


def log_names(disk: SimulatedDisk) -> list[str]:
    """The names of logs, without their indexes, of which nothing has to last."""
    return [name for name in disk.names(STATE / "logs") if not name.endswith(".idx")]


def read_log(store: LogStore) -> bytes | None:
    try:
        return do(store.read(*KEY, 0, LIMIT))
    except NotFound:
        return None


@settings(max_examples=examples(15))
@given(SEEDS, st.booleans())
def test_a_finished_log_lasts_and_one_that_is_being_finished_is_never_lost(seed: int, power: bool) -> None:
    """What an unfinished one holds is durable by itself here, as it is some seconds after it was written."""
    for step in range(MOST):
        disk = a_disk(seed)
        store = logs(disk)
        write_log(store)
        file = disk.open(STATE / "logs" / "7-1.log", OpenMode.READ)
        disk.sync(file)
        disk.sync_directory(STATE / "logs")
        said = down_after(disk, step, lambda store=store: do(store.finish(*KEY)), power=power)  # type: ignore[misc]
        store = logs(disk)
        assert read_log(store) == WHOLE
        assert do(store.state(*KEY)).finished or not said
        disk.crash()
        store = logs(disk)
        assert read_log(store) == WHOLE
        do(store.finish(*KEY))
        disk.crash()
        assert do(logs(disk).state(*KEY)) == LogState(len(WHOLE), finished=True)
        assert log_names(disk) == ["7-1.log.zst"]


@settings(max_examples=examples(15))
@given(SEEDS, st.booleans())
def test_whenever_the_machine_goes_down_a_log_can_be_read_as_far_as_it_is_there_and_be_finished(
    seed: int, power: bool
) -> None:
    def write_and_finish(disk: SimulatedDisk) -> None:
        store = logs(disk)
        write_log(store)
        do(store.finish(*KEY))

    for step in range(MOST):
        disk = a_disk(seed)
        said = down_after(disk, step, lambda disk=disk: write_and_finish(disk), power=power)  # type: ignore[misc]
        store = logs(disk)
        there = read_log(store)
        assert there == WHOLE or not said
        assert there is None or len(there) <= len(WHOLE)
        assert power or WHOLE.startswith(there or b"")
        assert do(store.unfinished()) == ([KEY] if there is not None and not do(store.state(*KEY)).finished else [])
        do(store.finish(*KEY))
        assert read_log(store) == (there or b"")
        assert log_names(disk) == ["7-1.log.zst"]


@settings(max_examples=examples(15))
@given(SEEDS, st.sampled_from([Fault.FULL, Fault.ERROR]))
def test_whatever_fails_once_the_log_is_kept_by_trying_again(seed: int, fault: Fault) -> None:
    for step in range(MOST):
        disk = a_disk(seed)
        store = logs(disk)
        disk.fault = failing_at(disk.operations + step, fault)
        for act in (write_log, finish_log):
            try:
                act(store)
            except StorageUnavailable:
                assert read_log(store) in {None, b"", PIECES[0], PIECES[0] + PIECES[1], WHOLE}
                assert not [name for name in disk.names(STATE / "logs") if name.endswith(".new")]
                act(store)
        disk.crash()
        disk.fault = None
        assert read_log(logs(disk)) == WHOLE
        assert log_names(disk) == ["7-1.log.zst"]
