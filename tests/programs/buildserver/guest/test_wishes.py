"""The owner's settings: the command line goes before the file, and what is wrong is one line."""

import argparse
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.adapters.host.presence.probe import ToldBy
from buildtool.adapters.host.zones import zone_named
from buildtool.errors import BuildToolError, ConfigurationError, UsageError
from buildtool.model.guest.stance import OwnerWishes
from buildtool.programs.buildserver.guest.wishes import FILE, check_told, read_settings, settings_file
from buildtool.programs.buildserver.main import COMMAND_LINE

WHOLE = """
hours = ["Mon-Fri 20:00-07:00 Europe/Berlin", "Sat,Sun 00:00-24:00"]
network_hours = "22:00-06:00"
away = ["2026-12-24..2027-01-02"]
idle_only = true
idle_after = 5
max_load = 0.5
mains_only = true
patience = 2
allow_shutdown = "file"
nice = 10
io_idle = true
cpus = 2
disk = 20
memory = "75%"
memory_present = 2.5
upload_rate = 500
download_rate = 2000
"""


def said(*words: str) -> argparse.Namespace:
    return COMMAND_LINE.parse(words)[1]


def read(path: Path, text: str | None, *words: str) -> object:
    if text is not None:
        path.write_text(text)
    return read_settings(said(*words), path)


def test_all_settings_may_stand_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text(WHOLE)
    found = read_settings(said(), path, 16 << 30)
    wishes = found.wishes

    assert (len(wishes.hours), len(wishes.network_hours), len(wishes.away)) == (2, 1, 1)
    assert (wishes.idle_only, wishes.idle_after, wishes.max_load) == (True, 300.0, 0.5)
    assert (wishes.mains_only, wishes.patience, found.shutdown) == (True, 120.0, "file")
    assert (found.nice, found.io_idle, found.cpus, wishes.disk) == (10, True, 2, 20.0)
    assert (found.upload_rate, found.download_rate) == (512_000.0, 2_048_000.0)
    assert (found.memory, wishes.memory_present) == (12 << 30, 5 << 29)


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text(WHOLE)
    words = ("--hours", "Sun 00:00-24:00", "--patience", "0", "--max-load", "2", "--allow-shutdown", "none")
    found = read_settings(said(*words), path, 16 << 30)

    assert ([one.text for one in found.wishes.hours], found.wishes.patience) == (["Sun 00:00-24:00"], 0.0)
    assert (found.wishes.max_load, found.shutdown, found.wishes.idle_only) == (2.0, "none", True)


def test_without_a_file_nothing_is_asked_for_unless_one_was_named(tmp_path: Path) -> None:
    assert settings_file(said(), tmp_path) == tmp_path / FILE
    assert read_settings(said(), tmp_path / FILE).wishes == OwnerWishes(zone_named(""))
    with pytest.raises(ConfigurationError, match="there is no such file"):
        read_settings(said("--settings", str(tmp_path / "mine.toml")), tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hours = [", "is not TOML"),
        ("hour = '20:00-07:00'", "unknown setting 'hour': did you mean hours?"),
        ("pause = '2h'", "unknown setting 'pause': it is a command: type bin/buildserver.py pause"),
        ("max_builds = 2", "unknown setting 'max_builds': it belongs into buildserver.toml"),
        ("max_buidls = 2", "did you mean max_builds, which belongs into buildserver.toml?"),
        ("hours = 'always'", "hours = 'always' are no hours: say 20:00-07:00"),
        ("hours = ['20:00-07:00 Europe/Nowhere']", "'Europe/Nowhere' is no time zone that this machine knows"),
        ("hours = [7]", "hours = 7 is not a text"),
        ("away = 'soon'", "say two days, such as"),
        ("idle_only = 'yes'", "idle_only = 'yes' is not true or false"),
        ("idle_after = 0", "'0' is not a whole number from 1 to 1440"),
        ("patience = '10'", "patience = '10' is not a number"),
        ("patience = 1.5", "is not a whole number"),
        ("max_load = -1", "'-1' is no number of processors"),
        ("max_load = nan", "'nan' is no number of processors"),
        ("mains_only = 1", "mains_only = 1 is not true or false"),
        ("nice = 20", "'20' is not a whole number from 0 to 19"),
        ("cpus = 0", "'0' is not a whole number from 1 to 4096"),
        ("disk = '20 GiB'", "is not a number"),
        ("memory = 'all'", "memory = 'all' is no amount of memory: say GiB, such as 8, or a share"),
        ("memory = true", "memory = True is not"),
        ("memory = '75%'", "memory: 75% of what? This machine does not tell"),
        ("memory = 4\nmemory_present = 5", "memory_present is more than memory"),
        ("download_rate = 0", "'0' is not a whole number from 1"),
        ("allow_shutdown = 'all'", "'all' is none of signal, file, both, none"),
        (f"hours = {['20:00-07:00'] * 17}", "at most 16 may be said"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line_that_says_what_would_be_right(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path / FILE, text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_settings_or_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_settings(said(), tmp_path / FILE)
    except BuildToolError as error:
        words = str(error)
    else:
        words = ""
    assert "\n" not in words


def test_a_wish_that_nothing_on_the_machine_tells_about_is_refused_in_one_line() -> None:
    idle_only = OwnerWishes(zone_named(""), idle_only=True)
    check_told(idle_only, ToldBy(("logind",)))
    check_told(idle_only, ToldBy(load="the load of others"))
    with pytest.raises(UsageError, match="nothing on this machine tells whether its owner is there"):
        check_told(idle_only, ToldBy())
    with pytest.raises(UsageError, match=r"--memory-present: nothing on this machine tells .* say --memory instead"):
        check_told(OwnerWishes(zone_named(""), memory_present=1), ToldBy())
    with pytest.raises(UsageError, match="nothing on this machine tells what others use"):
        check_told(OwnerWishes(zone_named(""), idle_only=True, max_load=1.0), ToldBy(("logind",)))


def test_the_machines_own_zone_is_found_however_it_is_set(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    assert str(zone_named("", link)) == "UTC"
    link.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert str(zone_named("", link)) in ("Europe/Berlin", "UTC")
