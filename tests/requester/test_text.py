"""What is said to requesters: whatever an explanation holds is said once, in printable lines, the verdict first."""

from typing import Any

from attrs import evolve
from hypothesis import given

from buildtool.model.project_options import Followed
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.requester.text import answered, explained, moved, raised
from tests import messages


@given(messages.ALL["Explanation"])
def test_whatever_is_explained_is_said_once_in_printable_lines(said: Any) -> None:
    lines = explained(said)
    assert all(line.isprintable() for line in lines)
    assert len([line for line in lines if line.startswith("  nearest machine: ")]) == bool(said.nearest_server)
    assert len([line for line in lines if line.startswith("nearest artifact: ")]) == (said.nearest_artifact is not None)
    assert len([line for line in lines if line.startswith("page: ")]) == bool(said.page_url)
    fixed = 1 + bool(said.nearest_server) + bool(said.ahead) + (said.seconds is not None) + bool(said.page_url)
    of_artifacts = (said.artifact is not None) + (said.nearest_artifact is not None and 1 + len(said.differences))
    halted = bool(said.reason) and said.verdict in ("queued", "running", "joined")
    assert len(lines) == fixed + of_artifacts + halted + len(said.reasons)


def test_what_would_be_queued_is_not_said_to_wait_and_what_waits_is() -> None:
    assert explained(messages.explanation("queued"))[0] == "queue: no build server could take it now"
    assert explained(messages.explanation("queued", build_id=17))[0] == "build 17 waits"


def test_what_follows_from_the_options_is_said_at_the_end() -> None:
    follows = Followed("table_size", 64, "utf8", True, suggested=True)
    lines = explained(messages.explanation("queued"), [follows])
    assert lines == [*explained(messages.explanation("queued")), "with --table-size=64, which --utf8=yes suggests"]


def test_what_a_project_demands_beyond_what_was_asked_is_said() -> None:
    strict, none = SandboxLevel.STRICT, SandboxLevel.NONE
    said = ["testproject is only taken if it is built in a strict sandbox: that counts"]
    assert raised(messages.submit(sandbox=none), messages.told(sandbox=strict)) == said
    assert raised(messages.submit(sandbox=strict), messages.told(sandbox=strict)) == []


def test_in_which_sandbox_an_artifact_was_made_is_said_where_there_was_one() -> None:
    weak = messages.told(artifact=messages.found(sandbox=SandboxLevel.WEAK))
    assert "by anna (native, in a weak sandbox) for" in answered(weak, 1.0)[2]
    assert "by anna (native) for" in answered(messages.told(), 1.0)[2]


def test_what_files_need_is_said_where_it_is_less_than_what_they_were_made_for() -> None:
    made = {"platform": (("libc", "glibc"), ("libc_version", "2.36")), "need": (("libc_version", "2.28"),)}
    assert "  needs glibc 2.28 or later" in answered(messages.told(artifact=messages.found(**made)), 1.0)
    assert not [line for line in answered(messages.told(), 1.0) if "needs" in line]


def test_an_estimate_says_of_what_it_is() -> None:
    for verdict, server, words in (
        ("queued", "", "it may start in about"),
        ("joined", "", "it may start in about"),
        ("dispatched", "anna", "it takes about"),
        ("running", "anna", "it may be done in about"),
    ):
        lines = explained(messages.explanation(verdict, server=server, build_id=17, seconds=90.0, basis="3 builds"))
        assert any(line.startswith(f"  {words}") and line.endswith("(from 3 builds)") for line in lines), lines


def test_whoever_follows_a_build_reads_that_it_stands_still_and_that_it_goes_on() -> None:
    going = messages.waiting()
    frozen = evolve(going, why=("it is frozen on attic: its owner is at the machine",))
    assert moved(going, going) == []
    assert moved(going, frozen)[1:] == ["  it is frozen on attic: its owner is at the machine"]
    assert moved(frozen, frozen) == []
    assert moved(frozen, going) == moved(going, frozen)[:1]
    assert explained(messages.explanation("running", build_id=17, reason="it is frozen on attic"))[1] == (
        "  it is frozen on attic"
    )
