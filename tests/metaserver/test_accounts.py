"""Who becomes known, by what, and until when: over stores in memory, with keys that are texts."""

import re
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.errors import NotFound, StorageUnavailable, Unauthorised, UsageError
from buildtool.metaserver.accounts import DAY, AccountService, open_accounts
from buildtool.model.access.identities import KeyState
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol import enrolment as messages
from tests.simulation.keys import Key, Keys, Signer
from tests.support.memory import MemoryBurnt, MemoryStore, WallClock

T = TypeVar("T")
OPERATOR = Principal(PrincipalRole.OPERATOR, "op")
SOMEBODY = Principal(PrincipalRole.JOINING, address="192.0.2.7")


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine that waits for nothing returns, or raise what it raises."""
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    (one,) = found
    if isinstance(one, Failure):
        one.raiseException()
    made: T = one
    return made


@define
class World:
    store: MemoryStore = field(factory=MemoryStore)
    burnt: MemoryBurnt = field(factory=MemoryBurnt)
    wall: WallClock = field(factory=WallClock)
    keys: Keys = field(factory=lambda: Keys(1))
    ended: list[tuple[str, str]] = field(factory=list)
    accounts: AccountService = field(init=False)
    tokens: int = 0

    def __attrs_post_init__(self) -> None:
        self.restart()

    def restart(self, life: str = "first") -> None:
        self.accounts = done(
            open_accounts(
                AccountService(
                    self.store, self.wall, Signer(30 * DAY), life, lambda: [("farm", 443)],
                    lambda key, why: self.ended.append((key, why)), lambda: 400 * DAY, self.token, self.burnt,
                )
            )
        )  # fmt: skip

    def token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}-{'x' * 20}"

    def invite(self, name: str = "attic", *, role: str = "build server", owner: str = "", replace: bool = False) -> str:
        """Invite; return the token of the line."""
        line = done(self.accounts.invite(OPERATOR, messages.InviteOne(name, role, DAY, owner, replace, (), ()))).line
        assert line.startswith("farm:443/sha256:")
        return line.rpartition("/")[2]

    def join(self, token: str, key: Key) -> messages.Credentials:
        return done(self.accounts.join(SOMEBODY, messages.Join(token, key.request)))

    def known(self, key: Key) -> str:
        return done(self.accounts.known(SOMEBODY, key.id)).name

    def joined(self, name: str = "attic") -> Key:
        key = self.keys.new()
        self.join(self.invite(name), key)
        assert self.known(key) == name
        return key

    def listed(self, after: str = "") -> list[tuple[str, str]]:
        told = done(self.accounts.identities(OPERATOR, messages.AskIdentities(after)))
        return [(one.name, one.state) for one in told.found]


def test_a_key_is_shown_then_confirmed_by_its_first_use_and_is_known_after_a_restart() -> None:
    world = World()
    key, token = world.keys.new(), world.invite()
    assert world.listed() == [("attic", "invited")]
    first = world.join(token, key)
    assert world.listed() == [("attic", KeyState.SHOWN.value)]
    assert world.join(token, key) == first, "the same key gets the same certificate"
    assert world.known(key) == "attic"
    assert world.listed() == [("attic", KeyState.ACTIVE.value)]
    world.restart()
    assert world.known(key) == "attic"


def test_a_line_for_another_kind_of_program_is_not_used_up_by_one() -> None:
    world = World()
    key, token = world.keys.new(), world.invite()
    person = messages.Join(token, key.request, ("requester", "observer"))
    with pytest.raises(Unauthorised, match="invites attic as build server, and was not used up: it is for `bin/buil"):
        done(world.accounts.join(SOMEBODY, person))
    assert world.listed() == [("attic", "invited")]
    machine = messages.Join(token, key.request, ("build server",))
    done(world.accounts.join(SOMEBODY, machine))
    assert world.known(key) == "attic"


def test_a_line_that_a_second_key_shows_is_refused_and_told_until_the_operator_acts() -> None:
    world = World()
    token = world.invite()
    world.join(token, world.keys.new())
    with pytest.raises(Unauthorised, match="used already, with another key"):
        world.join(token, world.keys.new())
    (problem,) = world.accounts.problems()
    assert "attic was shown again with another key, from 192.0.2.7" in problem
    world.restart()
    assert world.accounts.problems() == (problem,)
    assert done(world.accounts.revoke(OPERATOR, messages.RevokeOne("attic", "stolen"))).count == 1
    assert world.accounts.problems() == ()


def test_what_nobody_made_is_refused() -> None:
    world = World()
    with pytest.raises(Unauthorised):
        world.join("invented" * 4, world.keys.new())
    with pytest.raises(Unauthorised):
        world.known(world.keys.new())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("../x", "build server", DAY, ""), "is no name"),
        (("attic", "king", DAY, ""), "there is no role 'king'"),
        (("attic", "build server", 0.0, ""), "from one second to a year"),
        (("attic", "build server", float("nan"), ""), "from one second to a year"),
        (("ann", "requester", DAY, ""), "with an e-mail address"),
        (("ann", "requester", DAY, "ann"), "ann"),
    ],
)
def test_what_cannot_be_invited_is_refused_in_words(asked: tuple[str, str, float, str], words: str) -> None:
    name, role, lasts, owner = asked
    with pytest.raises(UsageError, match=re.escape(words)):
        done(World().accounts.invite(OPERATOR, messages.InviteOne(name, role, lasts, owner, False, (), ())))


def test_a_second_line_for_a_name_says_that_the_first_is_void() -> None:
    world = World()
    asked = messages.InviteOne("attic", "build server", DAY)
    first = done(world.accounts.invite(OPERATOR, asked))
    other = done(world.accounts.invite(OPERATOR, evolve(asked, role="observer")))
    assert (first.voided, other.voided) == (0.0, 0.0), "one in another role stays good"
    second = done(world.accounts.invite(OPERATOR, asked))
    assert second.voided == first.expires
    world.join(second.line.rpartition("/")[2], world.keys.new())
    anew = done(world.accounts.invite(OPERATOR, evolve(asked, replaces=True)))
    assert anew.voided == 0.0, "one that was used is no line that somebody may still want to use"


def test_a_platform_of_an_invitation_is_known_and_written_in_its_one_form() -> None:
    world = World()
    asked = messages.InviteOne("attic", "build server", DAY, platforms=("pcc",))
    with pytest.raises(UsageError, match="did you mean 'ppc'"):
        done(world.accounts.invite(OPERATOR, asked))
    done(world.accounts.invite(OPERATOR, evolve(asked, platforms=("powerpc", "ppc"))))
    (made,) = world.accounts.book.invitations.values()
    assert made.limits.platforms == ("ppc",)


def test_a_revocation_says_all_that_it_ends_of_a_name_that_several_roles_have() -> None:
    """A machine and a person may be called alike; whoever revokes one should know that the other went with it."""
    world = World()
    world.joined()
    world.invite(role="requester", owner="ann@example.org")
    told = done(world.accounts.revoke(OPERATOR, messages.RevokeOne("attic", "")))
    assert "(1 key)" in told.words[0]
    assert told.words[0].endswith("; the invitation of that name as requester is void too")
    machine, person = world.joined(), world.keys.new()
    world.join(world.invite(role="requester", owner="ann@example.org"), person)
    told = done(world.accounts.revoke(OPERATOR, messages.RevokeOne("attic", "")))
    assert told.words[0].startswith("attic is revoked (2 keys: build server, requester)")
    assert {key for key, _ in world.ended} >= {machine.id, person.id}


def test_who_is_revoked_ends_at_once_and_never_comes_back_also_where_the_database_forgot_it() -> None:
    world = World()
    key = world.joined()
    before = dict(world.store.rows)
    told = done(world.accounts.revoke(OPERATOR, messages.RevokeOne("attic", "sold")))
    assert told.words[0].startswith("attic is revoked (1 key)")
    assert world.ended == [(key.id, "the key of attic was revoked: sold")]
    with pytest.raises(Unauthorised, match="sold"):
        world.known(key)
    with pytest.raises(NotFound):
        done(world.accounts.revoke(OPERATOR, messages.RevokeOne("nobody", "")))
    world.store.rows.clear()
    world.store.rows.update(before)  # an older copy of the database
    world.restart()
    with pytest.raises(Unauthorised):
        world.known(key)


def test_a_machine_that_is_made_anew_takes_the_name_when_its_key_is_used_first() -> None:
    world = World()
    old = world.joined()
    with pytest.raises(UsageError, match="--replace"):
        world.invite()
    new = world.keys.new()
    world.join(world.invite(replace=True), new)
    assert world.known(old) == "attic", "until the new key is used"
    assert world.known(new) == "attic"
    assert [key for key, _ in world.ended] == [old.id]
    with pytest.raises(Unauthorised):
        world.known(old)


def test_a_key_is_renewed_by_its_holder_within_the_time_and_leaves_by_itself() -> None:
    world = World()
    key = world.joined()
    holder = Principal(PrincipalRole.RENEWING, "attic", key=key.id)
    world.wall.now += 60 * DAY
    renewed = done(world.accounts.renew(holder, messages.Renew()))
    assert renewed.expires == pytest.approx(world.wall.now + 30 * DAY)
    world.wall.now += 431 * DAY
    with pytest.raises(Unauthorised):
        done(world.accounts.renew(holder, messages.Renew()))
    done(world.accounts.leave(holder, messages.Leave()))
    with pytest.raises(Unauthorised):
        world.known(key)


def test_after_a_restore_older_invitations_are_void() -> None:
    world = World()
    token = world.invite()
    world.restart("second")
    with pytest.raises(Unauthorised):
        world.join(token, world.keys.new())


def test_a_commit_in_doubt_is_looked_up_before_anybody_is_let_in() -> None:
    world = World()
    key = world.joined()
    world.store.problems = [StorageUnavailable("the disk is full")]
    with pytest.raises(StorageUnavailable):
        done(world.accounts.revoke(OPERATOR, messages.RevokeOne("attic", "sold")))
    assert world.ended, "whoever comes back is looked up"
    assert world.known(key) == "attic", "nothing was stored"


def test_the_list_goes_on_after_a_name() -> None:
    world = World()
    names = [f"m{number:05}" for number in range(messages.LISTED + 3)]
    for name in names:
        world.invite(name)
    first = done(world.accounts.identities(OPERATOR, messages.AskIdentities("")))
    assert first.more
    rest = done(world.accounts.identities(OPERATOR, messages.AskIdentities(first.found[-1].name)))
    assert [one.name for one in (*first.found, *rest.found)] == names
