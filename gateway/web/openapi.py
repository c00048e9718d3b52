"""The description of the management API (OpenAPI 3.1), made of what its routes say of themselves."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from litestar import Response
from litestar.routes import BaseRoute, HTTPRoute

from gateway.core import access
from gateway.core.access import Permission
from gateway.web.problems import ErrorAnswer
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import services_of

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_REFERENCE: Final = "#/components/schemas/{name}"

Saying = tuple[str, str, Described]
"""A method, a path and what the route there says of itself."""


@route("GET", f"{API}/openapi.json", Described("This description", answer=dict[str, Any]))
async def openapi(request: Sender) -> Response[bytes]:
    """Answer with the description."""
    document = msgspec.json.encode(describe(request.app.routes, services_of(request).version))
    # Python's \Z is not known to the regular expressions of JSON Schema, whose $ means the same.
    return Response(document.replace(rb"\\Z", b"$"), media_type="application/json")


def describe(routes: Iterable[BaseRoute], version: str) -> dict[str, Any]:
    """Return the document for these routes."""
    found = list(described(routes))
    types = [ErrorAnswer, *(shape for *_, one in found for shape in _types(one))]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    known = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for method, path, one in found:
        paths.setdefault(path, {})[method.lower()] = _operation(
            (method, path, one), known, components
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "ReasonRank Gateway, management API", "version": version},
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
        "paths": paths,
    }


def described(routes: Iterable[BaseRoute]) -> Iterator[Saying]:
    """Yield the routes that say something of themselves."""
    for one in routes:
        if not isinstance(one, HTTPRoute):
            continue
        for handler in one.route_handlers:
            said = handler.opt.get("described")
            if isinstance(said, Described):
                for method in handler.http_methods:
                    yield str(method), one.path_format, said


def _types(one: Described) -> list[Any]:
    return [shape for shape in (one.query, one.body, one.answer) if shape is not None]


def _operation(
    at: Saying, known: Mapping[str, Any], components: Mapping[str, Any]
) -> dict[str, Any]:
    method, path, one = at
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    if one.query is not None:
        parameters += _queries(known[repr(one.query)], components)
    operation: dict[str, Any] = {
        "summary": one.summary,
        "parameters": parameters,
        "responses": {
            str(one.status): _content("Done", one.kind, one.answer, known),
            "default": _content("Refused or failed", "application/json", ErrorAnswer, known),
        },
    }
    needed = access.ROUTES[method, path]
    if isinstance(needed, Permission):
        scopes = ", ".join(scope for scope, given in access.GRANTED.items() if needed in given)
        operation["description"] = f"Needs one of the scopes {scopes}."
    else:
        operation["security"] = []
    if one.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": known[repr(one.body)]}},
        }
    return operation


def _queries(schema: Mapping[str, Any], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the members of a query's struct as parameters."""
    shape = components[schema["$ref"].rpartition("/")[2]]
    return [
        {"name": name, "in": "query", "required": False, "schema": member}
        for name, member in shape["properties"].items()
    ]


def _content(text: str, kind: str, shape: object, known: Mapping[str, Any]) -> dict[str, Any]:
    if shape is None:
        return {"description": text}
    return {"description": text, "content": {kind: {"schema": known[repr(shape)]}}}
