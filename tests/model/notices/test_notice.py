"""What a target is told of a request: in which words, and under a name that stays the same."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.notices.notice import CONTEXT_LIMIT, NoticeRule, NoticeState, context_of
from buildtool.model.options import canonical, shown
from buildtool.model.platforms import Value
from buildtool.model.records import Request, RequestState
from tests.scheduling.worlds import spec, submitted

PPC = canonical({"os": "linux", "arch": "ppc", "bits": 32, "byteorder": "big"})
RULE = NoticeRule("lua/forge", frozenset(NoticeState))


def request(share: str = "trigger:lua/push main", source: str = "", **more: object) -> Request:
    demand = submitted("a", evolve(spec(), source=source)).demand
    made = Request(3, "a", "body", "", demand, False, 0.0, 9.0, share=share, build_id=4)
    return evolve(made, **more)  # type: ignore[arg-type] # as the test says


def test_a_context_names_the_platform_and_what_is_not_as_usual() -> None:
    options, usual = canonical({"jit": True, "opt": 2}), canonical({"jit": False, "opt": 2})
    assert context_of("buildtool", PPC, options, usual) == "buildtool/linux-ppc jit=yes"
    assert context_of("farm", (), (), ()) == "farm/any"
    assert context_of("farm", canonical({"arch": "ppc", "libc": "musl"}), (), ()) == "farm/ppc libc=musl"


VALUES = st.one_of(st.booleans(), st.integers(0, 9), st.text("abc", min_size=1, max_size=80))
SETS = st.dictionaries(st.sampled_from([f"option{one}" for one in range(9)]), VALUES)


@given(one=SETS, other=SETS)
def test_sets_of_options_that_are_written_otherwise_have_contexts_of_their_own(
    one: dict[str, Value], other: dict[str, Value]
) -> None:
    first, second = (context_of("farm", PPC, canonical(it), ()) for it in (one, other))
    assert max(len(first), len(second)) <= CONTEXT_LIMIT
    assert (first == second) is (shown(canonical(one)) == shown(canonical(other)))


def test_two_long_contexts_that_begin_the_same_differ() -> None:
    long = "x" * 190
    contexts = {context_of("farm", (), canonical({"a": long, "b": end}), ()) for end in "yz"}
    assert len(contexts) == 2


def test_a_target_is_told_of_what_triggers_ask_for_of_its_own_source_unless_it_wants_everything() -> None:
    person, other = request(share="ann@example.org"), request(source="fork")
    assert [RULE.wants(one) for one in (request(), person, other)] == [True, False, False]
    every, fork = evolve(RULE, everything=True), evolve(RULE, source="fork")
    assert [every.wants(one) for one in (request(), person, other)] == [True, True, False]
    assert [fork.wants(one) for one in (request(), person, other)] == [False, False, True]
    assert not every.wants(request(answer="unconfirmed")), "nothing is done for it yet"


def test_a_commit_is_a_full_id_of_git_and_a_ref_anything() -> None:
    demand = submitted("a").demand
    svn = request(demand=evolve(demand, spec=evolve(demand.spec, revision="r12")))
    assert not RULE.wants(svn)
    assert evolve(RULE, by_ref=True).wants(svn)


def test_a_notice_says_why_in_one_line_or_what_is_usual() -> None:
    failed = request(state=RequestState.FAILED, reason="make: ***\nError 2")
    told = RULE.notice(failed, NoticeState.FAILURE, 5.0)
    assert (told.reason, told.build_id, told.request_id, told.at) == ("make: *** Error 2", 4, 3, 5.0)
    assert told.key == f"{told.revision} {told.context}"
    assert RULE.notice(request(), NoticeState.WAITING, 5.0).reason == "waits for a build server"
    assert RULE.notice(request(answer="hit"), NoticeState.SUCCESS, 5.0).reason == "it was built before"
    assert evolve(RULE, by_ref=True).notice(request(), NoticeState.SUCCESS, 5.0).key == f"main {told.context}"
