"""What another book changes, and what a book leaves open."""

from datetime import date

import pytest
from msgspec import structs

from gateway.core.ids import ModelName, Provider
from gateway.core.price_changes import Gap, Plan, changes, findings
from gateway.core.pricing import DEFAULT_TIER, Model, PriceBook, Rates, Schedule, Vocabulary

RATES = Rates(
    input=10,
    output=20,
    cached_input=5,
    cache_write=10,
    cache_write_1h=10,
    audio_input=10,
    audio_output=20,
    image_output=20,
)
TODAY = date(2026, 11, 25)


def model(name: str, **tiers: Schedule) -> Model:
    return Model(
        name=ModelName(f"v/{name}"),
        provider=Provider("v"),
        upstream_name=name,
        tiers={DEFAULT_TIER: Schedule(RATES), **tiers},
        max_output_tokens=None,
        context_tokens=1000,
        vocabulary=Vocabulary.UNKNOWN,
        hidden_reasoning=False,
    )


def book(*models: Model) -> PriceBook:
    return PriceBook("v 1", {one.name: one for one in models})


def priced(**rates: int) -> dict[str, Schedule]:
    return {DEFAULT_TIER: Schedule(structs.replace(RATES, **rates))}


CLIFF = {DEFAULT_TIER: Schedule(RATES, ((100, structs.replace(RATES, output=30)),))}


@pytest.mark.parametrize(
    ("then", "kind"),
    [
        ({}, None),
        (priced(cached_input=6), "dearer"),
        (priced(cached_input=4), "cheaper"),
        (priced(input=9, output=21), "dearer"),
        (CLIFF, "dearer"),
        ({"flex": Schedule(structs.replace(RATES, input=1))}, "changed"),
    ],
)
def test_a_model_is_dearer_if_any_of_its_prices_rises(then: dict[str, Schedule], kind: str | None):
    found = structs.asdict(changes(book(model("m")), book(model("m", **then))))
    expected = {name: ("v/m",) if name == kind else () for name in found}
    assert found == expected


def test_a_cliff_that_goes_makes_cheaper():
    assert changes(book(model("m", **CLIFF)), book(model("m"))).cheaper == ("v/m",)


def test_models_come_and_go():
    found = changes(book(model("a"), model("b")), book(model("b"), model("c")))
    assert (found.new, found.gone) == (("v/c",), ("v/a",))


def test_a_window_alone_is_a_change():
    wider = structs.replace(model("m"), context_tokens=2000)
    assert changes(book(model("m")), book(wider)).changed == ("v/m",)


def plan(**given: object) -> Plan:
    whole = {"providers": {"v"}, "wanted": {}, "overrides": (), "plain": book(), "ceiling": None}
    return Plan(**(whole | given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("held", "said", "kinds"),
    [
        (book(model("m")), plan(wanted={"v/m": "models.a"}), []),
        (book(model("m")), plan(wanted={"v/x": "models.a"}), [(Gap.NO_PRICE, "v/x")]),
        (book(model("m")), plan(providers={"v", "w"}), [(Gap.NO_PRICE, "w")]),
        (
            book(structs.replace(model("m"), context_tokens=None)),
            plan(wanted={"v/m": "models.a"}),
            [(Gap.NO_WINDOW, "v/m"), (Gap.NO_MAXIMUM, "v/m")],
        ),
        (
            book(structs.replace(model("m"), context_tokens=None)),
            plan(wanted={"v/m": "models.a"}, ceiling=100),
            [(Gap.NO_WINDOW, "v/m")],
        ),
        (book(model("m")), plan(overrides=("v/m",)), []),
        (
            book(model("m")),
            plan(overrides=("v/m",), plain=book(model("m"))),
            [(Gap.NO_EFFECT, "v/m")],
        ),
        (book(model("m")), plan(overrides=("gone/m",)), [(Gap.NO_EFFECT, "gone/m")]),
    ],
)
def test_what_is_missing_is_found(held: PriceBook, said: Plan, kinds: list[tuple[Gap, str]]):
    found = findings(held, said, TODAY, TODAY, 60)
    assert [(one.kind, one.subject) for one in found] == kinds


@pytest.mark.parametrize(("days", "is_old"), [(24, True), (25, False)])
def test_prices_grow_old(days: int, *, is_old: bool):
    found = findings(book(model("m")), plan(), date(2026, 10, 31), TODAY, days)
    assert [one.kind for one in found] == ([Gap.OLD] if is_old else [])


def test_where_nobody_publishes_prices_none_are_old():
    assert findings(book(model("m")), plan(), None, TODAY, 0) == []
