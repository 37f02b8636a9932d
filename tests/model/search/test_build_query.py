"""The line of a search is read, or refused in one line, in a time that grows with its length."""

import time

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.records import BuildState
from buildtool.model.search.build_query import EVERYTHING, LINE_LIMIT, TOKENS_LIMIT, BuildQuery, read_query

words = st.sampled_from(
    ("project:", "platform:", "option:", "state:", "rev:", "server:", "by:", "since:", "failed", "gc=boehm", "me",
     "lua", "2d", "2026-11-27", "beef", "12", "#7", "r12", "linux-PPC", "ada@Example.org", '"', "\\", " ", "é", "\x00",
     "\u202e", "=", "elm", ":", "x" * 101)
)  # fmt: skip
lines = st.lists(words, max_size=30).map("".join) | st.text(max_size=60)


@given(lines)
def test_any_line_is_read_or_refused_in_one_short_line(line: str) -> None:
    try:
        query = read_query(line)
    except UsageError as error:
        said = str(error)
        assert said.isprintable()
        assert 0 < len(said) < 700
    else:
        assert read_query(str(query)) == query
        assert str(read_query(str(query))) == str(query)


def test_tokens_are_what_they_say() -> None:
    line = 'project:lua platform:PowerPC option:label="a \\"b\\"" option:gc=boehm state:failed #12 beef rev:main by:Me'
    query = read_query(line)
    assert query == BuildQuery(
        number=(12,), project=("lua",), platform=("ppc",), option=(("label", 'a "b"'), ("gc", "boehm")),
        state=(BuildState.FAILED,), rev=("beef", "main"), by=("me",),
    )  # fmt: skip
    assert read_query("") == EVERYTHING == read_query("  \t ")
    assert str(query.having("state")) == str(query).replace(" state:failed", "")


def test_what_is_not_understood_is_named_and_so_much_of_it_as_a_line_holds() -> None:
    with pytest.raises(UsageError, match=r"^there is no 'colour': there are project:, .*since:$"):
        read_query("colour:red")
    with pytest.raises(UsageError, match=r"^'foo' is neither a build's number nor 4 or more digits"):
        read_query("project:lua foo")
    with pytest.raises(UsageError, match="there is no state 'fialed': there are queued, running"):
        read_query("state:fialed")
    with pytest.raises(UsageError, match=r"; and 2 more$"):
        read_query("a:1 b:2 c:3 d:4 e:5")
    with pytest.raises(UsageError, match="quotation mark"):
        read_query('project:"lua')
    for wrong in ("option:gc", "since:yesterday", "by:somebody", "server:-", "project:", "platform:a/b"):
        with pytest.raises(UsageError):
            read_query(wrong)


def test_a_line_is_bounded() -> None:
    with pytest.raises(UsageError, match="at most 500 characters"):
        read_query("x" * (LINE_LIMIT + 1))
    with pytest.raises(UsageError, match="at most 20 words"):
        read_query(" ".join("1" * (TOKENS_LIMIT + 1)))


def test_ages_and_moments_are_points_in_time() -> None:
    assert read_query("since:2d").since_at(1_000_000.0) == 1_000_000.0 - 172_800
    assert read_query("since:1970-01-02").since_at(5.0) == 86_400.0
    assert read_query("since:1970-01-02T01:00:00+01:00 since:1970-01-03").since_at(5.0) == 86_400.0
    assert EVERYTHING.since_at(5.0) is None


def test_a_long_line_is_read_in_no_time() -> None:
    began = time.process_time()
    for line in ('"' * 500, "\\" * 500, "a:" * 250, ("é " * 19) + "x" * 400):
        with pytest.raises(UsageError):
            read_query(line)
    assert time.process_time() - began < 0.1


def test_two_searches_are_put_together() -> None:
    both = read_query("project:lua state:failed").plus(read_query("project:lua project:zlib"))
    assert both == evolve(EVERYTHING, project=("lua", "zlib"), state=(BuildState.FAILED,))
