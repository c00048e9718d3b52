"""Prices: what each model costs here, what is missing, and which list of prices is in force."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from msgspec import Meta

from gateway.core.ids import ModelName
from gateway.core.money import to_usd
from gateway.core.price_changes import Changes, Gap
from gateway.core.pricing import Model, Rates
from gateway.errors import ConfigurationInvalid
from gateway.store.price_choices import File, Kept
from gateway.store.price_lists import MOST_FILE_BYTES, NotPrices, PriceList, digest as digest_of
from gateway.web import reading
from gateway.web.gate import visitor_of
from gateway.web.pricing import Source
from gateway.web.problems import CONFLICT, Problem, invalid, not_found
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import Services, services_of
from gateway.web.shapes import Digest, Page, Paging, Query, answer

PACKAGE: Final = "package"
"""The id of the list that came with the release."""
_SHOWN_DIGITS: Final = 8

Days = Annotated[int, Meta(ge=0, le=3650)]
ModelText = Annotated[str, Meta(min_length=1, max_length=300)]


class PricesQuery(Paging, frozen=True, kw_only=True):
    """Of one provider, or of one model: by its full name, or by the one that its provider has for it."""

    provider: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    model: ModelText | None = None


class PriceRates(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars per million tokens, `per_request` per request: in a tier, above so much input."""

    tier: str
    above_tokens: int | None
    input: str
    cached_input: str
    cache_write: str
    cache_write_1h: str
    audio_input: str
    cached_audio_input: str
    output: str
    audio_output: str
    image_output: str
    per_request: str


class PricedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model. `hidden_reasoning`: it may bill output that a stream never shows."""

    model: ModelName
    source: Source
    price_version: str
    context_tokens: int | None
    max_output_tokens: int | None
    hidden_reasoning: bool
    rates: list[PriceRates]


class CheckQuery(Query, frozen=True, kw_only=True):
    """How many days old published prices may be."""

    days: Days = 60


class PriceFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a price book leaves open."""

    kind: Gap
    subject: str
    message: str


class PriceCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the book in force leaves open."""

    price_version: str
    published_on: date
    models: int
    findings: list[PriceFinding]


class UpdateQuery(Query, frozen=True, kw_only=True):
    """Of which day a file's prices are, and which file it must be.

    `force` takes one that is older than what is in force, and keeps it in force when a release brings
    a later list; `dry_run` changes nothing.
    """

    published_on: date
    sha256: Digest | None = None
    force: bool = False
    dry_run: bool = False


class PriceUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What another list changes here, models by name; `is_in_force` is false for a dry run."""

    price_version: str
    before: str
    published_on: date
    is_in_force: bool
    new: Sequence[ModelName]
    dearer: Sequence[ModelName]
    cheaper: Sequence[ModelName]
    changed: Sequence[ModelName]
    gone: Sequence[ModelName]


class PriceVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A list of prices that can be put in force; `is_chosen` says that it was, everywhere.

    It is not in force nevertheless where the release has a later list, or can't read it.
    """

    id: str
    published_on: date
    sha256: str | None
    added_at: datetime | None
    added_by: str | None
    is_chosen: bool
    is_in_force: bool


@route(
    "GET",
    f"{API}/prices",
    Described("List what models cost here", query=PricesQuery, answer=Page[PricedModel]),
)
async def listing(request: Sender) -> Response[bytes]:
    """List what models cost."""
    query = reading.query(request, PricesQuery)
    pricing = services_of(request).pricing
    book = pricing.book
    names = sorted(name for name, model in book.models.items() if _is_meant(model, query))
    after = [name for name in names if query.cursor is None or name > query.cursor]
    shown = [
        _shown(book.models[name], pricing.source(name), book.version)
        for name in after[: query.limit]
    ]
    return answer(Page(shown, shown[-1].model if len(after) > query.limit else None))


@route(
    "GET",
    f"{API}/prices/check",
    Described("List what the prices leave open", query=CheckQuery, answer=PriceCheck),
)
async def check(request: Sender) -> Response[bytes]:
    """List what the prices leave open."""
    query = reading.query(request, CheckQuery)
    pricing = services_of(request).pricing
    found = await pricing.findings(query.days)
    return answer(
        PriceCheck(
            price_version=pricing.book.version,
            published_on=(await pricing.in_force()).published_on,
            models=len(pricing.book.models),
            findings=[PriceFinding(**msgspec.structs.asdict(one)) for one in found],
        )
    )


@route(
    "POST",
    f"{API}/prices",
    Described(
        "Put a file of prices in force everywhere (data.json of genai-prices)",
        query=UpdateQuery,
        body=list[dict[str, Any]],
        answer=PriceUpdate,
    ),
)
async def update(request: Sender) -> Response[bytes]:
    """Put a file of prices in force, or say what it would change."""
    query = reading.query(request, UpdateQuery)
    services, actor = services_of(request), visitor_of(request).actor
    content = await reading.raw_body(request, MOST_FILE_BYTES)
    choice = await services.prices.current()
    file = await _file(content, query, services)
    listed = await _read(content, file, services)
    present = await services.pricing.in_force()
    if listed.published_on < present.published_on and not query.force:
        message = f"These prices are of {listed.published_on}, and those in force of {present.published_on}."
        raise Problem(CONFLICT, f"{message} Say force to use them.", param="published_on")
    changed = await _changes(listed, services)
    before = services.pricing.book.version
    if not query.dry_run:
        if not await services.prices.add(
            file, content, actor, after=choice.seq, is_forced=query.force
        ):
            raise Problem(
                CONFLICT, "Another list was chosen at the same time. Look, and try again."
            )
        await services.pricing.refresh()
    return answer(_updated(listed, before, changed, is_in_force=not query.dry_run))


@route(
    "GET",
    f"{API}/prices/versions",
    Described("List the lists of prices", answer=Page[PriceVersion]),
)
async def versions(request: Sender) -> Response[bytes]:
    """List every list of prices that can be put in force, the latest first."""
    services = services_of(request)
    chosen = (await services.prices.current()).file
    packaged, present = await services.pricing.packaged(), await services.pricing.in_force()
    found = [
        PriceVersion(
            id=PACKAGE,
            published_on=packaged.published_on,
            sha256=None,
            added_at=None,
            added_by=None,
            is_chosen=chosen is None,
            is_in_force=present.version == packaged.version,
        ),
        *(_kept(kept, chosen, present) for kept in await services.prices.kept()),
    ]
    return answer(Page(sorted(found, key=lambda one: one.published_on, reverse=True)))


@route(
    "POST",
    f"{API}/prices/versions/{{version:str}}/activate",
    Described("Put a list of prices in force everywhere, whatever its day", answer=PriceUpdate),
)
async def activate(request: Sender) -> Response[bytes]:
    """Put a list in force that was so before, or the one that came with the release."""
    await reading.no_body(request)
    services, actor = services_of(request), visitor_of(request).actor
    file = await _named(request.path_params["version"], services)
    if file is None:
        listed = await services.pricing.packaged()
    else:
        listed = await _read(await services.prices.content(file), file, services)
    changed, before = await _changes(listed, services), services.pricing.book.version
    await services.prices.activate(file, actor)
    await services.pricing.refresh()
    return answer(_updated(listed, before, changed, is_in_force=True))


def _is_meant(model: Model, query: PricesQuery) -> bool:
    return query.provider in {None, model.provider} and query.model in {
        None,
        model.name,
        model.upstream_name,
    }


def _shown(model: Model, source: Source, version: str) -> PricedModel:
    return PricedModel(
        model=model.name,
        source=source,
        price_version=version,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        hidden_reasoning=model.hidden_reasoning,
        rates=[_rates(tier, above, rates) for tier, above, rates in _levels(model)],
    )


def _levels(model: Model) -> Iterator[tuple[str, int | None, Rates]]:
    for tier, schedule in model.tiers.items():
        yield tier, None, schedule.base
        for tokens, rates in schedule.above:
            yield tier, tokens, rates


def _rates(tier: str, above: int | None, rates: Rates) -> PriceRates:
    dollars = {field: to_usd(getattr(rates, field)) for field in Rates.__struct_fields__}
    return PriceRates(tier=tier, above_tokens=above, **dollars)


async def _file(content: bytes, query: UpdateQuery, services: Services) -> File:
    """Return what a file is; raises Problem where it is not the one that was meant, or of the future."""
    digest = digest_of(content)
    if query.sha256 not in {None, digest}:
        raise invalid(f"The SHA-256 of this file is {digest}, not the one that was said.", "sha256")
    if query.published_on > (services.now() + timedelta(days=1)).date():
        raise invalid("Prices can't be of a day to come.", "published_on")
    return await services.prices.named(digest) or File(
        sha256=digest, published_on=query.published_on
    )


async def _read(content: bytes, file: File, services: Services) -> PriceList:
    try:
        return await services.pricing.read(content, file.published_on)
    except NotPrices as error:
        raise invalid(f"This is not a list of prices: {error}.") from None


async def _changes(listed: PriceList, services: Services) -> Changes:
    try:
        return await services.pricing.compare(listed)
    except ConfigurationInvalid as error:
        message = f"The configuration can't be priced by this list: {error}."
        raise Problem(CONFLICT, message) from None


async def _named(text: str, services: Services) -> File | None:
    """Return the file that an id means, None for the package; raises Problem."""
    if text == PACKAGE:
        return None
    is_id = len(text) >= _SHOWN_DIGITS and set(text) <= set("0123456789abcdef")
    file = await services.prices.named(text) if is_id else None
    if file is None:
        raise not_found("list of prices")
    return file


def _updated(listed: PriceList, before: str, changed: Changes, *, is_in_force: bool) -> PriceUpdate:
    return PriceUpdate(
        price_version=listed.version,
        before=before,
        published_on=listed.published_on,
        is_in_force=is_in_force,
        **msgspec.structs.asdict(changed),
    )


def _kept(kept: Kept, chosen: File | None, present: PriceList) -> PriceVersion:
    shown = kept.sha256[:_SHOWN_DIGITS]
    return PriceVersion(
        id=shown,
        published_on=kept.published_on,
        sha256=kept.sha256,
        added_at=kept.added_at,
        added_by=kept.added_by,
        is_chosen=chosen is not None and chosen.sha256 == kept.sha256,
        is_in_force=present.version.endswith(f" + file {kept.published_on} {shown}"),
    )
