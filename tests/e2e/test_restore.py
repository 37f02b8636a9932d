"""A backup made while the metaserver runs is a state directory that another one goes on with."""

import hashlib
import json
import shutil

from tests.e2e.control import Control


def test_a_backup_of_a_running_metaserver_is_restored_and_its_hits_download_and_verify(running: Control) -> None:
    farm = running.farm
    anna = running.server("anna")
    built = running.ask("--foreground", "--output", "one.zip", "ann@example.org")
    running.close_gate("anna")
    waits = running.ask("--greeting=goodbye", "bob@example.org")

    target = farm.directory / "copy"
    words = [str(farm.root / "bin" / "metaserver"), "--backup", str(target), "--json"]
    backup = farm.start("backup", words)
    assert backup.ended() == 0, backup.lines
    told = json.loads(backup.lines[-1])
    assert (told["artifacts"], told["withdrawn"]) == (1, 0)

    running.open_gate("anna")
    anna.stop()
    farm.programs[1].stop()
    shutil.rmtree(farm.directory / "metaserver")
    farm.extra["BUILDTOOL_STATE_DIR"] = str(target)
    clean = farm.start("fsck", [str(farm.root / "bin" / "metaserver"), "--fsck"])
    assert clean.ended() == 0, clean.lines
    farm.start_metaserver()

    hit = running.ask("--output", "two.zip", "cid@example.org")
    assert (hit["answer"], hit["build_id"]) == ("hit", built["build_id"])
    two = (farm.directory / "two.zip").read_bytes()
    assert two == (farm.directory / "one.zip").read_bytes()
    assert hashlib.sha256(two).hexdigest() == hit["artifact"]["digest"]
    # The key came along: who had asked before the copy was made can still take the request back.
    assert running.ask("--cancel", waits["cancel_id"])["state"] == "cancelled"
