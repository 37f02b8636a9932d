"""What an artifact is called. Covered by tests/buildserver/test_server.py."""

from __future__ import annotations

import re
from collections.abc import Collection

from buildtool.errors import BuildFailed
from buildtool.model.names import ARTIFACT_NAME_LIMIT
from buildtool.model.options import canonical, digest_of
from buildtool.model.platforms import Value
from buildtool.protocol.messages import Order


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


def check_arch(found: frozenset[str], order: Order, names: Collection[str]) -> None:
    """Raise BuildFailed when programs were delivered, but none for the architecture that was to be built for.

    A recipe that forgets the cross compiler makes perfect programs for the wrong machine.
    """
    wanted = dict(order.platform).get("arch")
    if "arch" not in names:
        return
    if found and isinstance(wanted, str) and wanted not in found:
        made = ", ".join(sorted(found))
        raise BuildFailed(f"what was delivered is for {made}, not for {wanted}: does the recipe use tools['CC']?")
