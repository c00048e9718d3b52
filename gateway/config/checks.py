"""What no single value shows: parts that contradict each other, and what this release can't do yet."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from gateway.config.forms import VAULT
from gateway.config.sections import Config
from gateway.config.wording import child, did_you_mean, invalid
from gateway.core.secret import Secret
from gateway.errors import ConfigurationInvalid


def check(config: Config) -> None:
    """Let a configuration pass that holds together and asks only for what there is.

    Raises:
        ConfigurationInvalid: the first thing that does not.
    """
    for row in NOT_YET:
        for path, found in row.where(config):
            raise invalid(path, f"{found}, which is not supported by this release", row.allowed)
    for contradictions in _CONTRADICTIONS:
        for line in contradictions(config):
            raise line


class NotYet(NamedTuple):
    """One thing that the configuration can say and this release can't do: refused, never ignored."""

    allowed: str
    where: Callable[[Config], Iterator[tuple[str, str]]]
    """Yields the path and what was found there."""


def _keys_in_the_vault(config: Config) -> Iterator[tuple[str, str]]:
    for name, provider in config.providers.items():
        path = child("$.providers", name)
        if provider.key == Secret(VAULT):
            yield f"{path}.key", VAULT
        for index, key in enumerate(provider.keys):
            if key == Secret(VAULT):
                yield f"{path}.keys[{index}]", VAULT


def _stored_content(config: Config) -> Iterator[tuple[str, str]]:
    if config.privacy.allow_content:
        yield "$.privacy.allow_content", "true"


def _sent_aggregates(config: Config) -> Iterator[tuple[str, str]]:
    if config.aggregates.enabled:
        yield "$.aggregates.enabled", "true"


NOT_YET: Final = (
    NotYet('the key itself, best as "${NAME}"', _keys_in_the_vault),
    NotYet("false", _stored_content),
    NotYet("false", _sent_aggregates),
)


def _shared_port(config: Config) -> Iterator[ConfigurationInvalid]:
    port = config.listen.port
    if port and port == config.listen.ops_port:
        yield invalid("$.listen.ops_port", f"{port}, which is listen.port", "another port, or 0")


def _doubled_keys(config: Config) -> Iterator[ConfigurationInvalid]:
    for name, provider in config.providers.items():
        path = f"{child('$.providers', name)}.keys"
        if provider.keys and provider.key is not None:
            yield invalid(path, "keys besides a key", "one or the other")
        for index, key in enumerate(provider.keys):
            if key in provider.keys[:index]:
                yield invalid(f"{path}[{index}]", "the same key twice", "each key once")


def _misplaced_aws(config: Config) -> Iterator[ConfigurationInvalid]:
    for name, provider in config.providers.items():
        path = f"{child('$.providers', name)}.aws"
        if provider.aws is not None and provider.dialect != "bedrock":
            yield invalid(path, f"aws of a provider that speaks {provider.dialect}", "none")
        if provider.aws is not None and (provider.key is not None or provider.keys):
            yield invalid(path, "aws besides a key", "one or the other")


def _taken_names(config: Config) -> Iterator[ConfigurationInvalid]:
    for name in config.models:
        provider, slash, _ = name.partition("/")
        if slash and provider in config.providers:
            found = f"a name that reads as a model of the provider {provider}"
            yield invalid(child("$.models", name), found, "a name of its own")


def _weightless_routes(config: Config) -> Iterator[ConfigurationInvalid]:
    for name, route in config.models.items():
        if not any(target.weight for target in route.targets):
            path = f"{child('$.models', name)}.targets"
            yield invalid(path, "only weights of 0", "at least one above 0")


def _lost_targets(config: Config) -> Iterator[ConfigurationInvalid]:
    for name, route in config.models.items():
        for index, target in enumerate(route.targets):
            path = f"{child('$.models', name)}.targets[{index}].model"
            yield from _lost(path, target.model, config)


def _lost(path: str, model: str, config: Config) -> Iterator[ConfigurationInvalid]:
    provider = model.partition("/")[0]
    if provider not in config.providers:
        known = ", ".join(config.providers)
        near = did_you_mean(provider, config.providers)
        # Not quoted: a model's name may have come from the environment.
        yield invalid(path, "a provider that is not configured", f"one of {known}{near}")


def _bad_fallbacks(config: Config) -> Iterator[ConfigurationInvalid]:
    for name, route in config.models.items():
        sole = {target.model for target in route.targets} if len(route.targets) == 1 else set()
        for index, model in enumerate(route.fallbacks):
            path = f"{child('$.models', name)}.fallbacks[{index}]"
            if model in config.models:
                yield invalid(path, "a name under models", "provider/model itself")
            yield from _lost(path, model, config)
            if model in route.fallbacks[:index]:
                yield invalid(path, "the same model twice", "each model once")
            if model in sole:
                yield invalid(path, "the one target itself", "another model")


def _unordered_thresholds(config: Config) -> Iterator[ConfigurationInvalid]:
    percents = config.limits.alert_at
    if any(low >= high for low, high in pairwise(percents)):
        found = ", ".join(map(str, percents[:8]))
        yield invalid("$.limits.alert_at", found, "each above the one before, such as 50, 80, 100")


_CONTRADICTIONS: Final = (
    _shared_port,
    _doubled_keys,
    _misplaced_aws,
    _taken_names,
    _weightless_routes,
    _lost_targets,
    _bad_fallbacks,
    _unordered_thresholds,
)
