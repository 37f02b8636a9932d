"""Keyboards and mice: that one was used is noticed at the next look, also of one that is plugged in later."""

import os
from pathlib import Path

from buildtool.adapters.host.presence.devices import LOOK_AGAIN, InputDevices, parse_devices

LISTED = """\
I: Bus=0019 Vendor=0000 Product=0005 Version=0000
N: Name="Lid Switch"
H: Handlers=event0

I: Bus=0011 Vendor=0001 Product=0001 Version=ab41
N: Name="AT Translated Set 2 keyboard"
H: Handlers=sysrq kbd event3 leds

I: Bus=0003 Vendor=046d Product=c52b Version=0111
N: Name="Logitech Mouse"
H: Handlers=mouse0 event5

I: Bus=0003 Vendor=045e Product=028e Version=0114
N: Name="Pad"
H: Handlers=event7 js0
"""


def machine(root: Path, listed: str = LISTED) -> Path:
    (root / "proc/bus/input").mkdir(parents=True)
    (root / "proc/bus/input/devices").write_text(listed)
    (root / "dev/input").mkdir(parents=True)
    return root


def plug_in(root: Path, name: str) -> int:
    """Return a descriptor that says what the device ``name`` says."""
    os.mkfifo(root / "dev/input" / name)
    return os.open(root / "dev/input" / name, os.O_RDWR | os.O_NONBLOCK)


def test_what_a_person_uses_are_keyboards_mice_and_gamepads_but_no_lids() -> None:
    assert parse_devices(LISTED) == ("event3", "event5", "event7")
    assert parse_devices("H: Handlers=kbd ../event1 eventx\nnothing") == ()


def test_a_key_that_is_pressed_is_noticed_at_the_next_look(tmp_path: Path) -> None:
    keyboard = plug_in(machine(tmp_path), "event3")
    devices = InputDevices(tmp_path)

    assert devices.found(100.0)
    assert devices.age(160.0) == 60.0, "an owner may have been here just before the first look"
    os.write(keyboard, b"\0" * 24)
    assert (devices.age(161.0), devices.age(163.0)) == (0.0, 2.0)
    devices.close()
    os.close(keyboard)


def test_a_mouse_that_is_plugged_in_later_counts_as_well(tmp_path: Path) -> None:
    keyboard = plug_in(machine(tmp_path), "event3")
    devices = InputDevices(tmp_path)
    assert devices.age(0.0) == 0.0
    mouse = plug_in(tmp_path, "event5")

    assert devices.age(LOOK_AGAIN) == LOOK_AGAIN
    os.write(mouse, b"\0" * 24)
    assert devices.age(LOOK_AGAIN + 1) == 0.0
    devices.close()
    for descriptor in (keyboard, mouse):
        os.close(descriptor)


def test_without_devices_that_may_be_read_nothing_is_told(tmp_path: Path) -> None:
    assert not InputDevices(tmp_path).found(0.0)
    assert InputDevices(machine(tmp_path)).age(0.0) is None
