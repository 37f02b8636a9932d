"""How much everybody may have and is kept, and whose mail address is believed: ``limits``, ``keep``, ``confirmed`` ….

Tested by tests/configuration/test_settings.py.
"""

from __future__ import annotations

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.ceilings import Ceilings
from buildtool.model.access.confirmation import MailDomains
from buildtool.model.farm.weights import Weights, read_weights
from buildtool.model.keeping.limits import Keeping, keeping_of
from buildtool.model.text import quoted

_LISTED = 1_000
"""Most addresses and domains of one setting."""


def read_limits(value: object, usual: Ceilings) -> Ceilings:
    """Return what ``limits`` says, beside what is ``usual``. Raises ConfigurationError."""
    if not isinstance(value, dict):
        raise ConfigurationError(
            f'limits = {quoted(value)} is not usable: it is a dictionary such as {{"requests_an_hour": 100}}'
        )
    try:
        return usual.with_changes(value)
    except UsageError as error:
        raise ConfigurationError(f"limits: {error}") from error


def read_shares(value: object) -> Weights:
    """Return what ``weights`` says. Raises ConfigurationError."""
    try:
        return read_weights(value)
    except UsageError as error:
        raise ConfigurationError(str(error)) from error


def read_keep(value: object) -> Keeping:
    """Return what ``keep`` says. Raises ConfigurationError."""
    try:
        return value if isinstance(value, Keeping) else keeping_of(value)
    except UsageError as error:
        raise ConfigurationError(str(error)) from error


def read_mail_domains(name: str, value: object) -> MailDomains:
    """Return the addresses and domains that a setting lists. Raises ConfigurationError."""
    right = 'addresses and domains, such as ("ann@example.org", "@example.net"), or "*" for all'
    if isinstance(value, str) or not isinstance(value, list | tuple) or len(value) > _LISTED:
        raise ConfigurationError(f"{name} = {quoted(value)} is not usable: it lists {right}")
    try:
        return MailDomains.of(value)
    except UsageError as error:
        raise ConfigurationError(f"{name} = {quoted(value)} is not usable: {error}; it lists {right}") from error
