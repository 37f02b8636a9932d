"""What integrators write for who is told, and one line for each way in which it is wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from buildtool.errors import ConfigurationError
from buildtool.model.notices.notice import NoticeState
from buildtool.model.notices.targets import ForgeTarget, IrcLogin, Target
from buildtool.project import Project, gitea_status, github_checks, github_status, gitlab_status, irc, webhook
from buildtool.project.telling import TARGETS, checked_targets
from tests.project.test_recipe_check import good, made

TOKEN = "github.token"
NEITHER: Any = None
MISSPELT: Any = {"contxt": "farm"}


def told(*targets: object) -> Project:
    return made(good, tell=targets)


def test_each_forge_has_a_name_of_its_own_and_is_told_of_the_states_that_it_has() -> None:
    project = told(
        github_status("acme/lua", token_file=TOKEN),
        github_checks("acme/lua", token_file=TOKEN),
        gitlab_status("acme/more/lua", token_file=TOKEN, everything=True, source="x"),
        gitea_status("acme/lua", token_file=TOKEN, base="https://codeberg.org/", context="farm"),
    )
    status, checks, gitlab, gitea = project.scheduling().tell
    assert status.target.endswith("/github_status acme/lua")
    assert NoticeState.BUILDING not in status.states
    assert NoticeState.BUILDING in checks.states & gitlab.states
    assert (gitlab.everything, gitlab.source, gitea.prefix) == (True, "x", "farm")
    assert isinstance(project.tell[-1], ForgeTarget)
    assert project.tell[-1].base == "https://codeberg.org"
    assert told(github_status("acme/lua", token_file=TOKEN)).tell == project.tell[:1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: github_status("lua", token_file=TOKEN), "'lua' is no repository, which is written as owner/name"),
        (lambda: github_status("a/../b", token_file=TOKEN), "is no repository"),
        (lambda: github_status("a/b", token_file=""), "token_file = '' is not the name of a file"),
        (lambda: github_status("a/b", token_file=TOKEN, context="a\nb"), "context ="),
        (
            lambda: github_status("a/b", token_file=TOKEN, everything=NEITHER),
            "everything = None is neither True nor False",
        ),
        (lambda: gitea_status("a/b", token_file=TOKEN, base="codeberg.org"), "is no URL such as https://"),
        (lambda: gitea_status("a/b", token_file=TOKEN, base="https://a:b@c"), "is no URL such as https://"),
        (lambda: gitea_status("a/b", token_file=TOKEN, base="https://[::1"), "is no URL such as https://"),
        (lambda: gitea_status("a/b", token_file=TOKEN, base="http://git.test"), "in the clear: say https://"),
        (lambda: gitea_status("a/b", token_file=TOKEN, base="https://git.test?a=b"), "is no URL such as https://"),
        (lambda: gitea_status("a/b", token_file=TOKEN, base="https://:b@c"), "is no URL such as https://"),
        (lambda: gitea_status("a/b", token_file=TOKEN, base="https://a..c"), "is no URL such as https://"),
        (lambda: webhook("HTTPS://farm.test/hook", secret_file=TOKEN), "is no URL such as https://"),
        (lambda: irc("libera..chat:6697", "#lua"), "is no server such as irc.libera.chat:6697"),
        (lambda: irc("libera.chat:00000166697", "#lua"), "is no server such as irc.libera.chat:6697"),
        (
            lambda: github_checks("a/b", token_file=TOKEN, **MISSPELT),
            "github_checks has no contxt =: did you mean context?",
        ),
        (lambda: irc("-:6697", "#lua"), "is no server such as irc.libera.chat:6697"),
        (lambda: irc("libera.chat", "#lua"), "is no server such as irc.libera.chat:6697"),
        (lambda: irc("libera.chat:99999", "#lua"), "is no server such as irc.libera.chat:6697"),
        (lambda: irc("libera.chat:6697", "lua"), "'lua' is no channel, such as #lua"),
        (lambda: irc("libera.chat:6697", "#a,#b"), "is no channel"),
        (lambda: irc("libera.chat:6697", "#lua", nick="a b"), "is no nick"),
        (lambda: irc("libera.chat:6697", "#lua", login="sasl"), "goes with a password_file"),
        (lambda: irc("libera.chat:6697", "#lua", password_file=TOKEN, login="x"), "and is sasl, nickserv, server"),
        (lambda: irc("libera.chat:6667", "#lua", tls=False), "in the clear: leave out tls = False"),
        (lambda: irc("libera.chat:6697", "#lua", every=NEITHER), "tls and every are True or False"),
        (lambda: webhook("http://farm.test/hook", secret_file=TOKEN), "in the clear: say https://"),
        (lambda: webhook("https://farm.test/hook#x", secret_file=TOKEN), "is no URL such as https://"),
        (lambda: webhook("https://farm.test/hook", secret_file=""), "secret_file = '' is not the name of a file"),
        (lambda: webhook("https://farm.test/hook", secret_file=TOKEN, context=""), "webhook: context ="),
    ],
)
def test_what_is_wrong_is_said_in_a_line(make: Callable[[], Target], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_webhook_is_told_of_every_state_and_what_follows_its_path_is_in_no_name() -> None:
    (rule,) = told(webhook("https://farm.test/hook?key=secret", secret_file=TOKEN)).scheduling().tell
    assert rule.states == frozenset(NoticeState)
    assert rule.target.endswith("/webhook https://farm.test/hook")


def test_a_channel_is_told_of_refs_and_of_ends_alone() -> None:
    one, each = (irc("libera.chat:6697", f"#lua{every}", password_file=TOKEN, every=every) for every in (False, True))
    assert (one.login, irc("libera.chat:6697", "#lua").login) == (IrcLogin.SASL, IrcLogin.NONE)
    assert irc("localhost:6667", "#lua", tls=False, nick="a", login="nickserv", password_file=TOKEN).port == 6667
    first, second = told(one, each).scheduling().tell
    assert first.by_ref
    assert first.states == {NoticeState.SUCCESS, NoticeState.FAILURE}
    assert second.states == first.states | {NoticeState.ERROR}


def test_a_forge_on_this_machine_may_be_asked_in_the_clear() -> None:
    for base in ("http://127.0.0.1:3000", "http://localhost", "http://[::1]:8080"):
        assert gitea_status("a/b", token_file=TOKEN, base=base).base == base


def test_a_project_tells_a_bounded_number_of_targets_each_once() -> None:
    one = github_status("a/b", token_file=TOKEN)
    assert checked_targets(one) == (one,)
    with pytest.raises(ConfigurationError, match="github_status a/b twice"):
        checked_targets([one, one])
    with pytest.raises(ConfigurationError, match=r"is not a list of github_status"):
        checked_targets(["a/b"])
    with pytest.raises(ConfigurationError, match=r"is not a list of github_status"):
        checked_targets(5)
    with pytest.raises(ConfigurationError, match=f"more than {TARGETS}"):
        checked_targets(github_status(f"a/b{number}", token_file=TOKEN) for number in range(TARGETS + 1))
