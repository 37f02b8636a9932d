"""Whether a project's ``path_to_url`` looks its sources up, or makes a URL of whatever is asked for.

One that pastes only what has the right form (``forks/NAME``) refuses a text of another form, and knows its sources no
more for that. So it is asked for what has the very form of the source in question, and that nobody has.

The test is tests/project/test_looked_up.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from buildtool.errors import BuildToolError
from buildtool.project.user_errors import ask_url

NOBODYS = "a-source-that-nobody-has"
"""A source that no project has."""

WORDS = 20
"""A source of more words than this is not found out to be looked up."""

LONG = 8
"""From so many characters on a word of other characters is nobody's, too."""

_WORD = re.compile(r"\w+")
_ADDED = ("nobodyhas", "7305519")
_OTHERS = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "bcdefghijklmnopqrstuvwxyzaBCDEFGHIJKLMNOPQRSTUVWXYZA1234567890",
)


def looks_up(path_to_url: Callable[[str], str], source: str) -> bool:
    """Return whether ``path_to_url`` has no URL for what is like ``source``, and is none of the project's."""
    if len(_WORD.findall(source)) > WORDS:
        return False
    return not any(_has_url(path_to_url, one) for one in nobodys(source))


def nobodys(source: str) -> Iterator[str]:
    """Yield sources that no project has, formed as ``source`` is: longer in one place, or of other characters."""
    yield NOBODYS
    for added in _ADDED:
        yield f"{added}{source}"
        yield f"{source}{added}"
    for word in _WORD.finditer(source):
        before, after = source[: word.start()], source[word.end() :]
        others = [f"{word[0]}{added}" for added in _ADDED]
        if len(word[0]) >= LONG:
            others.append(word[0].translate(_OTHERS))
        yield from (f"{before}{other}{after}" for other in others if other != word[0])


def _has_url(path_to_url: Callable[[str], str], source: str) -> bool:
    try:
        ask_url("path_to_url", path_to_url, source)
    except BuildToolError:
        return False
    return True
