"""What is given by the environment and by the settings file, as one rule, and every refusal in one line."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.given.gathering import gather
from buildtool.configuration.given.names import PROGRAMS, SECRETS, SETTINGS, SHARED, variable
from buildtool.configuration.given.values import Given, SettingsText
from buildtool.errors import BuildToolError, ConfigurationError, EmptySecret
from buildtool.programs.common.subcommands import Several, number, switch, valued

PATH = Path("/etc/buildtool/settings.toml")
OPTIONS = {
    "--max-builds": valued("builds", "N", number(1, 64)),
    "--web": switch("pages"),
    "--no-cross": switch("none", "cross"),
    "--hours": valued("hours", "HOURS", lambda text: (text,), action=Several),
    "--platforms": valued("platforms"),
    "--log-file": valued("log", "FILE", Path),
    "--mail": valued("whom"),
    "--yes": switch("really"),
    "--join": valued("line"),
}


def found(text: str = "", environment: Mapping[str, str] | None = None, *, open_to_all: bool = False) -> Given:
    return gather("buildserver", OPTIONS, environment or {}, SettingsText(PATH, text, open_to_all))


def values(some: Given) -> dict[str, object]:
    return {name: one.value for name, one in {**some.options, **some.settings}.items()}


def wrong(act: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        act()
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_no_two_names_have_one_variable() -> None:
    """Else one variable would say two things."""
    names = ["host", "port", "web_port", "mail", "max_builds", "bind", "url", *SETTINGS, *SHARED]
    all_ = [variable(name, program) for program in ("", *PROGRAMS) for name in dict.fromkeys(names)]
    assert len(set(all_)) == len(all_)


def test_each_kind_of_value_is_read_as_its_option_reads_it() -> None:
    text = """
        web_port = 81
        [mail]
        host = "mail"
        verify = false
        [buildserver]
        max_builds = 3
        web = true
        no_cross = true
        hours = ["a", "b"]
        platforms = ["native", "ppc"]
        log_file = "log"
        tls_names = ["a"]
    """
    expected = {
        "web_port": 81, "mail.host": "mail", "mail.verify": False, "max_builds": 3, "web": True, "cross": False,
        "hours": ("a", "b"), "platforms": "native,ppc", "log_file": PATH.parent / "log", "tls_names": ["a"],
    }  # fmt: skip
    assert values(found(text)) == expected
    environment = {
        "WEB_PORT": "81", "MAIL_HOST": "mail", "BUILDSERVER_MAIL_VERIFY": "no", "BUILDSERVER_MAX_BUILDS": "3",
        "BUILDSERVER_WEB": "1", "BUILDSERVER_NO_CROSS": "true", "BUILDSERVER_HOURS": "a; b",
        "BUILDSERVER_PLATFORMS": "native,ppc", "BUILDSERVER_LOG_FILE": f"{PATH.parent}/log", "TLS_NAMES": "a",
    }  # fmt: skip
    assert values(found("", {f"BUILDTOOL_{name}": said for name, said in environment.items()})) == expected


@given(st.sets(st.sampled_from(["file top", "file own", "env top", "env own"])))
def test_the_environment_goes_before_the_file_and_what_is_for_one_program_before_what_is_for_all(by: set[str]) -> None:
    text = ("lease = 2\n" if "file top" in by else "") + ("[buildserver]\nlease = 3\n" if "file own" in by else "")
    environment = {"BUILDTOOL_LEASE": "4"} if "env top" in by else {}
    environment |= {"BUILDTOOL_BUILDSERVER_LEASE": "5"} if "env own" in by else {}
    last = [number for one, number in (("file top", 2), ("file own", 3), ("env top", 4), ("env own", 5)) if one in by]
    assert values(found(text, environment)).get("lease") == (last[-1] if last else None)


def test_what_kubernetes_says_of_its_services_is_no_setting_and_no_mistake() -> None:
    service = "BUILDTOOL_BUILDSERVER"
    made = {
        f"{service}_SERVICE_HOST": "10.0.0.1", f"{service}_SERVICE_PORT": "80", f"{service}_SERVICE_PORT_WEB": "80",
        f"{service}_PORT": "tcp://10.0.0.1:80", f"{service}_PORT_80_TCP": "tcp://10.0.0.1:80",
        f"{service}_PORT_80_TCP_PROTO": "tcp", f"{service}_PORT_80_TCP_PORT": "80",
        f"{service}_PORT_80_TCP_ADDR": "10.0.0.1", "BUILDTOOL_WEB_PORT": "tcp://10.0.0.1:80",
        f"{service}_WEB_PORT": "udp://10.0.0.1:80",
    }  # fmt: skip
    assert values(found("", made)) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[buildserver]\nmax_bulids = 2", "unknown name 'max_bulids' in [buildserver]: did you mean max_builds?"),
        ("max_builds = 2", "max_builds is for one program alone: it belongs into [buildserver]"),
        ("web_prot = 2", "unknown name 'web_prot': did you mean web_port?"),
        ("[requester]\nnice = 2", "there is no table [requester]: it is called [startcompile]"),
        ("buildserver = 1", "buildserver is a table: write [buildserver]"),
        ("mail = 'x'", "mail is a table: write [mail]"),
        ("[mail]\nhots = 'x'", "unknown name 'hots' of mail: did you mean host?"),
        ("[buildserver]\nmax_builds = '2'", "max_builds = '2' is not usable: it is a whole number, without quotes"),
        ("[buildserver]\nmax_builds = true", "max_builds = True is not usable: it is a whole number"),
        ("[buildserver]\nmax_builds = 99", "max_builds: '99' is not a whole number from 1 to 64"),
        ("[buildserver]\nweb = 1", "web = 1 is not usable: it is true or false"),
        ("[buildserver]\nlog_file = 1", "log_file = 1 is not usable: it is a text, as behind --log-file"),
        ("[buildserver]\nlog_file = ['a']", "log_file = ['a'] is not usable: it is a text"),
        ("[buildserver]\nhours = [1]", "is not usable: it is a text, as behind --hours"),
        ("[buildserver]\nyes = true", "[buildserver] yes is not given for good: say --yes on the command line"),
        ("[buildserver]\njoin = ['hunter2']", "join = what it is is not usable: it is a text"),
        ("title = ", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line_that_says_what_would_be_right(text: str, said: str) -> None:
    line = wrong(lambda: found(text))
    assert line.startswith(str(PATH))
    assert said in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BUILDSERVER_MAX_BULIDS", "2", "sets nothing: did you mean $BUILDTOOL_BUILDSERVER_MAX_BUILDS?"),
        ("BUILDSERVER_MAX_BUILDS", "many", ": 'many' is not a whole number from 1 to 64"),
        ("BUILDSERVER_WEB", "perhaps", " = 'perhaps' is not usable: it is true or false"),
        ("BUILDSERVER_YES", "1", "is not given for good"),
        ("LIMITS", "{", " = '{' is not usable: it is TOML"),
        ("LIMITS", "1\nx = 2", "is not usable: it is one value"),
        ("TLS_NAMES", "[1", "is not usable: it is TOML"),
    ],
)
def test_what_is_wrong_in_the_environment_is_one_line_that_names_the_variable(name: str, value: str, said: str) -> None:
    line = wrong(lambda: found("", {f"BUILDTOOL_{name}": value}))
    assert line.startswith(f"$BUILDTOOL_{name}")
    assert said in line


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_is_refused_by_name_where_all_may_read_it_or_where_it_is_empty_and_never_shown(name: str) -> None:
    table, _, last = name.rpartition(".")
    text = f"{f'[{table}]' if table else ''}\n{last} = 'hunter2'"
    with pytest.raises(EmptySecret, match=f"{name} is a secret, and everybody on this machine may read it: chmod 640"):
        found(text, open_to_all=True)
    with pytest.raises(EmptySecret, match=f"{name}: the secret is empty"):
        found(text.replace("hunter2", " "))
    given = found(text)
    assert "hunter2" in values(given).values() or name == "token"
    assert "hunter2" not in repr(given)
    assert all(one.shown == "(a secret)" for one in {**given.options, **given.settings}.values())
    assert values(found("title = 'x'", open_to_all=True)) == {"title": "x"}


def test_a_secret_of_another_program_is_one_too() -> None:
    with pytest.raises(EmptySecret, match=r"\[startcompile\] token is a secret"):
        found("[startcompile]\ntoken = 'x'", open_to_all=True)


@pytest.mark.parametrize("name", ["MAIL_PASSWORD", "TOKEN", "BUILDSERVER_MAIL_PASSWORD"])
def test_a_secret_that_is_empty_in_the_environment_is_refused_by_name(name: str) -> None:
    with pytest.raises(EmptySecret, match=rf"\$BUILDTOOL_{name}: the secret is empty"):
        found("", {f"BUILDTOOL_{name}": " "})
    assert values(found("", {"BUILDTOOL_JOIN": "", "BUILDTOOL_TITLE": ""})) == {}  # as an emptied line of a unit's file


def test_one_way_to_give_a_password_makes_the_others_count_for_nothing() -> None:
    text = "[mail]\npassword_file = 'x'"
    assert values(found(text, {"BUILDTOOL_MAIL_PASSWORD": "y"})) == {"mail.password": "y"}


@given(st.text(max_size=60), st.dictionaries(st.sampled_from([variable(one) for one in SETTINGS]), st.text(max_size=9)))
def test_any_text_and_environment_are_values_or_one_error_of_ours(text: str, environment: dict[str, str]) -> None:
    try:
        assert isinstance(found(text, environment), Given)
    except BuildToolError as error:
        assert isinstance(error, ConfigurationError)  # noqa: PT017 - of all errors of ours only this


def test_what_the_command_line_says_goes_before_all_that_is_given() -> None:
    said: Any = argparse.Namespace(
        web=False, max_builds=None, _unsaid=frozenset({"web"}), _spoken=frozenset({"max_builds"})
    )
    found("[buildserver]\nweb = true\nmax_builds = 3").complete(said)
    assert (said.web, said.max_builds) == (True, None)
