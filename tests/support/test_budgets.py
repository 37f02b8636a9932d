"""CI's budgets: a step over its own is said loudly, one at twice fails, and what others use is nobody's fault."""

import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parent.parent.parent / ".ci" / "run"

pytestmark = pytest.mark.world


def told(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash that has the functions of .ci/run."""
    command = ["bash", "-c", f"source {RUN}; {script}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("seconds", "of_others", "loud", "code"),
    [
        (10, 0, False, 0),
        (11, 0, True, 0),
        (19, 0, True, 0),
        (20, 0, True, 1),
        (50, 30, True, 1),
        (50, 31, True, 0),
        (10, -1, False, 0),
        (20, -1, True, 1),
    ],
)
def test_a_step_over_its_budget_is_said_loudly_and_fails_at_twice(
    seconds: int, of_others: int, loud: bool, code: int
) -> None:
    done = told(f'judge "make this" {seconds} {of_others} 10; echo "${{told[@]}}"')
    assert ("OVER ITS BUDGET" in done.stdout, done.returncode) == (loud, code), done
    assert ("took twice its budget" in done.stderr) == bool(code)
    assert code or f"make this: {seconds} s of 10" in done.stdout.splitlines()[-1], "it is told again at the end"


def test_a_step_that_fails_ends_everything() -> None:
    done = told("step this 9 true; step that 9 false; echo reached")
    assert (done.returncode, "that" in done.stdout, "reached" in done.stdout) == (1, True, False)


def test_what_others_used_is_all_but_what_was_idle_and_what_ended_as_a_child_of_this_run(tmp_path: Path) -> None:
    """In the kernel's own forms: ticks by kind for all processors and for each, and those of a process."""
    stat, own = tmp_path / "stat", tmp_path / "own"
    each = "cpu{} 900 90 10 50000 7000 10 20 70 5 5"  # of which 1,100 ticks are neither idle nor told twice
    stat.write_text("\n".join([each.format(" "), each.format(0), each.format(1), "intr 1 2 3"]))
    own.write_text("7 (run) S 1 7 7 0 -1 0 1 2 3 4 11 12 250 50 20 0 1 0 100\n")
    done = told(f"getconf() {{ echo 100; }}; others {stat} {own}")
    assert done.stdout == "4\n", done  # (1,100 - 300) ticks, a hundred to a second, two processors
