"""Who is told by a configuration: each with the secret of its file, which nobody else may read."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.task import Clock

from buildtool.adapters.notices.http import HttpCall
from buildtool.configuration.settings import Settings
from buildtool.errors import EmptySecret
from buildtool.model.notices.outcome import HttpReply
from buildtool.ports.notices import OutgoingNotice
from buildtool.programs.metaserver.tell.telling import GITHUB_GAP, IRC_GAP, check_told, page_of, told_by
from buildtool.project import gitea_status, github_status, irc, webhook
from tests.metaserver.test_build_servers import settings
from tests.project.test_recipe_check import good, made
from tests.support.inline import run
from tests.support.memory import WallClock
from tests.support.notices import notice


def configured(directory: Path, *targets: object) -> Settings:
    return evolve(settings(), path=directory / "config.py", projects=(made(good, tell=targets),))


def secret(directory: Path, name: str, text: str, mode: int = 0o600) -> str:
    (directory / name).write_text(text)
    (directory / name).chmod(mode)
    return name


def test_each_target_is_told_with_its_own_secret_at_its_own_pace(tmp_path: Path) -> None:
    calls: list[HttpCall] = []

    async def call(one: HttpCall) -> HttpReply:
        calls.append(one)
        return HttpReply(201, {})

    held = configured(
        tmp_path,
        github_status("acme/lua", token_file=secret(tmp_path, "github", "ghp-1\n")),
        gitea_status("acme/lua", token_file=secret(tmp_path, "gitea", "abc"), base="https://codeberg.org"),
        webhook("https://farm.test/hook", secret_file=secret(tmp_path, "hook", "shared")),
        irc(
            "irc.test:6697", "#lua", password_file=secret(tmp_path, "irc", "pw"), key_file=secret(tmp_path, "key", "k")
        ),
    )
    check_told(held)
    told = told_by(held, call, WallClock(), Clock())
    assert [one.pace.gap for one in told] == [GITHUB_GAP, 0.0, 0.0, IRC_GAP]
    for one in told[:3]:
        tell: Any = one.tell
        assert run(tell(OutgoingNotice(notice(state="success"), 1, 0, None))).told
    assert [one.headers.get("Authorization") for one in calls] == ["Bearer ghp-1", "token abc", None]
    channel: Any = told[3].teller
    assert (channel.secrets.password, channel.secrets.key) == ("pw", "k")
    assert "pw" not in repr(channel.secrets)
    shown = page_of(held)
    assert shown(notice()) == f"{held.public_url}/build/7"
    assert shown(notice(build_id=None)) == held.public_url


def test_a_secret_that_others_can_read_or_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    open_to_all = configured(tmp_path, github_status("acme/lua", token_file=secret(tmp_path, "token", "x", 0o644)))
    with pytest.raises(EmptySecret, match=r"github_status acme/lua.*chmod 600"):
        check_told(open_to_all)
    with pytest.raises(EmptySecret, match="No such file"):
        check_told(configured(tmp_path, webhook("https://farm.test/hook", secret_file="gone")))
