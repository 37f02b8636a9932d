"""What the deployment says of itself: reads the settings ``title``, ``title_url`` and ``contact``.

Tested by tests/configuration/test_settings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from buildtool.configuration.places import reading
from buildtool.model.farm.deployment import UNNAMED, Deployment, valid_contact, valid_link, valid_title

DEPLOYMENT_READERS: Mapping[str, Callable[[object, str], str]] = {
    "title": reading(valid_title),
    "title_url": reading(valid_link),
    "contact": reading(valid_contact),
}
"""How each of them is read. Raises ConfigurationError that begins with what set it."""


def read_deployment(given: Mapping[str, object]) -> Deployment:
    """Return what ``given`` settings say of the deployment. Raises ConfigurationError."""
    title, title_url, contact = (
        read(given.get(name, getattr(UNNAMED, name)), f"{name} =") for name, read in DEPLOYMENT_READERS.items()
    )
    return Deployment(title, title_url, contact)
