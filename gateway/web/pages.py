"""Pages: templates and a style sheet of the package, filled with text that is always escaped.

No page has a script, a style of its own, or anything from another site, so the content security
policy of every answer can forbid them all.
"""

from importlib.resources import files
from typing import Any, Final, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response

from gateway.core.money import for_people, from_usd

_KEY: Final = "pages"
_ASSETS: Final = {"console.css": "text/css", "icon.svg": "image/svg+xml"}


class Pages:
    """The pages of the package."""

    def __init__(self) -> None:
        """Find the templates; they are read when they are first used."""
        self._templates = Environment(
            loader=PackageLoader("gateway", "assets"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["dollars"] = _dollars
        folder = files("gateway") / "assets"
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}

    def answer(self, template: str, status: int = 200, **values: object) -> Response[bytes]:
        """Return a page."""
        text = self._templates.get_template(template).render(values)
        return Response(text.encode(), status_code=status, media_type="text/html")

    def message(self, title: str, text: str, status: int = 200) -> Response[bytes]:
        """Return a page that says one thing."""
        return self.answer("message.html", status, title=title, text=text)

    def asset(self, name: str) -> Response[bytes] | None:
        """Return a file that pages refer to, of the few that there are."""
        if name not in self._assets:
            return None
        return Response(self._assets[name], media_type=_ASSETS[name])


def wants_page(accept: str) -> bool:
    """Return whether an Accept header names HTML, and JSON not before it."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if "text/html" not in kinds:
        return False
    return "application/json" not in kinds[: kinds.index("text/html")]


def state(pages: Pages) -> dict[str, object]:
    """Return the application state that `pages_of` reads."""
    return {_KEY: pages}


def pages_of(request: Request[Any, Any, Any]) -> Pages:
    """Return the application's pages."""
    return cast("Pages", request.app.state[_KEY])


def _dollars(amount: str) -> str:
    return for_people(from_usd(amount))
