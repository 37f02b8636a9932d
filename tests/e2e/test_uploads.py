"""What a running Attempt has uploaded outlives a metaserver that is killed; what nobody sends on does not."""

import http.client
import time

import pytest

from buildtool.model.tickets import Ticket, TicketKind, sign
from tests.adapters.http.transfers import digest_of
from tests.e2e.control import Control

WHOLE = bytes(range(256)) * 4096
SENT = 700_000


def transfer(farm: Control, method: str, build_id: int, body: bytes = b"") -> tuple[int, str | None]:
    """Send from byte 0 on, or ask how much is there; return the answer's status and how much that is."""
    key = (farm.farm.directory / "metaserver" / "key").read_bytes()
    ticket = Ticket(TicketKind.ARTIFACT, build_id, 1, 2 * len(WHOLE), int(time.time()) + 600)
    headers = {
        "Authorization": f"Ticket {sign(ticket, key)}",
        "Upload-Offset": "0",
        "Upload-Length": str(len(WHOLE)),
        "Upload-Digest": digest_of(WHOLE),
    }
    connection = http.client.HTTPConnection("127.0.0.1", farm.farm.ports["BUILDTOOL_TRANSFER_PORT"], timeout=60)
    try:
        connection.request(method, f"/uploads/{build_id}/1", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Upload-Offset")
    finally:
        connection.close()


@pytest.mark.long
def test_an_upload_goes_on_where_it_stopped_after_the_metaserver_was_killed(running: Control) -> None:
    running.close_gate("anna")
    anna = running.server("anna", "--maxdelay", "1")
    build_id = running.ask("ann@example.org")["build_id"]
    anna.wait_for(r"build \d+\.1 of greeter begins")
    assert transfer(running, "PUT", build_id, WHOLE[:SENT]) == (202, str(SENT))
    incoming = running.farm.directory / "metaserver" / "incoming"
    (incoming / "4711-1").write_bytes(b"of an attempt that is over")

    running.farm.programs[1].kill()
    running.farm.start_metaserver()
    assert transfer(running, "HEAD", build_id) == (200, str(SENT))
    assert [path.name for path in incoming.iterdir()] == [f"{build_id}-1"]

    running.open_gate("anna")
    running.farm.programs[0].wait_for("mail for ann@example.org")
    assert running.ask("--no-download", "ann@example.org")["answer"] == "hit"
    assert list(incoming.iterdir()) == []
