"""The owner's files: samples that change nothing until they are edited, and mistakes told in one line."""

import argparse
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import ConfigurationError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, Speech
from buildtool.programs.buildserver.guest.placing import COMMANDS, GUEST_FILE
from buildtool.programs.buildserver.guest.wishes import GUEST_NAMES, read_settings
from buildtool.programs.buildserver.main import COMMAND_LINE
from buildtool.programs.buildserver.options import DEFAULTS, completed
from buildtool.programs.buildserver.owner_file import (
    FILE,
    MachineInfo,
    guest_sample,
    load_info,
    load_owner_file,
    parse_owner_file,
    sample,
    write_samples,
)

ADDRESSES = (("farm.example.org", 23432), ("2001:db8::1", 443))


def said(*words: str) -> argparse.Namespace:
    return COMMAND_LINE.parse(words)[1]


def wrong(directory: Path, text: str) -> str:
    (directory / FILE).write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_owner_file(directory)
    line = str(caught.value)
    assert line.startswith(f"{directory / FILE}: ")
    assert "\n" not in line
    return line


def test_a_sample_says_name_and_addresses_and_leaves_every_option_at_its_default(tmp_path: Path) -> None:
    write_samples(tmp_path, "attic", ADDRESSES)
    found = load_owner_file(tmp_path)
    assert found.options == {"name": "attic"}
    assert found.addresses == tuple(MetaserverAddress(host, port) for host, port in ADDRESSES)
    expected = {**vars(completed(said(), {})), "name": "attic"}
    assert vars(completed(said(), found.options)) == expected
    assert load_info(tmp_path) == MachineInfo()


def test_every_option_is_in_the_sample_and_can_be_set_by_taking_out_its_comment_sign() -> None:
    lines = sample("attic", ADDRESSES).splitlines()
    shown = [line.removeprefix("# ") for line in lines if line.startswith("# ") and " = " in line]
    found = tomllib.loads("\n".join(shown))
    assert {*found, "name"} == set(DEFAULTS)
    read = parse_owner_file(found, Path("/builds") / FILE).options
    for name, default in DEFAULTS.items():
        if default not in (None, ()) and name != "name":
            assert read[name] == default
    assert (read["platforms"], read["toolchains"]) == ("native,ppc", Path("/builds/toolchains.toml"))
    assert read["secret_files"] == (Path("/builds/secrets/token"),)


def test_what_the_owner_edited_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / FILE).write_text("max_builds = 3\n")
    (tmp_path / "info" / "admin").symlink_to("nowhere")
    written = write_samples(tmp_path, "attic", ADDRESSES)
    assert sorted(path.name for path in written) == ["access_uri", "guest.toml", "host"]
    assert (tmp_path / FILE).read_text() == "max_builds = 3\n"
    assert write_samples(tmp_path, "attic", ADDRESSES) == ()
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "access_uri",
        "admin",
        FILE,
        GUEST_FILE,
        "host",
        "info",
    ]


def test_the_command_line_goes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('max_builds = 3\nadmin = "Ann"\ncross = false\nmaxdelay = 9\n')
    owners = load_owner_file(tmp_path).options
    found = completed(said("--max-builds", "5"), owners)
    assert (found.max_builds, found.admin, found.cross, found.maxdelay) == (5, "Ann", False, 9)
    assert (found.keepalive, found.time_limit) == (DEFAULTS["keepalive"], None)
    assert completed(said("--no-cross"), {"cross": True}).cross is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_build = 3", "unknown setting 'max_build': did you mean max_builds?"),
        ("pause = '2h'", "unknown setting 'pause': it is a command: type bin/buildserver.py pause"),
        ("network-hours = '1'", "unknown setting 'network-hours': it belongs into guest.toml"),
        ("idle_onyl = true", "unknown setting 'idle_onyl': did you mean idle_only, which belongs into guest.toml?"),
        ("host = 'farm'", "unknown setting 'host': say addresses in buildserver.toml, or --host"),
        ("no_cross = true", "unknown setting 'no_cross': say cross = false in buildserver.toml"),
        ("join = 'x'", "unknown setting 'join': it is said on the command line alone, as --join"),
        ("max_builds = '3'", "max_builds = '3' is not a whole number"),
        ("max_builds = true", "max_builds = True is not a whole number"),
        ("max_builds = 65", "max_builds = '65' is not a whole number from 1 to 64"),
        ("cross = 1", "cross = 1 is not true or false"),
        ("name = 7", "name = 7 is not a text"),
        ("addresses = 'farm:1'", "is not a list of at most 8 texts such as 'farm.example.org:23432'"),
        ("addresses = ['farm']", "addresses = 'farm' is no host with its port"),
        ("addresses = ['::1:1']", "is no host with its port"),
        ("addresses = ['tls:farm']", "has no port"),
        ("max_builds 3", "is not TOML"),
        (f"max_builds = {'9' * 5_000}", "is not TOML"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in wrong(tmp_path, text)


def test_each_command_is_known_where_it_stands_for_a_setting() -> None:
    assert tuple(one.name for one in COMMAND_LINE.commands) == COMMANDS


def test_each_option_of_a_start_is_a_setting_or_said_to_be_none(tmp_path: Path) -> None:
    for flag in next(one for one in COMMAND_LINE.commands if one.name == "serve").options:
        name = flag[2:].replace("-", "_")
        if name not in DEFAULTS:
            assert "did you mean" not in wrong(tmp_path, f"{name} = 1")
            assert "; there are" not in wrong(tmp_path, f"{name} = 1")


def test_endpoint_strings_are_taken_beside_hosts_with_ports(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('addresses = ["TLS:farm:443", "farm:23432"]\n')
    assert load_owner_file(tmp_path).addresses == (
        MetaserverAddress("farm", 443, Speech.TLS),
        MetaserverAddress("farm", 23432),
    )


VALUES = st.one_of(st.text(), st.integers(), st.booleans(), st.floats(), st.lists(st.text(max_size=5), max_size=9))


@given(st.dictionaries(st.sampled_from([*DEFAULTS, "addresses", "x"]), VALUES))
def test_any_values_are_settings_or_a_configuration_error(found: dict[str, object]) -> None:
    try:
        parse_owner_file(found, Path("/builds") / FILE)
    except ConfigurationError as error:
        assert str(error).startswith(f"/builds/{FILE}: ")  # noqa: PT017 - both outcomes are right


def test_the_words_about_the_machine_are_one_line_each_without_comments(tmp_path: Path) -> None:
    write_samples(tmp_path, "attic", ADDRESSES)
    (tmp_path / "info" / "admin").write_text("# whom to ask\nAnn <ann@example.org>\n")
    (tmp_path / "info" / "host").write_text("the old\nworkstation\x1b[2J\n")
    (tmp_path / "info" / "access_uri").write_text("ssh://attic\n")
    found = load_info(tmp_path)
    assert found.admin == "Ann <ann@example.org>"
    assert "\x1b" not in found.host
    assert found.host.startswith("the old workstation")
    assert found.access_uri == "ssh://attic"


def test_the_sample_of_the_owners_wishes_sets_nothing_and_names_each_with_a_value_that_is_taken(tmp_path: Path) -> None:
    text, file = guest_sample(), tmp_path / GUEST_FILE
    assert tomllib.loads(text) == {}
    shown = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# \w+ = ", line)]
    assert [line.partition(" = ")[0] for line in shown] == list(GUEST_NAMES)
    file.write_text("\n".join(shown))
    assert read_settings(argparse.Namespace(), file, 64 << 30).wishes.disk == 20
