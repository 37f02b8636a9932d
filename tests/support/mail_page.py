"""The HTML of a mail, read as a browser does: which elements it has, and where its links lead."""

from html.parser import HTMLParser

HARMLESS = frozenset(
    "html head meta title style body main footer p h1 h2 a b span pre code blockquote table tr th td ul li".split()
)
"""All the elements that mails have: nothing that runs, is fetched or is sent."""


class MailPage(HTMLParser):
    """The elements (``tags``), links and text of a mail's HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data
