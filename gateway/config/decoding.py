"""A tree to structs, strictly, following the structs' own types as msgspec describes them.

msgspec's own decoder names neither the key of a mapping nor what was found, and would see texts with
the environment already in them; here each of the three is known at the place where it is needed.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec
from msgspec import inspect

from gateway.config import forms
from gateway.config.forms import Form, Unfit
from gateway.config.wording import ROOT, Tree, child, invalid, shown, unknown_key

T = TypeVar("T", bound=msgspec.Struct)
_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|\$\{")
_ABSENT: Final = "no key"


def decode(kind: type[T], tree: Mapping[str, Tree], environ: Mapping[str, str]) -> T:
    """Return the struct that a tree describes.

    Raises:
        ConfigurationInvalid: an unknown key, a wrong type, an impossible value, a variable unset.
    """
    described = inspect.type_info(kind)
    built = _Decoder(environ).value(described, dict(tree), ROOT)
    if not isinstance(built, kind):
        message = f"{kind} was decoded to {type(built)}"
        raise TypeError(message)
    return built


class _Decoder:
    """Walks a type and a tree together. Only the environment is kept."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def value(self, kind: inspect.Type, found: Tree, path: str, *, or_null: str = "") -> object:
        """Return the value of a node. `or_null` ends what a line calls allowed."""
        match kind:
            case inspect.Metadata(extra={forms.MARK: Form() as form}):
                return self._written(form, found, path, or_null)
            case inspect.Metadata(type=inner):
                return self.value(inner, found, path, or_null=or_null)
            case inspect.UnionType(types=(inner, inspect.NoneType())):
                return None if found is None else self.value(inner, found, path, or_null=" or null")
            case inspect.StructType() | inspect.DictType() | inspect.VarTupleType():
                return self._container(kind, found, path)
            case _:
                return self._plain(kind, found, path, or_null)

    def _container(
        self,
        kind: inspect.StructType | inspect.DictType | inspect.VarTupleType,
        found: Tree,
        path: str,
    ) -> object:
        if isinstance(kind, inspect.VarTupleType):
            if not isinstance(found, list):
                raise invalid(path, shown(found), "a list")
            return self._items(kind, found, path)
        if not isinstance(found, dict):
            raise invalid(path, shown(found), "a mapping")
        if isinstance(kind, inspect.StructType):
            return self._section(kind, found, path)
        return self._mapping(kind, found, path)

    def _section(self, kind: inspect.StructType, found: dict[str, Tree], path: str) -> object:
        fields = {field.encode_name: field for field in kind.fields}
        given: dict[str, object] = {}
        for key, value in found.items():
            if key not in fields:
                raise unknown_key(path, key, fields)
            given[fields[key].name] = self.value(fields[key].type, value, child(path, key))
        for key, field in fields.items():
            if field.required and field.name not in given:
                raise invalid(child(path, key), _ABSENT, _allowed(field.type))
        return kind.cls(**given)

    def _mapping(self, kind: inspect.DictType, found: dict[str, Tree], path: str) -> object:
        values = {}
        for key, value in found.items():
            self._refuse_misnamed(kind.key_type, key, child(path, key))
            values[key] = self.value(kind.value_type, value, child(path, key))
        return MappingProxyType(values)

    def _refuse_misnamed(self, kind: inspect.Type, key: str, path: str) -> None:
        match kind:
            case inspect.Metadata(extra={forms.MARK: Form() as form}):
                try:
                    form.read(key)
                except Unfit:
                    raise invalid(path, "such a key", form.allowed) from None
            case _:
                message = f"the keys at {path} have no form"
                raise TypeError(message)

    def _items(self, kind: inspect.VarTupleType, found: list[Tree], path: str) -> object:
        least = kind.min_length or 0
        if len(found) < least:
            raise invalid(path, f"a list of {len(found)}", f"at least {least}")
        return tuple(
            self.value(kind.item_type, item, child(path, index)) for index, item in enumerate(found)
        )

    def _written(self, form: Form, found: Tree, path: str, or_null: str) -> object:
        is_hidden = form.is_private and isinstance(found, str)
        shown_as = "a text (not shown)" if is_hidden else shown(found)
        if isinstance(found, list | dict):
            raise invalid(path, shown_as, form.allowed + or_null)
        try:
            return form.read(self._expanded(found, path) if isinstance(found, str) else found)
        except Unfit as misfit:
            raise invalid(path, shown_as, str(misfit) or form.allowed + or_null) from None

    def _plain(self, kind: inspect.Type, found: Tree, path: str, or_null: str) -> object:
        value = self._expanded(found, path) if isinstance(found, str) else found
        if not _fits(kind, value):
            raise invalid(path, shown(found), _allowed(kind) + or_null)
        return value

    def _expanded(self, text: str, path: str) -> str:
        """Return a text with `${NAME}` replaced, once, and `$${` as a literal `${`."""

        def replacement(reference: re.Match[str]) -> str:
            if reference["escaped"]:
                return "${"
            if reference["name"] is None:
                raise invalid(path, "${ without a name", "${NAME}, or $${ for the two characters")
            try:
                return self._environ[reference["name"]]
            except KeyError:
                variable = f"${{{reference['name']}}}, which the environment does not set"
                raise invalid(path, variable, "a variable that is set") from None

        return _REFERENCE.sub(replacement, text)


def _fits(kind: inspect.Type, value: Tree) -> bool:
    match kind:
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType(ge=least, le=most):
            return _is_between(value, least, most)
        case inspect.LiteralType(values=words):
            return value in words
        case _:
            message = f"no way to decode {kind}"
            raise TypeError(message)


def _is_between(value: Tree, least: float | None, most: float | None) -> bool:
    if not isinstance(value, int) or isinstance(value, bool) or least is None or most is None:
        return False
    return least <= value <= most


def _allowed(kind: inspect.Type) -> str:  # noqa: PLR0911  # one arm a type
    match kind:
        case inspect.Metadata(extra={forms.MARK: Form() as form}):
            return form.allowed
        case inspect.Metadata(type=inner):
            return _allowed(inner)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number from {least} to {most}"
        case inspect.LiteralType(values=words):
            return f"one of {', '.join(map(str, words))}"
        case inspect.VarTupleType():
            return "a list"
        case _:
            return "a mapping"
