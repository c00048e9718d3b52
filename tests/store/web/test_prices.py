"""Prices, as the API has them: shown, checked, replaced by a file, and put back."""

import json
from datetime import date
from hashlib import sha256

import httpx
import pytest

from gateway.store.database import Database
from tests.store.web.conftest import Clients, World

PATH = "/api/v1/prices"
VERSIONS = f"{PATH}/versions"
DAY = "2026-11-20"
PACKAGE = "genai-prices 0.2.3"


def model(name: str, **prices: object) -> dict[str, object]:
    return {"id": name, "match": {"equals": name}, "prices": {"output_mtok": 10, **prices}}


def file(*models: dict[str, object]) -> bytes:
    vendor = {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": r"https://api\.openai\.com",
        "models": list(models),
    }
    return json.dumps([vendor]).encode()


FILE = file(
    model("gpt-4o", input_mtok=2.5),
    model("gpt-4.1", input_mtok=2, cache_read_mtok=0.5),
    model("gpt-4o-mini", input_mtok=0.1, cache_read_mtok=0.05, output_mtok=0.6),
    model("gpt-7", input_mtok=7),
)


async def send(client: httpx.AsyncClient, content: bytes = FILE, **query: str) -> httpx.Response:
    return await client.post(PATH, params={"published_on": DAY, **query}, content=content)


async def price(client: httpx.AsyncClient, name: str) -> dict[str, object] | None:
    found = (await client.get(PATH, params={"model": name})).json()["data"]
    return found[0] if found else None


async def test_a_price_is_shown_in_dollars_with_its_source_and_version(owner: httpx.AsyncClient):
    found = await price(owner, "gpt-5.6-sol")
    assert found is not None
    assert (found["model"], found["source"]) == ("openai/gpt-5.6-sol", "published")
    assert str(found["price_version"]).startswith(f"{PACKAGE} + overrides ")
    base, above, *_ = found["rates"]  # type: ignore[misc]
    assert (base["tier"], base["above_tokens"], base["input"]) == ("default", None, "4")
    assert (above["tier"], above["above_tokens"], above["input"]) == ("default", 272_000, "8")
    overridden = await price(owner, "openai/gpt-4.1")
    assert overridden is not None
    assert overridden["source"] == "configuration"


async def test_prices_come_in_pages(owner: httpx.AsyncClient):
    names: list[str] = []
    cursor = None
    while True:
        query = {"limit": "100", "provider": "openai"} | ({"cursor": cursor} if cursor else {})
        found = (await owner.get(PATH, params=query)).json()
        names += [one["model"] for one in found["data"]]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert names == sorted(set(names))
    assert len(names) > 200


async def test_what_is_missing_is_found(owner: httpx.AsyncClient):
    found = (await owner.get(f"{PATH}/check", params={"days": "10"})).json()
    kinds = {(one["kind"], one["subject"]) for one in found["findings"]}
    assert kinds == {
        ("no_price", "openai/gpt-99"),
        ("no_price", "mine"),
        ("no_effect", "openai/gpt-4o"),
        ("no_effect", "gone/m"),
        ("old", found["price_version"]),
    }
    assert found["published_on"] == "2026-11-10"
    younger = (await owner.get(f"{PATH}/check", params={"days": "15"})).json()
    assert "old" not in {one["kind"] for one in younger["findings"]}


async def test_a_file_takes_the_place_of_the_list(
    owner: httpx.AsyncClient, world: World, database: Database
):
    digest = sha256(FILE).hexdigest()
    done = (await send(owner, sha256=digest)).json()
    assert done["price_version"] == f"{PACKAGE} + file {DAY} {digest[:8]}"
    assert done["before"].startswith(PACKAGE)
    assert done["is_in_force"] is True
    assert done["new"] == ["openai/gpt-7"]
    assert done["cheaper"] == ["openai/gpt-4o-mini"]
    assert done["dearer"] == ["openai/gpt-4o"]  # its cached input has no price of its own any more
    assert "openai/o3" in done["gone"]
    version = world.standing.directory.book.version
    assert version.startswith(f"{done['price_version']} + overrides ")
    assert world.heard == [version]
    shown = await price(owner, "gpt-7")
    assert shown is not None
    assert shown["price_version"] == version
    audited = await database.fetch("SELECT action, target FROM audit ORDER BY seq DESC LIMIT 1")
    assert [tuple(row.values()) for row in audited] == [("prices.choose", f"prices:{digest}")]


async def test_a_dry_run_changes_nothing(owner: httpx.AsyncClient, world: World):
    done = (await send(owner, dry_run="true")).json()
    assert (done["is_in_force"], done["new"]) == (False, ["openai/gpt-7"])
    assert await price(owner, "gpt-7") is None
    assert world.heard == []
    assert len((await owner.get(VERSIONS)).json()["data"]) == 1


@pytest.mark.parametrize(
    ("content", "query", "status", "words"),
    [
        (FILE, {"published_on": "2026-11-09"}, 409, "Say force"),
        (FILE, {"published_on": "2199-01-01"}, 400, "a day to come"),
        (FILE, {"published_on": "yesterday"}, 400, "can't be used"),
        (FILE, {"sha256": "0" * 64}, 400, "not the one that was said"),
        (FILE, {"sha256": "abc"}, 400, "can't be used"),
        (FILE, {"other": "1"}, 400, "not known"),
        (b"[]", {}, 400, "holds no model"),
        (b"{}", {}, 400, "not a list of prices"),
        (b"[", {}, 400, "not a list of prices"),
        (file(model("gpt-4o-mini", input_mtok=1)), {}, 409, "can't be priced by this list"),
    ],
)
async def test_a_file_that_is_not_to_be_used_is_refused(
    owner: httpx.AsyncClient, content: bytes, query: dict[str, str], status: int, words: str
):
    refused = await send(owner, content, **query)
    assert refused.status_code == status
    assert words in refused.json()["error"]["message"]
    assert len((await owner.get(VERSIONS)).json()["data"]) == 1


async def test_a_file_is_not_larger_than_any_that_is_published(owner: httpx.AsyncClient):
    assert (await send(owner, b" " * (8 * 1024 * 1024 + 1))).status_code == 413


async def test_an_older_file_can_be_forced(owner: httpx.AsyncClient):
    done = await send(owner, published_on="2026-01-01", force="true")
    assert done.json()["price_version"].startswith(f"{PACKAGE} + file 2026-01-01 ")
    assert await price(owner, "gpt-7") is not None


async def test_what_was_in_force_before_can_be_again(owner: httpx.AsyncClient):
    await send(owner)
    listed = (await owner.get(VERSIONS)).json()["data"]
    assert [(one["id"], one["is_chosen"], one["is_in_force"]) for one in listed] == [
        (sha256(FILE).hexdigest()[:8], True, True),
        ("package", False, False),
    ]
    back = (await owner.post(f"{VERSIONS}/package/activate")).json()
    assert (back["price_version"], back["gone"]) == (PACKAGE, ["openai/gpt-7"])
    assert await price(owner, "gpt-7") is None
    again = (await owner.post(f"{VERSIONS}/{listed[0]['id']}/activate")).json()
    assert again["new"] == ["openai/gpt-7"]
    assert await price(owner, "gpt-7") is not None


@pytest.mark.parametrize("version", ["00000000", "nonsense", "ab", "%25"])
async def test_a_list_that_is_not_there_is_not_found(owner: httpx.AsyncClient, version: str):
    assert (await owner.post(f"{VERSIONS}/{version}/activate")).status_code == 404


async def test_a_reader_may_look_and_not_change(clients: Clients):
    reader = await clients.bearer("admin:read")
    assert (await reader.get(PATH)).status_code == 200
    assert (await send(reader)).status_code == 403
    assert (await reader.post(f"{VERSIONS}/package/activate")).status_code == 403


async def test_the_same_file_keeps_its_first_day(owner: httpx.AsyncClient):
    first = (await send(owner)).json()["price_version"]
    assert (await send(owner, published_on="2026-11-22")).json()["price_version"] == first
    assert date.fromisoformat(first.split()[-2]) == date(2026, 11, 20)
