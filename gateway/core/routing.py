"""Which model a client means: an operator's name, `provider/model`, or a bare name that is unique."""

from bisect import bisect
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import Final

import msgspec
from msgspec import structs

from gateway.core.ids import ModelName, Provider
from gateway.core.pricing import Model, PriceBook
from gateway.core.refusal import Code, Refused

_SHOWN: Final = 5
"""A refusal names so many models at most."""


class WeightedModel(msgspec.Struct, frozen=True):
    """One of the models behind an operator's name. Weights are relative, ≥ 0, not all 0."""

    model: ModelName
    weight: int


def _always(provider: Provider) -> bool:
    del provider
    return True


class Directory(msgspec.Struct, frozen=True):
    """Every name a client may use. `bare` maps a model's own name to all providers' that have it.

    `fallbacks` are the models that answer under an operator's name when the one picked fails.
    """

    book: PriceBook
    providers: frozenset[Provider]
    aliases: Mapping[str, tuple[WeightedModel, ...]]
    bare: Mapping[str, tuple[ModelName, ...]]
    fallbacks: Mapping[str, tuple[ModelName, ...]] = msgspec.field(default_factory=dict)
    elsewhere: Mapping[Provider, str] = msgspec.field(default_factory=dict)
    """The providers that speak another API than this directory's clients, and the path it is under."""

    def find(
        self, asked: str, sticky: str, is_open: Callable[[Provider], bool] = _always
    ) -> Model | Refused:
        """Return the model that a name means; `sticky` (a run, else a call) picks among weights.

        Where the provider that it picks is not open, it picks among those that are, if any is.
        """
        name = self._named(asked, sticky, is_open)
        if isinstance(name, Refused):
            return name
        model = self.book.models.get(name)
        return model if model is not None else self._unpriced(name)

    def fallbacks_of(self, asked: str, picked: Model) -> tuple[Model, ...]:
        """Return the models to try in turn when the one picked for a name fails: never itself."""
        names = self.fallbacks.get(asked)
        if not names:
            return ()
        return tuple(self.book.models[name] for name in names if name != picked.name)

    def sibling(self, model: Model, upstream_name: str) -> Model | None:
        """Return another model of the same provider, by the provider's own name for it."""
        if upstream_name == model.upstream_name:
            return None
        return self.book.models.get(ModelName(f"{model.provider}/{upstream_name}"))

    def is_priced(self, name: str) -> bool:
        """Return whether a name is the operator's, or a model's full name."""
        return name in self.aliases or name in self.book.models

    def names(self) -> list[str]:
        """Return the operator's names and every priced model, as a listing shows them."""
        return [*self.aliases, *self.book.models]

    def _named(
        self, asked: str, sticky: str, is_open: Callable[[Provider], bool]
    ) -> ModelName | Refused:
        targets = self.aliases.get(asked)
        if targets is not None:
            return _pick_open(targets, sticky, is_open)
        if asked in self.book.models:
            return ModelName(asked)
        candidates = self.bare.get(asked, ())
        if len(candidates) == 1:
            return candidates[0]
        if len(candidates) > 1:
            return Refused(
                Code.MODEL_NOT_FOUND,
                f"Several providers sell this model; ask for one of {', '.join(candidates[:_SHOWN])}.",
                param="model",
            )
        return ModelName(asked)

    def _unpriced(self, name: ModelName) -> Refused:
        provider = _seller(name)
        if "/" in name and provider in self.elsewhere:
            return Refused(
                Code.MODEL_NOT_FOUND,
                f"The provider {provider} speaks another API than this call does; send calls of its "
                f"models under {self.elsewhere[provider]}.",
                param="model",
            )
        if "/" in name and provider in self.providers:
            return Refused(
                Code.PRICE_UNKNOWN,
                f"No price is known for this model of {provider}, so its cost can't be bounded. "
                "Add it under prices: in the configuration, or ask for a priced model.",
                param="model",
            )
        return Refused(
            Code.MODEL_NOT_FOUND,
            f"This model is not enabled here. Enabled: {_some(self.names())}.",
            param="model",
        )


def _some(names: list[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return shown if more <= 0 else f"{shown} and {more} more, which the listing of models has"


def directory(
    book: PriceBook,
    providers: Iterable[Provider],
    aliases: Mapping[str, tuple[WeightedModel, ...]],
    fallbacks: Mapping[str, tuple[ModelName, ...]] | None = None,
) -> Directory:
    """Return the directory of a price book, with its bare names worked out.

    Every fallback must be in the book.
    """
    bare: dict[str, list[ModelName]] = {}
    for name, model in book.models.items():
        bare.setdefault(model.upstream_name, []).append(name)
    return Directory(
        book,
        frozenset(providers),
        aliases,
        {name: tuple(models) for name, models in bare.items()},
        fallbacks or {},
    )


def spoken(whole: Directory, elsewhere: Mapping[Provider, str]) -> Directory:
    """Return what of a directory the clients of one API can use.

    `elsewhere` are the providers that don't speak it, each with the path that its API is under here.
    """
    models = {
        name: model for name, model in whole.book.models.items() if model.provider not in elsewhere
    }
    aliases = {
        alias: tuple(target for target in targets if _seller(target.model) not in elsewhere)
        for alias, targets in whole.aliases.items()
    }
    usable = {
        alias: targets for alias, targets in aliases.items() if any(each.weight for each in targets)
    }
    fallbacks = {
        alias: tuple(name for name in names if name in models)
        for alias, names in whole.fallbacks.items()
    }
    found = directory(
        structs.replace(whole.book, models=models),
        whole.providers - elsewhere.keys(),
        usable,
        fallbacks,
    )
    return structs.replace(found, elsewhere=elsewhere)


def _seller(name: ModelName) -> Provider:
    return Provider(name.partition("/")[0])


def _pick_open(
    targets: tuple[WeightedModel, ...], sticky: str, is_open: Callable[[Provider], bool]
) -> ModelName:
    """Return the pick among all, where it is open: who was moved away comes back by this alone."""
    picked = pick(targets, sticky)
    if is_open(_seller(picked)):
        return picked
    others = tuple(each for each in targets if each.weight and is_open(_seller(each.model)))
    return pick(others, sticky) if others else picked


def pick(targets: tuple[WeightedModel, ...], sticky: str) -> ModelName:
    """Return one of some models, in proportion to their weights, always the same for one `sticky`."""
    marks = list(accumulate(target.weight for target in targets))
    point = int.from_bytes(blake2b(sticky.encode(), digest_size=8).digest()) % marks[-1]
    return targets[bisect(marks, point)].model
