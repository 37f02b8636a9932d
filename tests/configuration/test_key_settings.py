"""Settings of keys and certificates: durations and addresses in one form, or one line that says what is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.text import duration_of, duration_text

DAY = 86_400.0


def loaded(directory: Path, text: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name in ("PUBLIC_ADDRESS", "CERTIFICATE_LIFE", "REJOIN_WITHIN", "BACKUP_WITHIN", "TRUSTED"):
        monkeypatch.delenv(f"BUILDTOOL_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = directory / "config.py"
    path.write_text(text)
    return load_settings(path)


@given(st.integers(1, 9_999_999), st.sampled_from("smhd"))
def test_a_duration_is_written_as_it_is_read(number: int, unit: str) -> None:
    seconds = duration_of(f"{number}{unit}")
    assert duration_of(duration_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "d", "1", "1.5d", "-1d", "1w", "12345678s", "\uff11d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="say 30m, 24h or 7d"):
        duration_of(text)


def test_certificates_live_a_month_and_a_machine_may_be_away_for_a_year(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = loaded(tmp_path, "", monkeypatch)
    assert (found.certificate_life, found.rejoin_within) == (30 * DAY, 400 * DAY)
    assert found.invited_to == (("127.0.0.1", 23432),)
    said = loaded(tmp_path, "certificate_life = '12h'\nrejoin_within = '2d'", monkeypatch)
    assert (said.certificate_life, said.rejoin_within) == (0.5 * DAY, 2 * DAY)
    over = loaded(tmp_path, "certificate_life = '12h'", monkeypatch, BUILDTOOL_CERTIFICATE_LIFE="20s")
    assert over.certificate_life == 20.0


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("'farm.example.org:443'", (("farm.example.org", 443),)),
        ("['Farm.example.org:443', '[2001:DB8::1]:23432']", (("farm.example.org", 443), ("2001:db8::1", 23432))),
        ("'a:1, b:2'", (("a", 1), ("b", 2))),
    ],
)
def test_public_addresses_stand_in_invitations_in_the_certificate_and_in_the_transfer_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, found: tuple[tuple[str, int], ...]
) -> None:
    settings = loaded(tmp_path, f"public_address = {said}", monkeypatch)
    assert settings.public_address == settings.invited_to == found
    assert {host for host, _ in found} <= set(settings.hosts)
    host = f"[{found[0][0]}]" if ":" in found[0][0] else found[0][0]
    assert settings.transfer_url == f"https://{host}:{found[0][1]}"
    over = loaded(tmp_path, f"public_address = {said}", monkeypatch, BUILDTOOL_PUBLIC_ADDRESS="x:1,y:2")
    assert over.invited_to == (("x", 1), ("y", 2))


@pytest.mark.parametrize(
    "line",
    [
        "certificate_life = 30", "certificate_life = '9s'", "certificate_life = '401d'", "certificate_life = True",
        "rejoin_within = 'long'", "rejoin_within = None", "public_address = 'farm'", "public_address = 'farm:0'",
        "public_address = 7", "public_address = [7]", "public_address = ['a:1'] * 9", "public_address = 'https://a:1'",
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_that_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    with pytest.raises(ConfigurationError, match=line.partition(" ")[0]) as caught:
        loaded(tmp_path, line, monkeypatch)
    assert "\n" not in str(caught.value)


def test_how_old_the_last_backup_may_be_is_a_time_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(tmp_path, "", monkeypatch).backup_within == 0.0
    assert loaded(tmp_path, "backup_within = '26h'", monkeypatch).backup_within == 26 * 3_600.0
    over = loaded(tmp_path, "backup_within = '26h'", monkeypatch, BUILDTOOL_BACKUP_WITHIN="2d")
    assert over.backup_within == 2 * DAY
    for wrong in ("0", "True", "'9s'", "'401d'", "'soon'", "None"):
        with pytest.raises(ConfigurationError, match=r"backup_within = .* is not usable"):
            loaded(tmp_path, f"backup_within = {wrong}", monkeypatch)
