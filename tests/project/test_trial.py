"""What is said of a recipe that was tried."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.options import canonical
from buildtool.project.fetching import Download
from buildtool.project.recipe import Command, Plan
from buildtool.project.trial import (
    DIFFERENT,
    MEMBERS,
    MemberDifference,
    TriedRun,
    TriedWith,
    as_object,
    head_lines,
    plan_lines,
    readable,
    run_lines,
    second_lines,
)

TRIED = TriedWith("paint", 3, "/src", "a" * 40, 0, canonical({"os": "linux"}), "native", canonical({"utf8": True}))
RUN = TriedRun("succeeded", "", "paint.zip", "/kept/paint.zip", 2048, "d" * 64, 1.5, (("0755", 12, "paint"),))
PLAN = Plan([Command(["make", "CFLAGS=-O2 -g"], cwd="src", name="build"), Command(["true"])], ["paint"], {"A": "b c"})


def test_what_the_farm_will_not_see_is_said_before_it_is_built() -> None:
    assert "sources    /src (commit aaaaaaaaaaaa)" in head_lines(TRIED)
    said = head_lines(evolve(TRIED, changed=2, install="apt-get install make", declined="too little disk"))
    assert "sources    /src (commit aaaaaaaaaaaa, and 2 files that the farm will not see until committed)" in said
    assert said[-2:] == ["missing    apt-get install make", "declined   a build server here would say: too little disk"]
    assert "revision is all zeros" in head_lines(evolve(TRIED, commit="0" * 40))[1]


def test_a_command_of_a_plan_can_be_typed_as_it_is_shown() -> None:
    assert plan_lines(PLAN) == [
        "plan",
        "  build                cd src && make 'CFLAGS=-O2 -g'",
        "  true                 true",
        "  environment          A='b c'",
        "  deliverable          paint",
    ]


FETCHING = Plan(
    [Command(["make"])],
    ["paint"],
    downloads=[Download("https://example.org/x-1.crate", "a" * 64, "vendor/x.crate")],
    fetch=[Command(["pip", "download", "x y"], name="wheels"), Command(["true"])],
    network=["pypi.org", "localhost:8080"],
)


def test_what_comes_from_outside_is_shown_in_its_order_with_the_hosts() -> None:
    assert plan_lines(FETCHING) == [
        "plan",
        f"  download             https://example.org/x-1.crate as vendor/x.crate, SHA-256 {'a' * 64}",
        "  fetch: wheels        pip download 'x y'",
        "  fetch: true          true",
        "  network              pypi.org, localhost:8080, while it fetches",
        "  make                 make",
        "  deliverable          paint",
    ]
    plan = as_object(TRIED, FETCHING, [RUN], ())["plan"]
    assert isinstance(plan, dict)
    assert plan["downloads"] == [{"url": "https://example.org/x-1.crate", "sha256": "a" * 64, "path": "vendor/x.crate"}]
    assert plan["network"] == ["pypi.org", "localhost:8080"]
    assert plan["fetch"][0] == {"name": "wheels", "argv": ["pip", "download", "x y"], "cwd": "."}


def test_the_sandbox_is_said_with_what_keeps_it_from_being_a_better_one() -> None:
    within = evolve(TRIED, sandbox="weak", sandbox_notes=("a build can make io_uring",))
    assert "sandbox    weak; a build can make io_uring" in head_lines(within)
    found = as_object(within, None, [RUN], ())
    assert (found["sandbox"], found["sandbox_notes"]) == ("weak", ["a build can make io_uring"])


def test_an_artifact_is_listed_up_to_a_bound_and_a_failure_is_one_line() -> None:
    many = evolve(RUN, members=tuple(("0644", 1, f"f{n}") for n in range(MEMBERS + 3)))
    assert run_lines(many)[-1] == "  and 3 more"
    assert run_lines(TriedRun("failed", "build: exited with code 2")) == ["failed: build: exited with code 2"]


def test_the_same_bytes_are_one_line_and_others_are_told_with_what_to_do() -> None:
    assert second_lines(RUN, RUN, ()) == ["again      the same bytes, in another directory"]
    other = evolve(RUN, digest="e" * 64, path="/kept/again-paint.zip")
    place = MemberDifference("paint", 0, None, 7, (b"in /a\0", b"in /b\0"), names_place=True)
    clock = MemberDifference("log", 0, ("100644", "100755"), 0, (b"at 12:00:01", b"at 12:00:02"))
    lone = MemberDifference("extra", only_in=2)
    said = "\n".join(second_lines(RUN, other, (place, clock, lone)))
    for part in (
        "again      other bytes: 3 of 1 files differ", "paint: from byte 7 on", "in /a.", "-ffile-prefix-map",
        "log: its mode is 100644 and then 100755", "SOURCE_DATE_EPOCH", "extra: only the second run made it",
    ):  # fmt: skip
        assert part in said
    many = tuple(MemberDifference(f"f{n}", only_in=1) for n in range(DIFFERENT + 2))
    assert second_lines(RUN, other, many)[-1] == "  and 2 more"
    broken = TriedRun("failed", "no such file", log_tail="the end")
    assert second_lines(RUN, broken, ()) == ["again      failed, though it was built once: no such file", "the end"]


def test_programs_get_the_same_as_people() -> None:
    other = evolve(RUN, digest="e" * 64)
    found = as_object(TRIED, PLAN, [RUN, other], (MemberDifference("paint", offset=7),))
    assert (found["same"], found["revision"], found["options"]) == (False, "a" * 40, {"utf8": True})
    assert found["differences"] == [{"name": "paint", "only_in": 0, "modes": None, "offset": 7, "advice": ""}]
    assert as_object(TRIED, None, [TriedRun("failed", "why")], ())["plan"] is None
    assert as_object(TRIED, None, [TriedRun("failed", "why")], ())["same"] is None


@given(st.binary(max_size=80))
def test_whatever_a_member_holds_is_shown_as_one_harmless_line(data: bytes) -> None:
    said = readable(data)
    assert said
    assert said.isascii()
    assert said.isprintable()
