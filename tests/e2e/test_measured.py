"""What a farm's artifacts really need, and whom they are for: measured in the files, and believed of nothing else."""

import platform
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import farm
from tests.e2e.control import CONFIG, Control
from tests.support.packages import require_that
from tests.support.smtp import mail_text

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("measured")]  # the tests share a farm

LIBRARY = '#include <stdio.h>\nint greet(void) { return puts("hello"); }\n'

FOR_PPC = "".join(map(chr, (*b"\x7fELF", 1, 2, 1, *bytes(9), 0, 3, 0, 20, 0, 0, 0, 1, *bytes(28))))
"""The head of a library for 32-bit PowerPC, as the System V ABI has it."""


@pytest.fixture(scope="module")
def measuring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A farm that makes a library by this machine's own compiler, whose platform is that of its newest C library."""
    machine = platform.machine()
    require_that(present=machine == "x86_64", what=f"this machine is {machine}", remedy="run this test on x86_64")
    with farm(tmp_path_factory.mktemp("measured")) as made:
        made.farm.config = CONFIG.with_name("platforms_config.py")
        made.commit(**{"greet.c": LIBRARY, "prebuilt": "nothing\n"})
        made.farm.start_mail()
        made.farm.start_metaserver()
        made.server("anna")
        yield made


def test_what_files_need_is_stored_and_makes_them_a_hit_for_machines_with_older_libraries(measuring: Control) -> None:
    """The library needs no symbol that glibc has not had since it came to x86_64, whatever this machine has."""
    asked = f"--revision={measuring.commits[1]}", "--project=library", "--no-download"
    made = measuring.ask(*asked, "--foreground", "ann@example.org")
    announced = made["artifact"]["platform"]["libc_version"]
    assert made["artifact"]["need"]["libc_version"] == "2.2.5"
    metaserver = next(one for one in measuring.farm.programs if "metaserver" in one.name)
    metaserver.stop()
    measuring.farm.start_metaserver()
    older = measuring.ask("--libc-version=2.17", *asked, "bob@example.org")
    assert (older["answer"], older["artifact"]["build_id"]) == ("hit", made["build_id"])
    assert older["artifact"]["platform"]["libc_version"] == announced, "what it was made for stays told beside it"
    oldest = measuring.ask("--libc-version=2.2", *asked, "bob@example.org")
    assert oldest["answer"] == "queued", "no file is believed to need less than was measured"


def test_a_file_for_another_platform_is_the_projects_failure_with_a_line_that_names_both(measuring: Control) -> None:
    measuring.commit(prebuilt=FOR_PPC)
    failed = measuring.ask("--project=library", "--foreground", "cid@example.org", code=3)
    assert failed["state"] == "failed"
    line = "'prebuilt' is for linux on ppc, and linux on x86_64 was asked for"
    assert line in failed["reason"]
    measuring.farm.programs[0].wait_for("mail for cid@example.org")
    assert line in " ".join(mail_text(measuring.mail_to("cid@example.org")).split())
    again = measuring.ask("--project=library", "bob@example.org", code=3)
    assert (again["answer"], again["build_id"]) == ("known-failure", failed["build_id"]), "no machine is blamed for it"
