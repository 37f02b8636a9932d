"""Which refs and sources a project trusts, as its configuration says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.trust.sources import EVERY_REF, is_listed, read_trusted_refs, read_trusted_sources

NAMES = st.text("abc-_/.1", min_size=1, max_size=12)


@given(NAMES)
def test_of_a_repository_branches_and_tags_are_trusted_and_nothing_else_is(name: str) -> None:
    assert EVERY_REF.has(f"refs/heads/{name}")
    assert EVERY_REF.has(f"refs/tags/{name}")
    assert not any(EVERY_REF.has(f"refs/{space}/{name}") for space in ("pull", "merge-requests", "fetched", "pins"))
    assert EVERY_REF.all_of_them


def test_only_what_is_named_is_trusted() -> None:
    refs = read_trusted_refs(["main", "release/*", "refs/tags/v*"])
    for ref in ("refs/heads/main", "refs/heads/release/1.0", "refs/tags/v1"):
        assert refs.has(ref)
    for ref in ("HEAD", "refs/heads/mainly", "refs/heads/topic", "refs/tags/nightly", "refs/pull/1/head"):
        assert not refs.has(ref)
    assert not refs.all_of_them
    assert read_trusted_refs("main") == read_trusted_refs(("refs/heads/main",))
    assert read_trusted_refs(refs) is refs
    assert EVERY_REF.has("HEAD")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("refs/pull/*/head", "neither a branch nor a tag"),
        ("HEAD", "and not HEAD"),
        ("a..b", "no name of a ref"),
        ("a b", "no name of a ref"),
        ("", "no name of a ref"),
        ([3], "is no name"),
        (7, "is a list of names"),
        (["main"] * 51, "which may be 50"),
    ],
)
def test_what_cannot_be_trusted_is_said(said: object, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read_trusted_refs(said)


def test_sources_are_any_texts() -> None:
    assert read_trusted_sources(["", "forks/*"]) == ("", "forks/*")
    with pytest.raises(UsageError, match="is a list of names"):
        read_trusted_sources({"a": "b"})


@pytest.mark.parametrize(
    "source",
    [
        "forks/../../stranger/fork",
        "forks/..",
        "forks//evil.example/fork",
        "forks/%2e%2e/stranger",
        "forks/\\..",
        "forks/@evil.example/fork",
        "forks/a?b",
        "forks/a#b",
    ],
)
def test_what_leads_out_of_the_place_that_a_pattern_names_is_none_of_its_sources(source: str) -> None:
    assert not is_listed(source, ["", "forks/*"])
    assert is_listed(source, ["*"]), "who says so trusts everything"
    assert is_listed(source, [source.replace("?", "[?]")]), "it is named itself"


def test_a_pattern_names_the_sources_that_are_in_its_place() -> None:
    for source in ("", "forks/ann", "forks/ann/paint.git", "git@host:team/lib"):
        assert is_listed(source, ["", "forks/*", "git@host:team/*"])
