"""What a machine's owner wrote about it is read again at each login."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.logger import Logger

from buildtool.errors import ConfigurationError
from buildtool.programs.buildserver.capability import AnnouncedCapability
from buildtool.programs.buildserver.owner_file import load_info

log = Logger()


def introduced(found: AnnouncedCapability, build_dir: Path, admin: str) -> AnnouncedCapability:
    """Return what is announced, with what its owner has written by now; ``admin`` goes before their file.

    What cannot be read stays as it was, and is logged.
    """
    try:
        info = load_info(build_dir)
    except ConfigurationError as error:
        log.warn("{why}; what was written about this machine before holds", why=str(error))
        return found
    return evolve(found, admin=admin or info.admin, about=info.host, access_uri=info.access_uri)
