"""What an owner reads before they accept: all of it, and nothing that hides or commands a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.guest.follow_record import FollowRecord
from buildtool.programs.buildserver.following.commands import shown
from buildtool.programs.buildserver.main import main
from tests.programs.buildserver.following.conftest import Donor, config

pytestmark = pytest.mark.world


@given(st.binary(max_size=60))
def test_a_line_is_shown_without_anything_that_hides_or_commands(data: bytes) -> None:
    found = shown(data)
    assert found.replace("\t", "").isprintable()


def test_what_hides_is_shown_as_an_escape_and_words_as_they_are() -> None:
    assert shown("+\tgrüße = 1 # 日本".encode()) == "+\tgrüße = 1 # 日本"
    assert shown("+a\u202eb\x1b[31m\r\u200b\u2028".encode()) == "+a\\u202eb\\x1b[31m\\r\\u200b\\u2028"
    assert shown(b"+\xff") == "+\\xff"


def test_an_owner_reads_and_accepts_while_no_build_server_runs(
    donor: Donor, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--name", "attic", "--config", str(donor.own), *donor.options]
    first = donor.origin.push(donor.owner, config__py=config(5))
    following = donor.following(apply_config="ask")
    repository = following.choice.repository(donor.place)
    repository.fetch()
    assert main(["config-diff", *words]) == 0
    out = capsys.readouterr().out
    assert "state     no commit of it is used yet" in out
    assert "fetched   never yet: a build server that runs fetches, this command does not" in out
    seen = FollowRecord(following.choice.source, tip=first, seen_at=1_000_000_000.0, words=f"{first[:12]} waits")
    following.memory.save(seen)

    assert main(["config-diff", *words]) == 0
    out = capsys.readouterr().out
    assert "fetched   2001-09-09 01:46 UTC, by the build server: this command fetches nothing" in out
    assert f"commit    {first}\nauthor    A <a@example.org>\n" in out
    assert "signature trusted: owner (SHA256:" in out
    assert '+    name="one",' in out
    assert main(["config-diff", "--json", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["commit"], told["from"]) == (first, "")
    assert '+    name="one",' in told["diff"]

    assert main(["accept-config", first[:6], *words]) == 2
    assert "is not what waits" in capsys.readouterr().err
    assert main(["accept-config", first[:12], *words]) == 0
    assert "is accepted, and taken over once the build server runs" in capsys.readouterr().out
    assert following.record().accepted == first


def test_without_a_repository_both_say_what_to_say(donor: Donor, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["config-diff"], ["accept-config", "1234567"]):
        assert main([*command, "--name", "attic", "--config", str(donor.own)]) == 2
        assert "no repository is followed: say --follow-config and --signed-by" in capsys.readouterr().err


def test_show_info_says_what_holds_and_what_a_start_would_refuse(
    donor: Donor, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--name", "attic", "--config", str(donor.own), "--no-cross", "--sandbox", "none", *donor.options]
    assert main(["show-info", *words]) == 0
    assert f"follows         {donor.origin.url}#main: no commit of it is used yet" in capsys.readouterr().out
    donor.public.write_text("nothing")
    assert main(["show-info", *words]) == 2
    assert "line 1: it is no key" in capsys.readouterr().err
