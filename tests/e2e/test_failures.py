"""Failures, and whose they are: the project's, the machine's, the metaserver's, the mail server's."""

import signal
import urllib.request

import pytest

from tests.e2e.control import Control
from tests.support.smtp import mail_text

BROKEN = "#include <stdio.h>\nint main(void) { return nonsense; }\n"


def test_a_compile_error_is_confirmed_on_another_server_mailed_to_all_and_never_served(running: Control) -> None:
    running.commit(**{"main.c": BROKEN})
    running.close_gate("anna")
    running.server("anna")
    assert running.ask("ann@example.org")["answer"] == "dispatched"
    assert running.ask("bob@example.org")["answer"] == "joined"
    bert = running.server("bert")
    running.open_gate("anna")
    for _ in range(2):
        running.farm.programs[0].wait_for("mail for")
    for name in ("ann", "bob"):
        body = mail_text(running.mail_to(f"{name}@example.org"))
        assert "nonsense" in body, "the end of the log is in the mail"
    assert any("nonsense" in line or "failed" in line for line in bert.lines)
    again = running.ask("ann@example.org", code=3)
    assert again["answer"] == "known-failure"
    assert again["artifact"] is None


def test_a_failure_is_final_at_once_where_nobody_can_confirm_it(running: Control) -> None:
    running.commit(**{"main.c": BROKEN})
    running.server("anna")
    failed = running.ask("--foreground", "ann@example.org", code=3)
    assert failed["state"] == "failed"
    assert failed["epoch"] == 1


@pytest.mark.long
def test_a_machine_fault_is_tried_elsewhere(running: Control) -> None:
    running.control("broken-anna").touch()
    running.close_gate("anna")
    running.server("anna")
    asked = running.ask("ann@example.org")
    assert asked["server"] == "anna"
    running.control("broken-anna").touch()
    bert = running.server("bert")
    bert.wait_for(r"build \d+")
    running.farm.programs[0].wait_for("mail for")
    assert running.ask("--no-download", "ann@example.org")["artifact"]["server"] == "bert"


@pytest.mark.long
def test_three_broken_machines_make_a_build_unbuildable_and_the_mail_lists_them(running: Control) -> None:
    for name in ("anna", "bert", "carl"):
        running.control(f"broken-{name}").touch()
        running.server(name)
    ended = running.ask("--foreground", "ann@example.org", code=4)
    assert ended["state"] == "unbuildable"
    running.farm.programs[0].wait_for("mail for")
    body = mail_text(running.mail_to("ann@example.org"))
    assert all(name in body for name in ("anna", "bert", "carl"))


@pytest.mark.long
def test_a_refusal_sends_the_build_elsewhere(running: Control) -> None:
    running.control("refuse-anna").write_text("not before midnight")
    running.server("anna")
    running.ask("ann@example.org")
    running.server("bert")
    running.farm.programs[0].wait_for("mail for")
    assert running.ask("--no-download", "ann@example.org")["artifact"]["server"] == "bert"


@pytest.mark.long
def test_a_build_whose_server_is_killed_is_built_elsewhere(control: Control) -> None:
    control.farm.extra["BUILDTOOL_LEASE"] = "8"
    control.farm.start_mail()
    control.farm.start_metaserver()
    running = control
    running.close_gate("anna")
    anna = running.server("anna")
    asked = running.ask("ann@example.org")
    assert asked["server"] == "anna"
    anna.wait_for("gate|build")
    anna.kill()
    running.server("bert")
    running.farm.programs[0].wait_for("mail for")
    assert running.ask("--no-download", "ann@example.org")["artifact"]["server"] == "bert"


def test_a_server_that_is_told_to_stop_hands_its_build_back(running: Control) -> None:
    running.close_gate("anna")
    anna = running.server("anna")
    asked = running.ask("ann@example.org")
    assert anna.stop(signal.SIGTERM) == 0
    running.server("bert")
    running.farm.programs[0].wait_for("mail for")
    done = running.ask("--no-download", "ann@example.org")
    assert done["build_id"] == asked["build_id"]
    assert done["artifact"]["server"] == "bert"


def test_a_killed_metaserver_keeps_queue_and_unsent_mail(running: Control) -> None:
    mailbox, metaserver = running.farm.programs
    mailbox.stop()
    running.server("anna")
    assert running.ask("--foreground", "--no-download", "ann@example.org")["state"] == "satisfied"
    running.farm.programs[-1].stop()
    queued = running.ask("--greeting=goodbye", "bob@example.org")
    assert queued["answer"] == "queued"
    metaserver.kill()
    running.farm.start_metaserver()
    again = running.farm.start_mail(running.farm.mail_port)
    again.wait_for("mail for ann@example.org")
    running.server("anna")
    again.wait_for("mail for bob@example.org")


@pytest.mark.long
def test_mail_waits_for_a_mail_server_that_is_away(control: Control) -> None:
    mailbox = control.farm.start_mail()
    control.farm.start_metaserver()
    control.server("anna")
    mailbox.stop()
    assert control.ask("--foreground", "--no-download", "ann@example.org")["state"] == "satisfied"
    again = control.farm.start_mail(control.farm.mail_port)
    again.wait_for("mail for ann@example.org")
    assert len(control.mails()) == 1


def test_a_log_that_a_crash_kept_from_its_end_is_finished_at_the_next_start(control: Control) -> None:
    """Between the commit that ends an Attempt and its log a crash leaves one that followers would wait for in vain."""
    control.farm.start_metaserver().stop()
    (control.farm.directory / "metaserver" / "logs" / "1-1.log").write_bytes(b"the last words\n")
    control.farm.start_metaserver()
    address = f"http://127.0.0.1:{control.farm.ports['BUILDTOOL_TRANSFER_PORT']}/logs/1/1"
    with urllib.request.urlopen(f"{address}?offset=15&wait=30") as answer:  # noqa: S310
        assert answer.headers["Log-Finished"] == "yes"
    with urllib.request.urlopen(address) as answer:
        assert answer.read() == b"the last words\n"
