"""Several builds asked for at once: a table, one mail, and the exit code of the worst."""

from pathlib import Path

from tests.e2e.control import Control
from tests.support.smtp import mail_text


def test_repeated_values_ask_for_every_combination_and_one_mail_tells_of_all(running: Control) -> None:
    running.server("anna")
    done = running.ask("--foreground", "--greeting=hello", "--greeting=goodbye", "--output", "./", "ann@example.org")
    requests = done["requests"]
    assert [one["state"] for one in requests] == ["satisfied", "satisfied"]
    assert len({one["build_id"] for one in requests}) == 2
    assert all(Path(one["path"]).name == one["artifact"]["name"] for one in requests)
    running.farm.programs[0].wait_for("mail for ann")
    (mail,) = running.mails()
    assert "2 of 2 built" in mail["Subject"]
    body = mail_text(mail)
    assert all(one["artifact"]["digest"] in body for one in requests)
    assert "greeting=goodbye: ready" in body


def test_a_matrix_file_ends_with_a_table_and_the_exit_code_of_the_worst(running: Control, tmp_path: Path) -> None:
    running.commit(**{"build.sh": (running.repository / "build.sh").read_text() + 'test "$1" = hello\n'})
    running.server("anna")
    matrix = tmp_path / "matrix"
    matrix.write_text("--greeting=hello\n# a comment\n--greeting=goodbye\n--greeting=hello --loud\n")
    done = running.farm.request("--foreground", "--no-download", "--matrix", str(matrix), "ann@example.org")
    assert done.returncode == 3, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    header = next(index for index, line in enumerate(lines) if line.startswith("asked for"))
    table = lines[header + 1 : header + 4]
    assert "greeting=goodbye" in table[1]
    assert "failed" in table[1]
    assert "satisfied" in table[0]
    running.farm.programs[0].wait_for("mail for ann")
    (mail,) = running.mails()
    assert "2 of 3 built" in mail["Subject"]


def test_the_same_matrix_again_is_all_hits_and_no_mail(running: Control) -> None:
    running.server("anna")
    words = ("--greeting=hello", "--greeting=goodbye", "--no-download", "ann@example.org")
    running.ask("--foreground", *words)
    running.farm.programs[0].wait_for("mail for ann")
    again = running.ask(*words)
    assert [one["answer"] for one in again["requests"]] == ["hit", "hit"]
    assert len(running.mails()) == 1


def test_a_wrong_line_of_a_matrix_is_named_and_nothing_is_asked_for(running: Control, tmp_path: Path) -> None:
    matrix = tmp_path / "matrix"
    matrix.write_text("--greeting=hello\n--greeting=howdy\n")
    line = running.refused("--matrix", str(matrix), "ann@example.org", code=2)
    assert "matrix:2" in line
    assert "one of hello, goodbye" in line
    assert running.ask("ann@example.org")["request_id"] == 1
