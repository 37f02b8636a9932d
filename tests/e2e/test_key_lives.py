"""Real programs whose keys and certificates come to an age: renewed, moved to another authority, revoked, restored."""

import json
import time

import pytest

from buildtool.demo.local_farm import Program
from tests.e2e.control import Control
from tests.e2e.test_identities import joined, program
from tests.e2e.test_operator import operate


def waits_for_a_build(keyed: Control) -> Program:
    """Return a requester of ben's that waits for a build, and says how it ended as JSON."""
    words = ("ben@example.org", "--foreground", "--no-download", "--json")
    return keyed.farm.start("asked", [str(keyed.farm.root / "bin" / "startcompile.py"), *words])


@pytest.fixture
def keyed(control: Control) -> Control:
    """A farm that believes nobody without a key; it is not started yet."""
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(control.directory / "home")}
    return control


def person(farm: Control, name: str) -> None:
    """Have a person join who asks from this account."""
    line = operate(farm, "invite", name, "--role", "requester", "--owner", f"{name}@example.org")
    told = program(farm, "startcompile.py", "join", line)
    assert told.returncode == 0, told.stderr


def listed(farm: Control) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in json.loads(operate(farm, "list", "--json"))["found"]}


def said(one: Program, words: str) -> int:
    return sum(words in line for line in one.lines)


def settled(one: Program, words: str, count: int = 1, seconds: float = 60.0) -> None:
    """Wait until a program has said something so many times."""
    until = time.monotonic() + seconds
    while said(one, words) < count:
        assert time.monotonic() < until, one.lines[-8:]
        time.sleep(0.2)


@pytest.mark.parametrize(("life", "lives"), [(10, 2), pytest.param(20, 3, marks=pytest.mark.long)])
def test_a_build_that_takes_longer_than_the_lives_of_all_certificates_is_delivered(
    keyed: Control, life: int, lives: int
) -> None:
    keyed.farm.extra["BUILDTOOL_CERTIFICATE_LIFE"] = f"{life}s"
    metaserver = keyed.farm.start_metaserver()
    keyed.close_gate("anna")
    anna = joined(keyed, "anna")
    person(keyed, "ben")
    asked = waits_for_a_build(keyed)
    anna.wait_for(r"build \d+\.1 of greeter begins")
    for one, words in ((anna, "has its next certificate"), (metaserver, "the metaserver has a new certificate")):
        settled(one, words, said(one, words) + lives, 2.0 * life * lives + 60.0)
    keyed.open_gate("anna")
    assert asked.ended() == 0, asked.lines
    assert json.loads(asked.lines[-1])["build_state"] == "succeeded"
    assert said(anna, "registered at") == 1, "no connection was dropped"


@pytest.mark.long
def test_a_farm_moves_to_another_authority_and_who_was_away_meanwhile_comes_back(keyed: Control) -> None:
    keyed.farm.extra["BUILDTOOL_CERTIFICATE_LIFE"] = "10s"
    metaserver = keyed.farm.start_metaserver()
    anna = joined(keyed, "anna")
    line = operate(keyed, "invite", "cid")
    away = joined(keyed, "ben")
    assert away.stop() == 0
    old, _, _ = line.partition("/sha256:")[2].partition("/")
    assert not any(one["old_authority"] for one in listed(keyed).values())
    told = operate(keyed, "--rotate-ca").splitlines()
    assert f"the old one, sha256:{old}, is believed until" in told[1]
    fresh = operate(keyed, "invite", "dan")
    assert told[0].endswith(fresh.partition("/sha256:")[2].partition("/")[0])
    assert listed(keyed)["ben"]["old_authority"]
    assert "ben" in operate(keyed, "list").partition("still carry")[0]
    settled(anna, "has its next certificate", said(anna, "has its next certificate") + 2)
    assert not listed(keyed)["anna"]["old_authority"]
    # What was written down before the change still leads here, and who was away finds the way back, though expired.
    keyed.farm.start_build_server("cid", "--join", line)
    again = keyed.farm.start(
        "ben again", [str(keyed.farm.root / "bin" / "buildserver.py")],
        BUILDTOOL_BUILD_DIR=str(keyed.farm.directory / "build-ben"),
    )  # fmt: skip
    again.wait_for("registered at 127.0.0.1:.*")
    keyed.farm.start_build_server("dan", "--join", fresh)
    found = listed(keyed)
    assert [name for name, one in found.items() if one["old_authority"]] == []
    assert said(metaserver, "authority-rotated") == 0
    assert said(anna, "registered at") == 1, "no connection was dropped"


def test_what_a_revoked_machine_builds_is_built_elsewhere_and_its_key_never_comes_back(keyed: Control) -> None:
    metaserver = keyed.farm.start_metaserver()
    keyed.close_gate("anna")
    anna = joined(keyed, "anna")
    person(keyed, "ben")
    asked = waits_for_a_build(keyed)
    anna.wait_for("waiting at the gate|build 1.1 of greeter begins")
    joined(keyed, "cid")
    operate(keyed, "--revoke", "anna", "--reason", "it was sold")
    assert asked.ended() == 0, asked.lines
    assert json.loads(asked.lines[-1])["build_state"] == "succeeded"
    metaserver.wait_for(
        "build 1.1 on anna: returned: the key of anna was revoked: it was sold"
    )  # not lost, in a minute
    anna.wait_for("the key of anna was revoked: it was sold")
    anna.kill()
    again = program(
        keyed, "buildserver.py", "--maxretries", "1", BUILDTOOL_BUILD_DIR=str(keyed.farm.directory / "build-anna")
    )
    assert again.returncode != 0
    assert "the key of anna was revoked: it was sold" in again.stderr
    operate(keyed, "--invite", "anna")


def test_a_metaserver_that_was_restored_believes_keys_once_the_operator_has_said_which(keyed: Control) -> None:
    farm = keyed.farm
    metaserver = farm.start_metaserver()
    joined(keyed, "anna")
    joined(keyed, "ben")
    line = operate(keyed, "invite", "cid")
    state, copy = farm.directory / "metaserver", farm.directory / "copy"
    secret = farm.directory / "passphrase"
    secret.write_text("a long one\n")
    secret.chmod(0o600)
    operate(keyed, "backup", str(copy), "--passphrase-file", str(secret))
    assert "ENCRYPTED" in (copy / "tls" / "authority-1.pem").read_text()
    operate(keyed, "revoke", "ben", "--reason", "it was sold")
    for one in farm.programs[1:]:
        one.kill()
    metaserver.stop()
    farm.extra["BUILDTOOL_STATE_DIR"] = str(copy)

    refused = operate(keyed, code=2).splitlines()[-1]
    assert "which of its 2 keys were revoked since is not known, and none is believed" in refused
    told = operate(keyed, "restore")
    assert [one.split()[0] for one in told.splitlines()] == ["anna", "ben", "2"]
    assert "nothing is confirmed yet" in told
    assert operate(keyed, code=2).splitlines()[-1] == refused
    (farm.directory / "wrong").write_text("another\n")
    (farm.directory / "wrong").chmod(0o600)
    words = ("--revocations", str(state / "tls" / "revoked.jsonl"), "--passphrase-file")
    assert "cannot be decrypted" in operate(keyed, "restore", *words, str(farm.directory / "wrong"), code=2)
    assert operate(keyed, code=2).splitlines()[-1] == refused
    settled_ = json.loads(operate(keyed, "restore", *words, str(secret), "--json"))
    assert [one["name"] for one in settled_["keys"]] == ["anna"]
    assert (settled_["revoked"], settled_["confirmed"], settled_["decrypted"]) == (1, True, 1)

    farm.start_metaserver()
    states = {name: one["state"] for name, one in listed(keyed).items()}
    assert states == {"anna": "active", "ben": "revoked", "cid": "void"}
    for name, answer in (("anna", "registered at"), ("ben", "the key of ben was revoked: it was sold")):
        again = farm.start(
            name, [str(farm.root / "bin" / "buildserver.py"), "--maxretries", "1"],
            BUILDTOOL_BUILD_DIR=str(farm.directory / f"build-{name}"),
        )  # fmt: skip
        again.wait_for(answer)
    late = program(keyed, "buildserver.py", "--join", line, BUILDTOOL_BUILD_DIR=str(farm.directory / "build-cid"))
    assert "void, since the metaserver was restored" in late.stderr
    assert farm.programs[-1].ended() != 0


def test_a_backup_has_no_key_of_the_authority_unless_it_is_asked_for(keyed: Control) -> None:
    farm = keyed.farm
    metaserver = farm.start_metaserver()
    anna = joined(keyed, "anna")
    for name, words in (("without", ()), ("with", ("--with-keys",))):
        operate(keyed, "backup", str(farm.directory / name), *words)
    assert [path.name for path in (farm.directory / "without" / "tls").iterdir()] == ["revoked.jsonl"]
    kept = farm.directory / "with" / "tls" / "authority-1.pem"
    assert kept.read_bytes() == (farm.directory / "metaserver" / "tls" / "authority-1.pem").read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
    anna.kill()
    metaserver.stop()
    farm.extra["BUILDTOOL_STATE_DIR"] = str(farm.directory / "without")
    assert "has no authority-*.pem" in operate(keyed, "restore", "--confirm-keys", code=2)
    operate(keyed, "restore", "--confirm-keys", "--new-authority")
    farm.start_metaserver()
    operate(keyed, "invite", "anna", "--replace")
