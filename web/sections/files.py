"""Static files."""

from __future__ import annotations

from twisted.web.server import Request

from buildtool.errors import NotFound
from buildtool.model.access.rights import Act
from buildtool.model.metrics.alerts import ALERTS

from ..answers import TEXT, answer, headers
from ..assets import load_assets, load_text
from ..delivery import delivered
from ..section import Parts, Section, page

_FOR_EVER = "public, max-age=31536000, immutable"
_FOR_A_DAY = "public, max-age=86400"
_ROBOTS = b"User-agent: *\nDisallow: /logs/\nDisallow: /builds?\n"


class FilesSection(Section):
    """The static files, by names that carry their digest."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._assets = {asset.served: asset for asset in load_assets().values()}

    @page(Act.SEE_STATIC, "/static/<name>")
    def static(self, request: Request, name: str) -> bytes:
        """Send a static file by its name with digest. Raises NotFound."""
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound("there is no such file")
        headers(request, asset.content_type, len(asset.body), _FOR_EVER)
        return delivered(request, asset.body, asset.digest, asset.packed)

    @page(Act.SEE_STATIC, "/runbooks/<name>")
    def runbook(self, request: Request, name: str) -> bytes:
        """Send the page that an alert leads to. Raises NotFound."""
        if name not in {one.runbook for one in ALERTS}:
            raise NotFound("there is no such runbook")
        return answer(request, load_text(f"runbooks/{name}.rst"), TEXT, "no-cache")

    @page(Act.SEE_STATIC, "/favicon.ico")
    def favicon(self, request: Request) -> bytes:
        """Send the icon to browsers that ask without being told where it is."""
        icon = self._assets[self.parts.urls.assets["favicon.svg"]]
        return answer(request, icon.body, icon.content_type, _FOR_A_DAY)

    @page(Act.SEE_STATIC, "/robots.txt")
    def robots(self, request: Request) -> bytes:
        """Ask search engines to leave out logs and filtered lists."""
        return answer(request, _ROBOTS, TEXT, _FOR_A_DAY)
