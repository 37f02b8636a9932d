"""Where the metaserver is for whoever has no configuration: where the environment says, or where this account joined.

Tested by tests/programs/startcompile/test_describing.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from buildtool.adapters.storage.private_directories import own_keys
from buildtool.errors import UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, at_ports, read_addresses

USUAL_PORT = 23_432
"""The control port, unless it is said."""

USUAL_TRANSFER_PORT = 23_433
"""The transfer port, unless a configuration says it."""

NOWHERE = "nobody says where the metaserver is: say --host HOST, set BUILDTOOL_HOST, or join a farm"

_MOST = 1024 * 1024


def places_without_configuration() -> tuple[MetaserverAddress, ...]:
    """Return the addresses of the metaserver, or none. Raises UsageError for what is no address."""
    said, port = os.environ.get("BUILDTOOL_HOST", ""), os.environ.get("BUILDTOOL_PB_PORT", "")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else USUAL_PORT  # noqa: PLR2004 - digits
    if said:
        return at_ports(read_addresses(said, "BUILDTOOL_HOST"), number)
    joined = [found for found in map(_joined, own_keys()) if found]
    if len(joined) > 1:
        several = " and ".join(one[0].where for one in joined)
        raise UsageError(f"you have joined several farms, at {several}: say which with --host")
    return joined[0] if joined else ()


def _joined(directory: Path) -> tuple[MetaserverAddress, ...]:
    """Return where the metaserver was of which a directory has the key; none where it has none of use."""
    try:
        with (directory / "identity.json").open("rb") as file:
            found = json.loads(file.read(_MOST))["addresses"]
        return tuple(MetaserverAddress(str(host), int(port)) for host, port in found)
    except (OSError, ValueError, KeyError, TypeError):
        return ()
