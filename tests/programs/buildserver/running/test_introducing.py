"""What an owner wrote about a machine is what the farm hears at the next login, and a mistake there changes nothing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.adapters.runtime.threads import Inline
from buildtool.programs.buildserver.capability import TEXT_LIMIT, AnnouncedCapability, announced
from buildtool.programs.buildserver.owner_file import write_samples
from buildtool.programs.buildserver.running.introducing import PATIENCE, Introduction
from tests.support.inline import run

T = TypeVar("T")


class AwayDisk:
    """A pool whose function ends when the disk that it reads is there again."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    async def run(self, function: Callable[[], T]) -> T:
        self.waiting.append(function)
        return await Deferred()


def introduced(found: AnnouncedCapability, build_dir: Path, admin: str) -> AnnouncedCapability:
    return run(Introduction(Inline(), Clock(), build_dir, admin).of(found))


@pytest.fixture
def plain() -> AnnouncedCapability:
    return announced([], {}, max_builds=1, admin="", software="")


def test_what_is_edited_between_two_logins_is_told_at_the_second(tmp_path: Path, plain: AnnouncedCapability) -> None:
    write_samples(tmp_path, "attic", [("farm", 1)])
    first = introduced(plain, tmp_path, "").capability({})
    assert (first.admin, first.access_uri, first.host_info.count(";")) == ("", "", 0)
    shared = tmp_path / "shared"
    shared.write_text("# of all machines\nAnn <ann@example.org>\x1b[31m\n")
    (tmp_path / "info" / "admin").unlink()
    (tmp_path / "info" / "admin").symlink_to(shared)
    (tmp_path / "info" / "access_uri").write_text("ssh://attic.example.org\n")
    (tmp_path / "info" / "host").write_text("the old workstation\n")
    second = introduced(plain, tmp_path, "").capability({})
    assert second.admin.startswith("Ann <ann@example.org>")
    assert second.admin.isprintable()
    assert second.access_uri == "ssh://attic.example.org"
    assert second.host_info.startswith("the old workstation; ")
    assert "ssh:" not in second.host_info
    assert introduced(plain, tmp_path, "Ben").capability({}).admin == "Ben"


def test_a_sample_that_was_not_edited_is_not_told_though_its_sign_is_gone(
    tmp_path: Path, plain: AnnouncedCapability
) -> None:
    write_samples(tmp_path, "attic", [("farm", 1)])
    for one in ("admin", "host", "access_uri"):
        file = tmp_path / "info" / one
        file.write_text(file.read_text().removeprefix("# "))
    (tmp_path / "info" / "admin").write_text("Your Name Here <admin@youraddress.invalid>\n")
    told = introduced(plain, tmp_path, "").capability({})
    assert (told.admin, told.access_uri, told.host_info) == ("", "", plain.capability({}).host_info)


def test_what_cannot_be_read_leaves_what_was_told_before(tmp_path: Path, plain: AnnouncedCapability) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "host").write_text("a machine")
    before = introduced(plain, tmp_path, "")
    os.mkfifo(tmp_path / "info" / "access_uri")
    assert introduced(before, tmp_path, "") == before
    (tmp_path / "info" / "access_uri").unlink()
    (tmp_path / "info" / "access_uri").write_text("x" * 200_000)
    assert len(introduced(before, tmp_path, "").capability({}).access_uri) <= TEXT_LIMIT


def test_what_was_read_last_holds_while_it_cannot_be_read(tmp_path: Path, plain: AnnouncedCapability) -> None:
    (tmp_path / "info").mkdir()
    introduction = Introduction(Inline(), Clock(), tmp_path, "")
    (tmp_path / "info" / "host").write_text("a machine")
    assert run(introduction.of(plain)).about == "a machine"
    (tmp_path / "info" / "host").unlink()
    (tmp_path / "info" / "host").mkdir()
    assert run(introduction.of(plain)).about == "a machine"


def test_a_disk_that_is_away_holds_up_no_login_and_one_thread_at_most(
    tmp_path: Path, plain: AnnouncedCapability
) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "host").write_text("a machine")
    clock, pool = Clock(), AwayDisk()
    introduction = Introduction(pool, clock, tmp_path, "")
    told: list[AnnouncedCapability] = []
    Deferred.fromCoroutine(introduction.of(plain)).addCallback(told.append)
    assert not told
    clock.advance(PATIENCE)
    Deferred.fromCoroutine(introduction.of(plain)).addCallback(told.append)
    assert (told, len(pool.waiting)) == ([plain, plain], 1)
    pool.waiting.pop()()
    Deferred.fromCoroutine(introduction.of(plain))
    assert len(pool.waiting) == 1
