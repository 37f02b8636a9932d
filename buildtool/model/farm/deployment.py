"""What a deployment and its projects say of themselves: a name, where more is told, and who is asked."""

from __future__ import annotations

import string
from urllib.parse import quote

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.addresses import URL_LIMIT, valid_address, valid_url
from buildtool.model.text import quoted

TITLE_LIMIT = 60
"""Most characters of a title: it stands in the header of every page, and in subjects of mails."""

USUAL_TITLE = "buildtool"

_REVISION, _NUMBER = "{revision}", "{number}"
_FURTHER = frozenset(string.ascii_letters + string.digits + "._~/%?#&=+:@!$'()*,;-")
"""What may stand behind the path of a URL."""


@frozen
class Deployment:
    """The name of a farm, the page that tells about it, and who is asked about it; what is empty was not said."""

    title: str = USUAL_TITLE
    title_url: str = ""
    contact: str = ""

    @property
    def contact_url(self) -> str:
        """Where a link to the contact leads."""
        return contact_url(self.contact)

    @property
    def lines(self) -> tuple[str, ...]:
        """What stands at the end of a mail or of an error: the title with its page, and who is asked."""
        named = f"{self.title}: {self.title_url}" if self.title_url else self.title
        return (named, f"Questions: {self.contact}") if self.contact else (named,)


UNNAMED = Deployment()
"""A farm that says nothing of itself."""


@frozen
class ProjectPlace:
    """The page of a project's own and who is asked about it; what is empty was not said.

    ``revision_url`` is where a revision of its sources is shown, see ``valid_revision_url``.
    """

    url: str = ""
    contact: str = ""
    revision_url: str = ""

    def revision(self, revision: str) -> str:
        """Return where a revision is shown, "" if that was not said."""
        said = quote(revision, safe="", errors="replace")
        return self.revision_url.replace(_REVISION, said).replace(_NUMBER, said.removeprefix("r"))

    @property
    def contact_url(self) -> str:
        """Where a link to the contact leads."""
        return contact_url(self.contact)


NO_PLACE = ProjectPlace()
"""A project that says nothing of itself."""


def contact_url(contact: str) -> str:
    """Return where a link to a contact leads, which is an address (as ``valid_contact`` returns it) or a URL."""
    return f"mailto:{quote(contact, safe='@')}" if "@" in contact and not contact.startswith("http") else contact


def valid_title(text: object, what: str) -> str:
    """Return a title in its one form. Raises UsageError, in one line that begins with ``what``."""
    said = " ".join(text.split()) if isinstance(text, str) else ""
    if not said or len(said) > TITLE_LIMIT or not said.isprintable():
        raise UsageError(f"{what} {quoted(text)} is not usable: it is a line of at most {TITLE_LIMIT} characters")
    return said


def valid_link(text: object, what: str) -> str:
    """Return the URL of a page, with what may follow its path; "" where there is none. Raises UsageError."""
    if text == "":
        return ""
    said = text.strip() if isinstance(text, str) else ""
    plain = said.partition("#")[0].partition("?")[0]
    further = said[len(plain) :]
    found = valid_url(plain if isinstance(text, str) else text, what)
    if not _FURTHER.issuperset(further) or plain != plain.rstrip():
        raise UsageError(f"{what} {quoted(text)} is not usable: behind its path is a character that belongs quoted")
    slash = "/" if plain.endswith("/") else ""
    if len(found) + len(slash) + len(further) > URL_LIMIT:
        raise UsageError(f"{what} {quoted(text)} is not usable: it is longer than {URL_LIMIT} characters")
    return f"{found}{slash}{further}"


def valid_revision_url(text: object, what: str) -> str:
    """Return the URL where a revision is shown; "" where there is none. Raises UsageError.

    ``{revision}`` stands in it for the whole id, or ``{number}`` for one of Subversion without its ``r``.
    """
    if text == "":
        return ""
    said = text.strip() if isinstance(text, str) else ""
    host, _, path = said.partition("://")[2].partition("/")
    if "{" in host or not (_REVISION in path or _NUMBER in path):
        raise UsageError(f"{what} {quoted(text)} is not usable: it says {_REVISION} where the id of a revision belongs")
    valid_link(said.replace(_REVISION, "r1").replace(_NUMBER, "1"), what)
    return said


def valid_contact(text: object, what: str) -> str:
    """Return an e-mail address or the URL of a page; "" where there is none. Raises UsageError."""
    if text == "":
        return ""
    try:
        return valid_link(text, what) if "://" in str(text) else valid_address(text if isinstance(text, str) else "")
    except UsageError as error:
        right = "an e-mail address such as farm@example.org, or the URL of a page"
        raise UsageError(f"{what} {quoted(text)} is not usable: it is {right}") from error
