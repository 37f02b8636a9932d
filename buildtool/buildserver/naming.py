"""What an artifact is called, what its commands are told, and whether its files are for what was asked for.

Covered by tests/buildserver/test_server.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from buildtool.errors import BuildFailed
from buildtool.model.binaries.judging import MeasuredFile, measured_need, wrong_file
from buildtool.model.names import ARTIFACT_NAME_LIMIT
from buildtool.model.options import Canonical, canonical, digest_of
from buildtool.model.platforms import Value
from buildtool.model.servers import ROOT_PATH, SYSTEM_ROOT
from buildtool.ports.buildserver import SlotPlace
from buildtool.protocol.messages import Order

FIXED_TIME = "315532800"
"""SOURCE_DATE_EPOCH for every build: 1980-01-01, the time that all members of an artifact have."""


def artifact_name(order: Order, described: frozenset[str]) -> str:
    """Return ``project-revision-platform-key.zip``: different where anything that went into it differs.

    ``described`` are the properties that the project's binaries have: without an arch or system among them the platform
    is ``any``, and not that of the machine which happened to make it.
    """
    platform: dict[str, Value] = {name: value for name, value in order.platform if name in described}
    where = "-".join(str(platform[name]) for name in ("os", "arch") if name in platform) or "any"
    made_of = [order.project, order.recipe_version, order.source, order.revision, order.options, canonical(platform)]
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{order.project}-{order.revision[:12]}-{where}")
    return f"{plain.lstrip('-.')[: ARTIFACT_NAME_LIMIT - 20]}-{digest_of(made_of)[:8]}.zip"


def own_environment(place: SlotPlace, given: Mapping[str, str], tools: Mapping[str, str]) -> dict[str, str]:
    """Return what every command has in its environment before the recipe adds to it.

    ``given`` is this machine's; one that builds in the files of another system, as ``tools`` say, has the PATH of that.
    """
    path = {"PATH": ROOT_PATH} if SYSTEM_ROOT in tools else {}
    own = {"HOME": str(place.home), "TMPDIR": str(place.temporary), "SOURCE_DATE_EPOCH": FIXED_TIME}
    return {"LANG": "C.UTF-8", "TZ": "UTC", **given, **path, **own}


def check_files(
    files: Sequence[MeasuredFile], order: Order, described: Collection[str], foreign: Sequence[str]
) -> Canonical:
    """Return what the files of an artifact need together. Raises BuildFailed for one that is for another platform.

    A recipe that forgets the cross compiler makes perfect programs for the wrong machine. ``foreign`` are patterns of
    the names of files that are meant for elsewhere.
    """
    platform: dict[str, Value] = {name: value for name, value in order.platform if name in described}
    wrong = wrong_file(files, platform, foreign)
    if wrong:
        raise BuildFailed(f"{wrong} (a file that is meant for elsewhere is named by foreign= of the recipe's Plan)")
    return measured_need(files, platform, foreign)
