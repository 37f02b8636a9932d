"""The table of rights: deny by default, own is own, limits limit, and a configuration changes what it names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import Unauthorised, UsageError
from buildtool.model.access.identities import Scope
from buildtool.model.access.rights import RIGHTS, Act, Extent, Rights, Subject
from buildtool.model.principal import Principal, PrincipalRole

roles = st.sampled_from(PrincipalRole)
acts = st.sampled_from(Act)
names = st.sampled_from(["", "anna", "ben", "anna@example.org"])
callers = st.builds(Principal, roles, names, owner=names)
subjects = st.builds(Subject, st.frozensets(names, max_size=2), st.sampled_from(["", "lua", "zlib"]))


def allowed(rights: Rights, by: Principal, act: Act, subject: Subject, limits: Scope) -> bool:
    try:
        rights.check(by, act, subject, limits)
    except Unauthorised as error:
        assert "\n" not in str(error)  # noqa: PT017 - every pair is tried
        assert re.search(f"may (not )?{act.value}", str(error))  # noqa: PT017
        return False
    return True


@given(callers, acts, subjects, st.sampled_from([Scope(), Scope(projects=("lua",))]))
def test_an_act_is_allowed_exactly_as_far_as_the_table_ownership_and_limits_say(
    by: Principal, act: Act, subject: Subject, limits: Scope
) -> None:
    extent = RIGHTS.extent(by.role, act)
    own = bool({by.name, by.owner} & subject.owners - {""})
    within = not limits.projects or subject.project in ("", *limits.projects)
    wanted = within and (extent is Extent.ALL or (extent is Extent.OWN and own))
    assert allowed(RIGHTS, by, act, subject, limits) == wanted


@given(callers, acts, subjects)
def test_an_empty_table_allows_nothing(by: Principal, act: Act, subject: Subject) -> None:
    assert not allowed(Rights({}), by, act, subject, Scope())


def test_programs_have_no_acts_of_their_own_and_a_stranger_none_at_all() -> None:
    for role in (PrincipalRole.STRANGER, PrincipalRole.PAGES):
        assert all(RIGHTS.extent(role, act) is Extent.NONE for act in Act)


def test_every_act_is_somebodys() -> None:
    for act in Act:
        assert any(RIGHTS.extent(role, act) for role in PrincipalRole), act


def test_a_configuration_changes_what_it_names_and_nothing_else() -> None:
    changed = RIGHTS.with_changes(
        {"requester": {"have builds made anew": "nothing"}, "observer": {"ask for builds": "all"}}
    )
    assert changed.extent(PrincipalRole.REQUESTER, Act.FORCE) is Extent.NONE
    assert changed.extent(PrincipalRole.OBSERVER, Act.SUBMIT) is Extent.ALL
    assert RIGHTS.extent(PrincipalRole.REQUESTER, Act.FORCE) is Extent.ALL
    differ = [
        (role, act) for role in PrincipalRole for act in Act if changed.extent(role, act) != RIGHTS.extent(role, act)
    ]
    assert len(differ) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pages": {}}, "no role 'pages'"),
        ({"requester": {"fly": "all"}}, "no act 'fly'"),
        ({"requester": {"ask for builds": "often"}}, "no extent 'often'"),
    ],
)
def test_what_is_no_role_act_or_extent_is_named(changes: dict[str, dict[str, str]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RIGHTS.with_changes(changes)
