"""The running port as stock tools see it: nothing older than TLS 1.2, forward secrecy, nothing that weakens either."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.control import Control
from tests.support.packages import require, require_that

GOOD = r"TLS_ECDHE_ECDSA_WITH_(AES_(128|256)_GCM|CHACHA20_POLY1305)_SHA(256|384)|TLS_(AES|CHACHA20)_.*"
"""A suite as sslyze writes it: authenticated encryption with keys of the one connection."""

EVERYTHING = "ALL:COMPLEMENTOFALL"
OURS = ("ECDHE+AESGCM", "ECDHE+CHACHA20")
OLD_TOO = "@SECLEVEL=0"
"""What makes OpenSSL's client offer what it thinks too weak."""

SSLYZE = "sslyze==6.3.1"
SSLYZE_PLACE = Path(__file__).resolve().parent.parent.parent / ".cache" / "sslyze"


@pytest.fixture
def keyed(control: Control) -> Control:
    """A farm whose metaserver believes nobody without a key: its port speaks TLS."""
    require("openssl", "openssl")
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody"}
    control.farm.start_metaserver()
    return control


SCANS = (
    *("--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--elliptic_curves", "--compression"),
    *("--reneg", "--resum", "--early_data", "--heartbleed", "--openssl_ccs", "--robot", "--ems"),
)
"""What sslyze looks at."""


def connected(farm: Control, *words: str, given: str = "Q\n") -> str:
    """Connect with OpenSSL's own client, which believes everybody; return all that it said."""
    where = f"127.0.0.1:{farm.farm.ports['BUILDTOOL_PB_PORT']}"
    done = subprocess.run(
        ["openssl", "s_client", "-connect", where, *words],
        input=given, capture_output=True, text=True, errors="replace", timeout=30, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_openssl_agrees_on_nothing_old_or_weak_and_on_forward_secrecy(keyed: Control) -> None:
    for version in ("-tls1", "-tls1_1"):
        told = connected(keyed, version, "-cipher", EVERYTHING + OLD_TOO)
        # The number is the metaserver's: the client was able to ask for it.
        assert "SSL alert number 70" in told, told
        assert "Cipher is (NONE)" in told
    without = ":".join((EVERYTHING, *(f"!{one}" for one in OURS), OLD_TOO))
    told = connected(keyed, "-tls1_2", "-cipher", without)
    assert "SSL alert number 40" in told, told
    assert "Cipher is (NONE)" in told
    for version in ("-tls1_2", "-tls1_3"):
        told = connected(keyed, version, "-cipher", f"{EVERYTHING}:{OLD_TOO}")
        assert re.search(r"Cipher is (ECDHE-ECDSA|TLS)_?.*(GCM|POLY1305)", told), told
        assert re.search(r"Server Temp Key: (X25519|ECDH)", told), told
        assert "Compression: NONE" in told
        assert "Peer signing digest: SHA256" in told


def test_openssl_neither_renegotiates_nor_resumes_a_session(keyed: Control) -> None:
    told = connected(keyed, "-tls1_2", given="R\n")
    assert "RENEGOTIATING" in told
    assert "no renegotiation" in told, told
    for version in ("-tls1_2", "-tls1_3"):
        told = connected(keyed, version, "-reconnect")
        assert "New, TLS" in told
        assert "Reused" not in told, told


@pytest.mark.long
def test_sslyze_finds_nothing_old_or_weak_either(keyed: Control, tmp_path: Path) -> None:
    found = shutil.which("sslyze") or str(SSLYZE_PLACE / "bin" / "sslyze")
    remedy = f"python3 -m venv {SSLYZE_PLACE} && {SSLYZE_PLACE}/bin/pip install {SSLYZE}"
    require_that(present=os.access(found, os.X_OK), what="sslyze is not installed", remedy=remedy)
    told = tmp_path / "told.json"
    where = f"127.0.0.1:{keyed.farm.ports['BUILDTOOL_PB_PORT']}"
    subprocess.run([found, *SCANS, "--json_out", str(told), where], capture_output=True, check=False, timeout=240)
    (one,) = json.loads(told.read_text())["server_scan_results"]
    scans = {name: scan["result"] for name, scan in one["scan_result"].items() if scan["status"] == "COMPLETED"}
    assert len(scans) == len(SCANS), one
    for old in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        assert not scans[f"{old}_cipher_suites"]["accepted_cipher_suites"]
    for version in ("tls_1_2", "tls_1_3"):
        accepted = scans[f"{version}_cipher_suites"]["accepted_cipher_suites"]
        assert accepted
        for suite in accepted:
            assert re.fullmatch(GOOD, suite["cipher_suite"]["name"]), suite
            assert suite["ephemeral_key"], suite
    curves = {curve["name"] for curve in scans["elliptic_curves"]["supported_curves"]}
    assert {"X25519"} <= curves <= {"X25519", "X448", "secp256r1", "prime256v1", "secp384r1", "secp521r1"}
    bad = {"supports_compression", "supports_early_data", "is_vulnerable_to_ccs_injection",
           "is_vulnerable_to_heartbleed", "is_vulnerable_to_client_renegotiation_dos"}  # fmt: skip
    said = {name: told for scan in scans.values() for name, told in scan.items()}
    assert {name for name in bad if said[name]} == set()
    assert said["robot_result"] == "NOT_VULNERABLE_RSA_NOT_SUPPORTED"
    assert said["supports_secure_renegotiation"]
    assert said["supports_ems_extension"]
    assert said["session_id_successful_resumptions_count"] == said["tls_ticket_successful_resumptions_count"] == 0
