"""Tokens and sessions of a running metaserver: committed before they are told, ended at once, signed in by once."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.errors import LimitReached, NotFound, StorageUnavailable, Unauthorised, UsageError
from buildtool.metaserver.access.tokens import BROWSER_WAITS, TokenService, open_tokens
from buildtool.model.access.confirmation import MailDomains
from buildtool.model.access.identities import Identity, KeyState
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.metaserver import Handler
from buildtool.protocol.enrolment import RevokeOne
from buildtool.protocol.operator import ActionResult
from buildtool.protocol.pages.visiting import (
    AskSignIn,
    AskTokens,
    EndToken,
    MakeToken,
    SignedIn,
    SignIn,
    SignOut,
    TokenMade,
)
from tests.metaserver.access.test_mailed_codes import ANN, BEN, World
from tests.support.inline import run as done

KEY = "a" * 64
HOLDER = Identity(KEY, "ann", PrincipalRole.REQUESTER, KeyState.ACTIVE, 0.0, "", 2e9, ANN)
KEYED = Principal(PrincipalRole.REQUESTER, "ann", key=KEY, owner=ANN)
ROOT = Principal(PrincipalRole.OPERATOR, "root (uid 0)")
NOBODY = Principal(PrincipalRole.VISITOR, address="192.0.2.7")
WISH = MakeToken("nightly", 86_400.0)


@define
class Farm:
    """Tokens over a farm whose people have keys, and mail; ``holders`` are those keys."""

    world: World = field(factory=World)
    holders: dict[str, Identity] = field(factory=lambda: {KEY: HOLDER})
    service: TokenService = field(init=False)
    _made: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.world.deployment.settings = evolve(self.world.deployment.settings, logins=MailDomains.of(["@example.org"]))
        self.restart()

    def restart(self, life: str = "life") -> None:
        self.service = done(
            open_tokens(
                TokenService(
                    self.world.deployment,
                    self.world.store,
                    self.world.wall,
                    life,
                    b"secret",
                    self.secret,
                    self.holders.get,
                    self.world.codes,
                )
            )
        )

    def secret(self) -> str:
        self._made += 1
        return f"{self._made:032x}"

    def make(self, by: Principal = KEYED) -> TokenMade:
        made: TokenMade = done(self.service.make(by, WISH))
        return made

    def refused(self, asked: Coroutine[Any, Any, object], kind: type[Exception]) -> str:
        with pytest.raises(kind) as caught:
            done(asked)
        return str(caught.value)

    def is_known(self, text: str) -> bool:
        try:
            self.service.bearer(text, NOBODY)
        except Unauthorised:
            return False
        return True

    def ask(self, email: str = BEN, browser: str = "b" * 32) -> None:
        done(self.service.ask_sign_in(NOBODY, AskSignIn("", NOBODY.address, False, email, browser)))

    def sign_in(self, *, token: str = "", code: str = "", browser: str = "b" * 32) -> Coroutine[Any, Any, SignedIn]:
        return self.service.sign_in(NOBODY, SignIn(token, NOBODY.address, False, code, browser, "Firefox"))


def test_a_token_is_kept_as_its_digest_and_survives_a_restart_but_no_restored_backup() -> None:
    farm = Farm()
    made = farm.make()
    assert made.token not in str(farm.world.store.rows)
    farm.restart()
    assert farm.service.bearer(made.token, NOBODY).name == "ann"
    farm.restart("another life")
    assert not farm.is_known(made.token)


def test_a_token_that_could_not_be_kept_is_none_and_one_whose_end_could_not_holds_no_more() -> None:
    farm = Farm()
    farm.world.store.problems.append(StorageUnavailable("the disk is full"))
    farm.refused(farm.service.make(KEYED, WISH), StorageUnavailable)
    assert not farm.service.book.of
    made = farm.make()
    farm.world.store.problems.append(StorageUnavailable("the disk is full"))
    farm.refused(farm.service.end(KEYED, EndToken(made.id)), StorageUnavailable)
    assert not farm.is_known(made.token), "it may have ended"
    done(farm.service.end(KEYED, EndToken(made.id)))
    assert not farm.is_known(made.token)


def test_its_holder_lists_and_ends_a_token_and_others_do_not() -> None:
    farm = Farm()
    made = farm.make()
    by = farm.service.bearer(made.token, NOBODY)
    (listed,) = done(farm.service.list(by, AskTokens())).found
    assert (listed.id, listed.label, listed.this) == (made.id, "nightly", True)
    ben = Principal(PrincipalRole.REQUESTER, BEN, owner=BEN)
    assert done(farm.service.list(ben, AskTokens())).found == ()
    assert "only operators see" in farm.refused(farm.service.list(ben, AskTokens("ann")), Unauthorised)
    farm.refused(farm.service.end(ben, EndToken(made.id)), NotFound)
    assert [one.id for one in done(farm.service.list(ROOT, AskTokens("ann"))).found] == [made.id]
    done(farm.service.end(ROOT, EndToken(made.id)))
    assert not farm.is_known(made.token)
    visitor = farm.refused(farm.service.make(NOBODY, WISH), Unauthorised)
    assert "may not hold tokens" in visitor


def test_everything_of_a_caller_ends_at_once() -> None:
    farm = Farm()
    made, other = farm.make(), farm.make(ROOT)
    session = done(farm.sign_in(token=made.token))
    told = done(farm.service.end(KEYED, EndToken()))
    assert told.count == 2
    assert not farm.is_known(made.token)
    assert not farm.is_known(session.session)
    assert farm.is_known(other.token)


def test_who_signs_in_with_a_token_gets_another_secret_each_time_which_ends_with_them() -> None:
    farm = Farm()
    made = farm.make()
    first, second = done(farm.sign_in(token=made.token)), done(farm.sign_in(token=made.token))
    assert len({made.token, first.session, second.session}) == 3
    assert first.session not in str(farm.world.store.rows)
    done(farm.service.sign_out(NOBODY, SignOut(first.session, "", trusted=False)))
    assert [farm.is_known(one) for one in (made.token, first.session, second.session)] == [True, False, True]
    done(farm.service.sign_out(NOBODY, SignOut(made.token, "", trusted=False)))
    assert farm.is_known(made.token), "a token is revoked, and not signed out"
    farm.refused(farm.sign_in(token="bt_wrong"), Unauthorised)
    farm.refused(farm.sign_in(token=second.session + "x"), Unauthorised)


WAITS: dict[str, Callable[[TokenService, Principal, str], Coroutine[Any, Any, object]]] = {
    "make": lambda service, by, _text: service.make(by, WISH),
    "end": lambda service, by, _text: service.end(by, EndToken()),
    "sign in": lambda service, _by, text: service.sign_in(NOBODY, SignIn(text, "", False, "", "", "Firefox")),
}


@pytest.mark.parametrize("act", WAITS)
def test_what_waits_for_its_turn_while_its_token_is_revoked_is_not_done(act: str) -> None:
    farm = Farm()
    made, held = farm.make(), list[Deferred[None]]()
    by = farm.service.bearer(made.token, NOBODY)
    farm.world.store.held = held
    first = Deferred.fromCoroutine(farm.service.make(ROOT, WISH))
    ending = Deferred.fromCoroutine(farm.service.end(KEYED, EndToken(made.id)))
    late = Deferred.fromCoroutine(WAITS[act](farm.service, by, made.token))
    while held:
        held.pop().callback(None)
    assert isinstance(first.result, TokenMade), "somebody else had their turn before"
    assert isinstance(ending.result, ActionResult)
    assert ending.result.count == 1
    failures = list[Failure]()
    late.addErrback(failures.append)
    assert failures
    assert failures[0].check(Unauthorised)
    assert [one.name for one in farm.service.book.of.values()] == [ROOT.name]


def test_a_key_that_is_revoked_ends_its_tokens_and_sessions() -> None:
    farm = Farm()
    made = farm.make()
    session = done(farm.sign_in(token=made.token))
    farm.holders[KEY] = evolve(HOLDER, state=KeyState.REVOKED)
    assert not farm.is_known(made.token)
    assert not farm.is_known(session.session)


def test_a_name_that_is_revoked_ends_what_was_signed_in_by_mail() -> None:
    farm = Farm()
    farm.ask()
    session = done(farm.sign_in(code=farm.world.code()))

    async def no_key(_by: Principal, _message: RevokeOne) -> ActionResult:
        raise NotFound("nobody has that name")

    tables: list[dict[type, Handler]] = [{RevokeOne: no_key}, {}]
    for handlers in tables:
        revoke = farm.service.among(handlers)[RevokeOne]
        if farm.is_known(session.session):
            told: ActionResult = done(revoke(ROOT, RevokeOne(BEN)))  # type: ignore[arg-type] # it is a coroutine
            assert "1 tokens and sessions of ben@example.org are ended" in told.words
        farm.refused(revoke(ROOT, RevokeOne(BEN)), NotFound)  # type: ignore[arg-type] # as above
    assert not farm.is_known(session.session)


def test_a_mailed_code_signs_in_the_browser_that_asked_and_no_other_and_once() -> None:
    farm = Farm()
    farm.ask()
    code = farm.world.code()
    assert "in which it was asked for" in farm.refused(farm.sign_in(code=code, browser="c" * 32), Unauthorised)
    assert "in which it was asked for" in farm.refused(farm.sign_in(code=code, browser=""), Unauthorised)
    told = done(farm.sign_in(code=code))
    by = farm.service.bearer(told.session, NOBODY)
    assert (by.role, by.name, by.owner, by.key) == (PrincipalRole.REQUESTER, BEN, BEN, "")
    assert "expired, or was used" in farm.refused(farm.sign_in(code=code), Unauthorised)


def test_a_mailed_code_that_signed_in_does_so_no_more_when_the_clock_is_set_back() -> None:
    farm = Farm()
    farm.ask()
    code = farm.world.code()
    farm.world.wait(60)
    done(farm.sign_in(code=code))
    farm.world.wall.now -= 30
    farm.ask()
    assert len(farm.world.mails()) == 2, "who asks is mailed another"
    assert "expired, or was used" in farm.refused(farm.sign_in(code=code), Unauthorised)


def test_who_asks_for_a_code_to_another_s_address_is_not_signed_in_when_that_one_uses_it() -> None:
    farm = Farm()
    farm.ask(browser="m" * 32)
    farm.ask(browser="b" * 32)
    assert len(farm.world.mails()) == 1, "one mail, whoever asks"
    done(farm.sign_in(code=farm.world.code()))
    farm.refused(farm.sign_in(code=farm.world.code(), browser="m" * 32), Unauthorised)


def test_a_code_is_for_half_an_hour_and_for_whom_the_farm_lets_log_in() -> None:
    farm = Farm()
    farm.ask()
    farm.world.wait(BROWSER_WAITS)
    assert "half an hour" in farm.refused(farm.sign_in(code=farm.world.code()), Unauthorised)
    asks = AskSignIn("", "", False, "eve@elsewhere.example", "b" * 32)
    assert "nobody signs in here by mail" in farm.refused(farm.service.ask_sign_in(NOBODY, asks), Unauthorised)
    farm.ask()
    farm.world.deployment.settings = evolve(farm.world.deployment.settings, logins=MailDomains())
    assert "nobody signs in here by mail" in farm.refused(farm.sign_in(code=farm.world.code()), Unauthorised)


def test_guessed_codes_count() -> None:
    from buildtool.model.access.ceilings import Ceilings, Most

    farm = Farm(World(Ceilings(codes_an_hour=Most(None, 2, 5))))
    for _ in range(2):
        farm.refused(farm.sign_in(code="aaaa-bbbb-cccc-dddd"), Unauthorised)
    farm.refused(farm.sign_in(code="aaaa-bbbb-cccc-dddd"), LimitReached)


def test_where_everybody_is_believed_nobody_signs_in_by_mail() -> None:
    farm = Farm()
    farm.service.codes = None
    farm.refused(farm.sign_in(code="aaaa-bbbb-cccc-dddd"), Unauthorised)


def test_a_time_that_is_none_is_refused() -> None:
    farm = Farm()
    farm.refused(farm.service.make(KEYED, MakeToken("x", float("nan"))), UsageError)
