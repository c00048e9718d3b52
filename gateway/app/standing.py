"""From the configuration to what the exchange works by: models, prices, adapters, limits, time-outs."""

from collections.abc import Mapping
from datetime import date
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from msgspec import structs

from gateway.config import Config
from gateway.config.sections import (
    PriceOverride,
    ProviderSettings,
    Timeouts as ConfiguredTimeouts,
)
from gateway.config.wording import child, invalid
from gateway.core.calls import Timeouts
from gateway.core.health import Circuit
from gateway.core.ids import ModelName, Provider
from gateway.core.limits import Limits, OnExcess
from gateway.core.pricing import CliffOverride, Override, PriceBook
from gateway.core.routing import Directory, WeightedModel, directory, spoken
from gateway.exchange.doors import Door, Terms
from gateway.exchange.progress import Standing
from gateway.providers import catalog
from gateway.providers.adapter import Adapter
from gateway.providers.hosts.bedrock import Account
from gateway.remote import signing
from gateway.remote.upstream import Place
from gateway.store import prices
from gateway.store.price_lists import PriceList

_PORTS = {"http": 80, "https": 443}


def standing(config: Config, today: date, listed: PriceList | None = None) -> Standing:
    """Return what a configuration says of models and providers, priced by a list (None: the package's).

    Raises:
        ConfigurationInvalid: a price is incomplete, or a fallback has none and could never be tried.
    """
    urls = {name: provider.base_url for name, provider in config.providers.items()}
    overrides = {ModelName(name): _override(price) for name, price in config.prices.items()}
    book = prices.compile_book(urls, overrides, today, listed)
    fallbacks = {alias: route.fallbacks for alias, route in config.models.items()}
    _check_priced(fallbacks, book)
    whole = directory(book, config.providers, _aliases(config), fallbacks)
    adapters = {name: _adapter(config, name) for name in config.providers}
    return Standing(
        directory=whole,
        spoken={dialect: _spoken(whole, config, adapters, dialect) for dialect in catalog.PATHS},
        adapters=adapters,
        timeouts={name: _timeouts(config.timeouts_of(name)) for name in config.providers},
        doors={name: Door(name, _terms(one)) for name, one in config.providers.items()},
        zone=ZoneInfo(config.limits.timezone),
    )


def _spoken(
    whole: Directory, config: Config, adapters: Mapping[Provider, Adapter], dialect: str
) -> Directory:
    """Return what the clients of a dialect can use of a directory."""
    others = {
        name: catalog.PATHS[config.providers[name].dialect]
        for name, adapter in adapters.items()
        if dialect not in adapter.speaks
    }
    return spoken(whole, others)


def _terms(provider: ProviderSettings) -> Terms:
    """Return on what terms a provider is asked."""
    key, circuit = provider.key, provider.circuit
    return Terms(
        base_url=provider.base_url,
        keys=provider.keys if key is None else (key,),
        circuit=None if circuit is None else Circuit(circuit.failures, circuit.cool_down_ms / 1000),
        retries=provider.retries,
        most_at_once=provider.max_concurrent,
    )


def limits(config: Config, now: Limits) -> Limits:
    """Return the limits that hold now, with a configuration's in the place of its own."""
    configured = config.limits
    return structs.replace(
        now,
        request_cap=configured.request_nusd,
        run_cap=configured.run_nusd,
        output_ceiling=configured.output_tokens,
        over_ceiling=OnExcess(configured.over_ceiling),
        short_budget=OnExcess(configured.short_budget),
        require_run=configured.require_run,
    )


def places(config: Config) -> Mapping[Place, Provider]:
    """Return which provider is behind each host and port."""
    return {_place(provider.base_url): name for name, provider in config.providers.items()}


def stock_places(config: Config) -> frozenset[Place]:
    """Return the hosts and ports that are to be reached by stock httpx."""
    providers = config.providers.values()
    return frozenset(_place(one.base_url) for one in providers if one.http_client == "httpx")


def _place(base_url: str) -> Place:
    url = urlsplit(base_url)
    return url.hostname or "", url.port or _PORTS.get(url.scheme, 0)


def _adapter(config: Config, name: Provider) -> Adapter:
    provider = config.providers[name]
    account = None
    if provider.aws is not None:
        signing.require()
        account = Account(provider.aws.region)
    return catalog.adapter(
        name,
        provider.dialect,
        provider.base_url,
        reports_usage=provider.usage_in_stream,
        aws=account,
    )


def _aliases(config: Config) -> dict[str, tuple[WeightedModel, ...]]:
    return {
        alias: tuple(WeightedModel(target.model, target.weight) for target in route.targets)
        for alias, route in config.models.items()
    }


def _check_priced(fallbacks: Mapping[str, tuple[ModelName, ...]], book: PriceBook) -> None:
    for alias, models in fallbacks.items():
        for index, model in enumerate(models):
            if model not in book.models:
                path = f"{child('$.models', alias)}.fallbacks[{index}]"
                raise invalid(
                    path, "a model without a price", "a priced model, or one under prices"
                )


def _timeouts(configured: ConfiguredTimeouts) -> Timeouts:
    return Timeouts(
        configured.connect_ms / 1000,
        configured.first_byte_ms / 1000,
        configured.idle_ms / 1000,
        configured.total_ms / 1000,
    )


def _override(price: PriceOverride) -> Override:
    """Return a configured price as the price book takes it: the same fields, the same numbers."""
    fields = structs.asdict(price)
    above = fields.pop("above")
    tiers = dict(fields.pop("tiers_ppm"))  # the default is a read-only view, which has no JSON
    cliff = None if above is None else CliffOverride(**structs.asdict(above))
    return Override(**fields, above=cliff, tiers_ppm=tiers)
