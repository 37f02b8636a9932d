"""The table of rights: deny by default, own is own, limits limit, and a configuration changes what it names."""

import re

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import Unauthorised, UsageError
from buildtool.model.access.rights import (
    CHANGEABLE,
    RIGHTS,
    Act,
    Extent,
    Rights,
    Subject,
    known_platform,
    platform_name,
    platform_names,
)
from buildtool.model.principal import UNLIMITED, Principal, PrincipalRole, Scope

roles = st.sampled_from(PrincipalRole)
acts = st.sampled_from(Act)
names = st.sampled_from(["", "anna", "ben", "anna@example.org"])
platforms = st.none() | st.frozensets(st.sampled_from(["linux", "ppc", "linux-ppc", "x86_64"]), max_size=3)
callers = st.builds(
    Principal,
    roles,
    names,
    owner=names,
    limits=st.sampled_from([UNLIMITED, Scope(projects=("lua",)), Scope(platforms=("linux-ppc",))]),
)
subjects = st.builds(
    Subject, st.frozensets(names, max_size=2), st.sampled_from(["", "lua", "zlib"]), platforms, st.booleans()
)
WHOLE = {
    Act.INVITE, Act.ROTATE, Act.REVOKE, Act.SEE_KEYS, Act.DRAIN, Act.PAUSE, Act.FORGET_SERVER, Act.JOIN,
    Act.HOLD_TOKENS, Act.SEE_AUDIT, Act.SEE_ACCESS, Act.NOTE_BOUNCES,
}  # fmt: skip


def allowed(rights: Rights, by: Principal, act: Act, subject: Subject) -> bool:
    try:
        rights.check(by, act, subject)
    except Unauthorised as error:
        assert "\n" not in str(error)  # noqa: PT017 - every pair is tried
        assert re.search(f"may (not )?{act.value}", str(error))  # noqa: PT017
        return False
    return True


@given(callers, acts, subjects)
def test_an_act_is_allowed_exactly_as_far_as_the_table_ownership_and_limits_say(
    by: Principal, act: Act, subject: Subject
) -> None:
    extent = RIGHTS.extent(by.role, act)
    own = subject.proven or bool({by.name, by.owner} & subject.owners - {""})
    within = not by.limits.projects or subject.project in ("", *by.limits.projects)
    within &= not by.limits.platforms or subject.platforms is None or "linux-ppc" in subject.platforms
    whole = by.limits == UNLIMITED or act not in WHOLE
    wanted = within and ((extent is Extent.ALL and (own or whole)) or (extent is Extent.OWN and own))
    assert allowed(RIGHTS, by, act, subject) == wanted


@given(callers, acts, subjects)
def test_an_empty_table_allows_nothing(by: Principal, act: Act, subject: Subject) -> None:
    assert not allowed(Rights({}), by, act, subject)


def test_programs_have_no_acts_of_their_own_and_a_stranger_none_at_all() -> None:
    for role in (PrincipalRole.STRANGER, PrincipalRole.PAGES):
        assert all(RIGHTS.extent(role, act) is Extent.NONE for act in Act)


def test_every_act_is_somebodys() -> None:
    for act in Act:
        assert any(RIGHTS.extent(role, act) for role in PrincipalRole), act


def test_only_an_operator_acts_on_what_is_not_their_own() -> None:
    reading = {act for act in Act if act.value.startswith(("see", "fetch", "ask"))} | {
        Act.FORCE,
        Act.JOIN,
        Act.CONFIRM,
        Act.SIGN_IN,
    }
    for role in set(PrincipalRole) - {PrincipalRole.OPERATOR}:
        assert {act for act in Act if RIGHTS.extent(role, act) is Extent.ALL} <= reading, role


def test_a_configuration_changes_what_it_names_and_nothing_else() -> None:
    changed = RIGHTS.with_changes({"requester": {"force": "nothing"}, "observer": {"submit": "all"}})
    assert changed.extent(PrincipalRole.REQUESTER, Act.FORCE) is Extent.NONE
    assert changed.extent(PrincipalRole.OBSERVER, Act.SUBMIT) is Extent.ALL
    assert RIGHTS.extent(PrincipalRole.REQUESTER, Act.FORCE) is Extent.ALL
    differ = [
        (role, act) for role in PrincipalRole for act in Act if changed.extent(role, act) != RIGHTS.extent(role, act)
    ]
    assert len(differ) == 2


def test_nobody_can_be_given_an_act_not_even_operators() -> None:
    changed = RIGHTS.with_changes({"everybody": {"abort": "nothing"}})
    for role in PrincipalRole:
        assert not allowed(changed, Principal(role, "x"), Act.ABORT, Subject(proven=True))
    assert f"{'abort':<18} nobody" in changed.lines()


def test_what_is_told_of_a_rule_says_of_which_project_and_on_which_platform_it_is() -> None:
    changes = {"requester": {"force": "nothing", "force on ppc": "own"}}
    told = list(RIGHTS.with_changes({"requester": {"force on sparc": "nothing"}}).with_changes(changes, "lua").lines())
    assert [line.split(maxsplit=1)[1] for line in told[-3:]] == [
        "requester: nothing, on sparc",
        "requester: nothing, of lua",
        "requester: own, of lua on ppc",
    ]


@given(roles, subjects)
def test_a_change_for_a_project_or_a_platform_holds_there_only_and_the_project_s_goes_first(
    role: PrincipalRole, subject: Subject
) -> None:
    changed = RIGHTS.with_changes({"everybody": {"force on powerpc": "nothing"}})
    changed = changed.with_changes({"everybody": {"force": "own"}}, project="lua")
    before = RIGHTS.extent(role, Act.FORCE, subject)
    if role not in CHANGEABLE:
        assert changed.extent(role, Act.FORCE, subject) is before
    elif subject.project == "lua":
        assert changed.extent(role, Act.FORCE, subject) is Extent.OWN
    elif "ppc" in (subject.platforms or ()):
        assert changed.extent(role, Act.FORCE, subject) is Extent.NONE
    else:
        assert changed.extent(role, Act.FORCE, subject) is before


@given(callers, acts, subjects, st.sampled_from(["nothing", "own", "all"]), st.sampled_from(["", "lua"]))
def test_whoever_passes_the_first_check_nowhere_may_do_it_nowhere(
    by: Principal, act: Act, subject: Subject, extent: str, project: str
) -> None:
    changed = RIGHTS.with_changes({"requester": {"force": extent, "cancel": extent}}, project)
    try:
        changed.check_role(by, act)
    except Unauthorised:
        assert not allowed(changed, by, act, evolve(subject, proven=True))


@pytest.mark.parametrize(
    ("changes", "project", "words"),
    [
        ({"pages": {}}, "", "no role 'pages'"),
        ({"requestr": {}}, "", "no role 'requestr': did you mean 'requester'"),
        ({"requester": {"fly": "all"}}, "", "no act 'fly'"),
        ({"requester": {"forse": "all"}}, "", "did you mean 'force'"),
        ({"requester": {"join": "all"}}, "", "no act 'join'"),
        ({"requester": {"submit": "often"}}, "", "no extent 'often'"),
        ({"requester": {7: "all"}}, "", "no act 7"),
        ({"observer": {"invite on ppc": "all"}}, "", "'invite' is about no project or platform"),
        ({"observer": {"drain": "all"}}, "lua", "'drain' is about no project or platform"),
    ],
)
def test_what_is_no_role_act_or_extent_is_named(changes: dict[str, dict[str, str]], project: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RIGHTS.with_changes(changes, project)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("PowerPC", "ppc"),
        ("linux-amd64", "linux-x86_64"),
        ("WASI-wasm", "wasi-wasm32"),
        ("Linux", "linux"),
        ("x86-64", "x86_64"),
        ("new", "new"),
    ],
)
def test_a_platform_is_named_in_one_form(text: str, name: str) -> None:
    assert platform_name(text) == name


def test_a_platform_has_the_names_of_its_system_its_arch_and_both() -> None:
    assert platform_names((("arch", "ppc"), ("libc", "glibc"), ("os", "linux"))) == {"ppc", "linux", "linux-ppc"}
    assert platform_names(()) == frozenset()


def test_a_platform_that_there_is_not_is_refused_with_the_nearest_name() -> None:
    for said, near in (("pcc", "ppc"), ("linux-ppcc", "linux-ppc"), ("amd46", "amd64"), ("lunix", "linux")):
        with pytest.raises(UsageError, match=f"did you mean '{near}'"):
            RIGHTS.with_changes({"requester": {f"force on {said}": "nothing"}})
    with pytest.raises(UsageError, match="there is no platform 'zzz'"):
        known_platform("zzz")
    assert known_platform("Linux-amd64") == "linux-x86_64"
    assert known_platform("zos", ["zos"]) == "zos"


def test_an_owner_s_address_is_the_same_in_capitals_and_the_name_of_a_key_is_not() -> None:
    def owns(by: Principal, owner: str) -> bool:
        return allowed(RIGHTS, by, Act.PAUSE, Subject(owners=frozenset({owner})))

    anna = Principal(name="anna", role=PrincipalRole.REQUESTER, owner="Anna@Example.org")
    assert owns(anna, "anna@example.org")
    assert owns(evolve(anna, owner="anna@example.org"), "ANNA@example.org")
    assert not owns(anna, "hanna@example.org")
    assert owns(anna, "anna")
    assert not owns(anna, "Anna")
