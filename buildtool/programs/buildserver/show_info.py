"""What ``bin/buildserver.py show-info`` prints: what this machine offers, for people and for programs.

Covered by tests/programs/buildserver/test_main.py.
"""

from __future__ import annotations

import json

from buildtool.model.matching.ranges import spanned
from buildtool.model.servers import Offer, OfferKind
from buildtool.programs.buildserver.capability import AnnouncedCapability
from buildtool.programs.buildserver.confinement import Confinement


def as_json(name: str, found: AnnouncedCapability, within: Confinement, install: str = "", follows: str = "") -> str:
    """Return what is announced as JSON; ``install`` is the line that installs what projects lack here.

    ``follows`` says what the configuration follows.
    """
    data = {
        "name": name,
        "software": found.software,
        "install": install,
        "follows": follows,
        "admin": found.admin,
        "host_info": found.host_info(),
        "access_uri": found.access_uri,
        "max_builds": found.max_builds,
        "time_limit": found.time_limit,
        "offers": [_offer_as_json(offer) for offer in found.offers],
        "coming": [_offer_as_json(offer) for offer in found.coming],
        "rejected": [{"triple": one.triple, "why": one.why} for one in found.rejected],
        **within.as_object(),
        "machine": dict(found.machine),
        "detected": dict(found.detected),
        "projects": [{"name": skill.project, "recipe": skill.recipe_version} for skill in found.skills],
    }
    return json.dumps(data, indent=2, sort_keys=True)


def _offer_as_json(offer: Offer) -> dict[str, object]:
    tools = dict(offer.tools)
    return {
        "kind": offer.kind.value,
        "platform": dict(offer.platform),
        "up_to": dict(offer.up_to),
        "compiler": tools.get("CC_VERSION"),
        "emulator": tools.get("RUN"),
        "tools": tools,
    }


def as_text(name: str, found: AnnouncedCapability, within: Confinement, install: str = "", follows: str = "") -> str:
    """Return what is announced, for people; ``install`` is the line that installs what projects lack here.

    ``follows`` says what the configuration follows.
    """
    rows = [("name", name), ("software", found.software), ("builds at once", str(found.max_builds))]
    rows += [("admin", found.admin)] if found.admin else []
    rows += [("about it", found.about)] if found.about else []
    rows += [("reached by", found.access_uri)] if found.access_uri else []
    rows += [] if found.time_limit is None else [("time limit", f"{found.time_limit} s for one build")]
    rows += within.rows()
    rows += [(label, _words(value)) for label, value in found.detected.items()]
    for offer in found.offers:
        rows += _offer_as_rows(offer)
    names = ", ".join(dict.fromkeys(dict(offer.tools).get("HOST", "") for offer in found.coming))
    rows += [("to be tried", f"by zig, once a build server has started: {names}")] if names else []
    rows += [("not usable", f"{one.triple}: {one.why}") for one in found.rejected]
    rows += [("follows", follows)] if follows else []
    rows += [("project", f"{skill.project}, recipe {skill.recipe_version}") for skill in found.skills]
    rows += [("missing", install)] if install else []
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {words}" for label, words in rows)


def _offer_as_rows(offer: Offer) -> list[tuple[str, str]]:
    tools = dict(offer.tools)
    compiler, emulator = tools.pop("CC_VERSION", "unknown"), tools.pop("RUN", "")
    rows = [
        (f"builds {offer.kind.value}", " ".join(f"{name}={_words(value)}" for name, value in spanned(offer))),
        ("  with", " ".join(f"{role}={tool}" for role, tool in tools.items()) or "no tools"),
        ("  compiler", compiler),
    ]
    if offer.kind is OfferKind.CROSS:
        rows.append(("  emulator", emulator or "none: what is built for it is not run here"))
    return rows


def _words(value: object) -> str:
    if value is None:
        return "unknown"
    return " ".join(value) if isinstance(value, tuple) else str(value)
