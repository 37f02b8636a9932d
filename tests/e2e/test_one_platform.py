"""A project that cannot be linked for one platform fails there, and nowhere else (as redis 7.0 does for ppc)."""

from pathlib import Path

import pytest

from tests.e2e.control import CONFIG, Control
from tests.support.packages import require
from tests.support.smtp import mail_text

pytestmark = pytest.mark.long

# 64-bit atomics are instructions on most processors; 32-bit PowerPC has none, and GCC calls a library of its own.
COUNTER = """\
#include <stdio.h>
static struct { _Atomic long long commands, errors; } told;
int main(void) { told.commands += 2; told.errors++; printf("%lld %lld\\n", told.commands, told.errors); return 0; }
"""


COUNTING = "--project=counter"


@pytest.fixture
def counting(control: Control) -> Control:
    """A farm of one build server that makes programs for itself and for ppc, and of a project that cannot be both."""
    require("powerpc-linux-gnu-gcc", "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross")
    control.farm.config = CONFIG.with_name("platforms_config.py")
    del control.farm.extra["PATH"]  # which has this machine's own compiler alone
    control.commit(**{"counter.c": COUNTER})
    control.farm.start_mail()
    control.farm.start_metaserver()
    control.server("anna")
    return control


def test_a_link_error_for_one_platform_is_the_projects_failure_with_the_linkers_lines_in_the_mail(
    counting: Control,
) -> None:
    failed = counting.ask(COUNTING, "--arch=ppc", "--foreground", "ann@example.org", code=3)
    assert (failed["answer"], failed["state"]) == ("dispatched", "failed")
    counting.farm.programs[0].wait_for("mail for ann@example.org")
    mail = counting.mail_to("ann@example.org")
    assert "undefined reference to `__atomic" in mail_text(mail)
    assert "ppc" in mail["Subject"]


def test_the_failure_is_remembered_for_that_platform_alone(counting: Control, tmp_path: Path) -> None:
    counting.ask(COUNTING, "--arch=ppc", "--foreground", "ann@example.org", code=3)
    built = counting.ask(COUNTING, "--foreground", "--no-download", "bob@example.org")
    assert (built["answer"], built["state"]) == ("dispatched", "satisfied")
    again = counting.ask(COUNTING, "--arch=powerpc", "cid@example.org", code=3)
    assert again["answer"] == "known-failure", "whatever the platform is called"
    assert again["artifact"] is None
    assert counting.ask(COUNTING, "--no-download", "cid@example.org")["answer"] == "hit"
