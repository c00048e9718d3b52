"""A file of prices is believed whole or not at all."""

import json
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data import providers as vendors
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    Provider as Vendor,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given, strategies as st

from gateway.core.ids import Provider
from gateway.store.price_files import read
from gateway.store.price_lists import NotPrices, digest
from gateway.store.prices import compile_book

DAY = date(2026, 11, 20)
NAMES = {
    ClauseEquals: "equals",
    ClauseStartsWith: "starts_with",
    ClauseEndsWith: "ends_with",
    ClauseContains: "contains",
    ClauseRegex: "regex",
}


def written(of: Sequence[Vendor]) -> bytes:
    """Return vendors as the project genai-prices writes them."""
    return json.dumps([vendor(one) for one in of], default=float).encode()


def vendor(one: Vendor) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "api_pattern": one.api_pattern,
        "extractors": [{"api_flavor": "default"}],
        "models": [info(each) for each in one.models],
    }


def info(one: ModelInfo) -> dict[str, Any]:
    prices: Any = one.prices
    found = {
        "id": one.id,
        "match": clause(one.match),
        "context_window": one.context_window,
        "prices": amounts(prices)
        if isinstance(prices, ModelPrice)
        else [{**limit(each.constraint), "prices": amounts(each.prices)} for each in prices],
        "price_variants": [
            {"when": each.when, "prices": amounts(each.prices), **limit(each.constraint)}
            for each in one.price_variants or ()
        ],
    }
    return {name: value for name, value in found.items() if value or name == "prices"}


def clause(one: MatchLogic) -> dict[str, Any]:
    match one:
        case ClauseOr():
            return {"or": [clause(part) for part in one.or_]}
        case ClauseAnd():
            return {"and": [clause(part) for part in one.and_]}
        case _:
            name = NAMES[type(one)]
            return {name: getattr(one, name)}


def amounts(prices: ModelPrice) -> dict[str, Any]:
    return {unit: amount(price) for unit, price in vars(prices).items() if price is not None}


def amount(price: Any) -> Any:  # noqa: ANN401  # a number, or one with tiers
    if not isinstance(price, TieredPrices):
        return price
    tiers = [{"start": tier.start, "price": tier.price} for tier in price.tiers]
    return {"base": price.base, "tiers": tiers}


def limit(one: object) -> dict[str, Any]:
    match one:
        case StartDateConstraint():
            return {"constraint": {"start_date": str(one.start_date)}}
        case TimeOfDateConstraint():
            times = {"start_time": one.start_time, "end_time": one.end_time}
            return {"constraint": {name: value.isoformat() for name, value in times.items()}}
        case _:
            return {}


def test_what_was_written_is_read_and_prices_the_same():
    content = written(vendors)
    listed = read(content, DAY, "genai-prices 1.2.3")
    assert listed.version == f"genai-prices 1.2.3 + file {DAY} {digest(content)[:8]}"
    assert listed.published_on == DAY
    places = {Provider(one.id): "http://localhost/v1" for one in vendors}
    ours, theirs = (compile_book(places, {}, DAY, given) for given in (listed, None))
    assert ours.models == theirs.models
    assert len(ours.models) > 2000


MODEL = {
    "id": "m",
    "match": {"or": [{"equals": "m"}, {"starts_with": "m-"}]},
    "prices": {"input_mtok": 1.5, "output_mtok": {"base": 2, "tiers": [{"start": 9, "price": 3}]}},
}
VENDOR = {"id": "v", "name": "V", "api_pattern": "https://v", "models": [MODEL]}


def test_amounts_are_exact():
    content = json.dumps([VENDOR]).replace("1.5", "0.100000000000000001").encode()
    (one,) = read(content, DAY, "p").vendors[0].models
    assert vars(one.prices)["input_mtok"] == Decimal("0.100000000000000001")


def model(**changed: object) -> list[dict[str, object]]:
    return [{**VENDOR, "models": [{**MODEL, **changed}]}]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "no model"),
        ([{**VENDOR, "models": []}], "no model"),
        ({}, "Expected `array`"),
        ([VENDOR, VENDOR], "twice"),
        ([{**VENDOR, "surcharge": 2}], "unknown field `surcharge`"),
        (model(surcharge=2), "unknown field `surcharge`"),
        (model(prices={"input_mtok": -1}), "which nothing costs"),
        (model(prices={"input_mtok": 1e7}), "which nothing costs"),
        (model(prices={"input_mtok": True}), "Expected"),
        (model(prices={"input_mtok": "NaN"}), "which nothing costs"),
        (model(prices=[]), "empty"),
        (model(prices={"input_mtok": {"base": 1, "tiers": [], "more": 1}}), "unknown field `more`"),
        (
            model(
                prices={
                    "input_mtok": {
                        "base": 1,
                        "tiers": [{"start": 5, "price": 1}, {"start": 5, "price": 2}],
                    }
                }
            ),
            "do not ascend",
        ),
        (model(prices=[{"prices": {}, "constraint": {}}]), "neither a day nor a time"),
        (model(prices=[{"prices": {}, "constraint": {"start_time": "10:00:00"}}]), "neither a day"),
        (model(match={}), "exactly one thing"),
        (model(match={"equals": "m", "contains": "m"}), "exactly one thing"),
        (model(match={"regex": "("}), "no regular expression"),
        (model(match={"regex": "a" * 501}), "longer than any"),
        (model(context_window=0), "not above zero"),
        (model(price_variants=[{"when": {}, "prices": {}}]), "when"),
        ([{**VENDOR, "api_pattern": "("}], "no regular expression"),
    ],
)
def test_what_is_not_exactly_a_list_is_refused(document: object, words: str):
    with pytest.raises(NotPrices, match=words):
        read(json.dumps(document).encode(), DAY, "p")


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b'[{"id": "v", "id": "w"}]', b"[" * 20_000, b"null", b"[NaN]"]
)
def test_what_is_no_json_that_everyone_reads_alike_is_refused(content: bytes):
    with pytest.raises(NotPrices):
        read(content, DAY, "p")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(MODEL)), JSON)
def test_whatever_stands_in_a_place_is_read_or_refused(member: str, value: object):
    try:
        listed = read(json.dumps(model(**{member: value})).encode(), DAY, "p")
    except NotPrices:
        return
    assert len(listed.vendors) == 1


def test_a_unit_that_is_new_leaves_out_its_model_alone():
    priced = {"input_mtok": 1, "output_mtok": 2}
    odd = {**MODEL, "id": "odd", "match": {"equals": "odd"}, "prices": {**priced, "qubits": 1}}
    content = json.dumps([{**VENDOR, "models": [MODEL, odd]}]).encode()
    book = compile_book({Provider("v"): "https://v/v1"}, {}, DAY, read(content, DAY, "p"))
    assert set(book.models) == {"v/m"}
    assert book.version.startswith("p + file 2026-11-20 ")


def test_hours_and_days_are_read():
    hours = {"start_time": "06:00:00", "end_time": "18:00:00"}
    listed = [
        {"prices": {"input_mtok": 1}},
        {"prices": {"input_mtok": 2}, "constraint": {"start_date": "2026-01-02"}},
        {"prices": {"input_mtok": 3}, "constraint": hours},
    ]
    (one,) = read(json.dumps(model(prices=listed)).encode(), DAY, "p").vendors[0].models
    assert isinstance(one.prices, list)
    assert [each.constraint for each in one.prices] == [
        None,
        StartDateConstraint(date(2026, 1, 2)),
        TimeOfDateConstraint(time(6), time(18)),
    ]
