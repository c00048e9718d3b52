"""The audit log, as a list."""

from litestar import Response

from gateway.store.audit_log import Entry
from gateway.web import reading
from gateway.web.problems import invalid
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import services_of
from gateway.web.shapes import Page, Paging, answer, page


@route("GET", f"{API}/audit", Described("List changes", query=Paging, answer=Page[Entry]))
async def listing(request: Sender) -> Response[bytes]:
    """List changes, newest first."""
    query = reading.query(request, Paging)
    entries = await services_of(request).audit.page(before=_seq(query.cursor), limit=query.limit)
    return answer(page(entries, query.limit, lambda entry: str(entry.seq)))


def _seq(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise invalid("The cursor is none of ours.", "cursor")
    return int(cursor)
