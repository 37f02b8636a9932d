"""Private names of libraries are used where nothing public will do: each is listed here, with why, and is still there.

A new version of a library may change them without a word, so the lock pins the versions that they were tried with.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import buildtool

OURS = ("buildtool", "builtins", "typing", "abc", "attr", "attrs", "enum", "zope", "_io", "io", "collections")
PRIVATE = re.compile(r"_[a-z]\w*")

PINNED: dict[tuple[str, str], str] = {
    ("twisted.spread.banana.Banana", "_selectDialect"): "the dialect is ours without a list of dialects from the peer",
    ("twisted.web.http.HTTPChannel", "_respondToBadRequestAndDisconnect"): "what is no HTTP is answered in one line",
    ("twisted.web.http.HTTPChannel", "_log"): "what Twisted says of time-outs is not logged as ours",
    ("twisted.web.http.HTTPChannel", "_dataBuffer"): "nothing public says whether a part of a request waits",
    ("twisted.protocols.basic.LineReceiver", "_buffer"): "the same",
    ("twisted.mail.smtp.ESMTPClient", "_tlsMode"): "a lost connection is told from a handshake that failed",
    ("twisted.internet.endpoints.HostnameEndpoint", "_hostAsBytesAndText"): "a host that was checked is not changed",
    ("twisted.mail.smtp.ESMTP", "_to"): "the demo's mail box: set by Twisted for each mail",
    ("twisted.mail.smtp.SMTP", "_to"): "the same",
    ("argparse.ArgumentParser", "_print_message"): "help is written as everything is, with errors that are told",
    ("argparse.ArgumentParser", "_get_values"): "--option=-- has a value, which older Pythons take away",
    ("argparse.ArgumentParser", "_actions"): "what comes near to an option that is not known is named",
    ("argparse._ActionsContainer", "_actions"): "the same",
}


def used() -> Iterator[tuple[str, str]]:
    """Yield every private name of a foreign class that a class of ours which inherits it uses or replaces."""
    for info in pkgutil.walk_packages(buildtool.__path__, "buildtool."):
        if ".migrations" in info.name:
            continue
        for ours in vars(importlib.import_module(info.name)).values():
            if inspect.isclass(ours) and ours.__module__ == info.name and foreign(ours):
                source = inspect.getsource(ours)
                mine = set(re.findall(r"self\.(_[a-z]\w*)", source)) | names(ours)
                for base in foreign(ours):
                    there = set(re.findall(r"self\.(_[a-z]\w*)", inspect.getsource(base)))
                    for name in mine & (there | names(base)):
                        yield f"{base.__module__}.{base.__name__}", name


def names(cls: type) -> set[str]:
    """Return the private names that a class defines, but for what Python puts into each abstract one."""
    return {name for name in vars(cls) if PRIVATE.match(name)} - {"_abc_impl"}


def foreign(ours: type) -> list[type]:
    """Return the classes of libraries that a class inherits from."""
    return [base for base in ours.__mro__[1:] if base.__module__.partition(".")[0] not in OURS]


def test_every_private_name_that_is_used_is_listed_and_none_is_listed_in_vain() -> None:
    assert set(used()) == set(PINNED)


@pytest.mark.parametrize(("owner", "name"), PINNED)
def test_a_private_name_that_is_used_is_still_there(owner: str, name: str) -> None:
    module, _, classname = owner.rpartition(".")
    base = getattr(importlib.import_module(module), classname)
    assert hasattr(base, name) or f"self.{name}" in inspect.getsource(base)
