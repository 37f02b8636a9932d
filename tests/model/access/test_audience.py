"""Whom a project is for: who is named belongs to it, nobody else does, and what names nobody is told in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.access.audience import EVERYBODY, ProjectAccess, read_audience
from buildtool.model.principal import Principal, PrincipalRole

ANNA = Principal(PrincipalRole.REQUESTER, "anna", owner="anna@Example.org")
words = st.sampled_from(["anna", "ben", "anna@example.org", "ben@example.com", "@example.org", "requester", "nobody"])


@given(st.lists(words), st.sampled_from(PrincipalRole), st.sampled_from(["anna", "ben", ""]))
def test_who_is_named_belongs_to_it_and_operators_do(said: list[str], role: PrincipalRole, name: str) -> None:
    owner = f"{name}@example.org" if name else ""
    named = {name, owner, "@example.org" if owner else "", role.value} - {""}
    wanted = bool(named & set(said)) or role is PrincipalRole.OPERATOR
    assert read_audience(said).includes(Principal(role, name, owner=owner)) == wanted


def test_who_is_believed_without_a_key_belongs_to_every_audience() -> None:
    assert read_audience("nobody").includes(Principal(PrincipalRole.REQUESTER, trusted=True))


def test_domains_and_addresses_are_compared_without_their_capitals() -> None:
    for said in ("ANNA@example.org", "@EXAMPLE.org"):
        assert read_audience(said).includes(ANNA)
    assert not read_audience("@ample.org").includes(ANNA)
    assert not read_audience("@org").includes(ANNA)


def test_a_project_is_for_everybody_unless_it_says_otherwise() -> None:
    assert ProjectAccess() == ProjectAccess(EVERYBODY, EVERYBODY, EVERYBODY)
    assert str(read_audience(["everybody", "anna"])) == "everybody"
    assert str(read_audience(["requester", "@example.org", "ben"])) == "@example.org, ben, requester"
    assert str(read_audience([])) == "nobody"


@pytest.mark.parametrize("said", [7, None, ["a b"], [7], "@", "a@b c", ["x"] * 501, {"anna": 1}])
def test_what_names_nobody_is_told_in_one_line(said: object) -> None:
    with pytest.raises(UsageError) as refused:
        read_audience(said)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("said", "meant"), [("nobdy", "nobody"), ("all", "everybody"), ("requestor", "requester"), ("none", "nobody")]
)
def test_a_word_that_was_mistyped_is_taken_for_no_key_s_name(said: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        read_audience(["anna", said])
    assert read_audience(f"{said}-1").names == {f"{said}-1"}
