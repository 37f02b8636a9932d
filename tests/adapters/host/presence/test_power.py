"""The power supply: a laptop on its battery, one that is plugged in, and machines without a battery."""

from pathlib import Path

import pytest

from buildtool.adapters.host.presence.power import on_battery, parse_pmset

BATTERY = {"type": "Battery", "status": "Discharging"}
CHARGING = {"type": "Battery", "status": "Charging"}
PLUG = {"type": "Mains", "online": "1"}
NO_PLUG = {"type": "Mains", "online": "0"}
MOUSE = {"type": "Battery", "status": "Discharging", "scope": "Device"}


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ([], None),
        ([PLUG], None),
        ([MOUSE, PLUG], None),
        ([BATTERY], True),
        ([BATTERY, NO_PLUG], True),
        ([BATTERY, PLUG], False),
        ([CHARGING, PLUG, NO_PLUG], False),
        ([CHARGING], False),
    ],
)
def test_a_machine_runs_from_its_battery_when_that_empties_and_nothing_is_plugged_in(
    supplies: list[dict[str, str]], expected: bool | None, tmp_path: Path
) -> None:
    for number, supply in enumerate(supplies):
        place = tmp_path / f"sys/class/power_supply/{number}"
        place.mkdir(parents=True)
        for name, value in supply.items():
            (place / name).write_text(f"{value}\n")

    assert on_battery(tmp_path) is expected


def test_a_mac_says_what_it_draws_from() -> None:
    assert parse_pmset("Now drawing from 'Battery Power'\n -InternalBattery-0 97%") is True
    assert parse_pmset("Now drawing from 'AC Power'\n") is False
    assert parse_pmset("") is None
