"""The links in mails: what each is about is told to who has it, ended, begun again, and kept across restarts."""

import pytest
from attrs import evolve

from buildtool.errors import Unauthorised
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.metaserver import OutgoingMail
from buildtool.protocol.codec import text_of
from buildtool.protocol.pages.subscriptions import TOPICS, AskSubscription, EndSubscription
from tests.support.inline import run
from tests.support.memory import WallClock
from tests.support.outbox import WALL, outgoing, request
from tests.support.telling import MemorySubscriptions

SOMEBODY = Principal(PrincipalRole.VISITOR)


def opened(store: MemorySubscriptions) -> Subscriptions:
    made = Subscriptions(store, WallClock(WALL + 100), b"secret")
    run(made.start())
    return made


def of_trigger(name: str) -> OutgoingMail:
    made = outgoing()
    return evolve(made, requests=(evolve(request(), share=f"trigger:lua/{name}"),))


def test_mails_like_one_end_by_its_link_until_they_are_wanted_again() -> None:
    store = MemorySubscriptions()
    service = opened(store)
    push, nightly = of_trigger("push"), of_trigger("nightly")
    token = service.token(push)
    shown = run(service.told(SOMEBODY, AskSubscription(token)))
    assert (shown.email, shown.about, shown.ended) == (
        "alice@example.org", ("what lua builds by itself (push)",), False,
    )  # fmt: skip
    assert not service.withholds(push), "a look at the link ends nothing"

    for _ in range(2):
        assert run(service.change(SOMEBODY, EndSubscription(token))).ended
        assert (service.withholds(push), service.withholds(nightly)) == (True, False)
    again = opened(store)
    assert again.withholds(push), "a restart forgets nothing"
    assert run(again.told(SOMEBODY, AskSubscription(token))).ended

    for _ in range(2):
        assert not run(again.change(SOMEBODY, EndSubscription(token, again=True))).ended
    assert not again.withholds(push)
    assert not opened(store).withholds(push)


def test_the_link_of_several_put_together_ends_all_of_them() -> None:
    service = opened(MemorySubscriptions())
    push, nightly = of_trigger("push"), of_trigger("nightly")
    digest = evolve(push, members=(push, nightly))
    assert len(run(service.change(SOMEBODY, EndSubscription(service.token(digest)))).about) == 2
    assert service.withholds(push)
    assert service.withholds(nightly)


def test_codes_end_and_come_again_and_a_made_up_link_does_nothing() -> None:
    service = opened(MemorySubscriptions())
    code = outgoing()
    code = evolve(code, mail=evolve(code.mail, purpose="login"), requests=())
    assert service.wants_codes("alice@example.org")
    run(service.change(SOMEBODY, EndSubscription(service.token(code))))
    assert not service.wants_codes("alice@example.org")
    assert service.wants_codes("bob@example.org")
    with pytest.raises(Unauthorised, match="no link of a mail"):
        run(service.told(SOMEBODY, AskSubscription("a.b")))
    for message in (EndSubscription("a.b"), EndSubscription("", again=True)):
        with pytest.raises(Unauthorised, match="no link of a mail"):
            run(service.change(SOMEBODY, message))


def test_a_link_about_more_than_an_answer_lists_says_how_many_more_there_are() -> None:
    service = opened(MemorySubscriptions())
    mail = outgoing()
    about = tuple(evolve(mail, mail=evolve(mail.mail, server=f"b{number:02}"), requests=()) for number in range(28))
    token = service.token(evolve(mail, members=about))
    asked = run(service.told(SOMEBODY, AskSubscription(token)))
    for shown in (asked, run(service.change(SOMEBODY, EndSubscription(token)))):
        assert len(text_of(shown)) > 0, "it can be sent"
        assert (len(shown.about), shown.about[-1]) == (TOPICS, "9 others")
    assert service.withholds(about[-1]), "all of them are ended"
