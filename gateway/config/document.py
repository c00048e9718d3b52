"""YAML bytes to a plain tree, strictly: one document, unique keys, no aliases, no tags.

PyYAML's parser gives the events and this module builds the tree itself, since its constructors are
where YAML surprises: `no` is a text here and not false, `010` and `1:30` are texts and not numbers
(the core schema of YAML 1.2, without octal, hexadecimal and exponents), and a number with a point
keeps the digits that were written. Only `true`, `false`, `null`, `~`, whole numbers and decimals are
not texts; all else is.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import yaml

from gateway.config.wording import ROOT, Tree, child, invalid

MOST_BYTES: Final = 1 << 20
MOST_NESTED: Final = 16
# libyaml's parser where PyYAML was built with it: the same events, faster.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?[0-9]{0,18}\.[0-9]{1,18}")
_WORDS: Final[dict[str, bool | None]] = {
    "true": True,
    "false": False,
    "null": None,
    "~": None,
    "": None,
}


def read(source: bytes) -> dict[str, Tree]:
    """Return what a file says; an empty one says nothing.

    Raises:
        ConfigurationInvalid: not UTF-8, not YAML, not one mapping, or YAML that is refused.
    """
    try:
        tree = _document(yaml.parse(_text(source), Loader=_LOADER))
    # Without libyaml, PyYAML raises the last two for a `\U` beyond Unicode.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Not `from error`: its text may quote the file, where a secret may stand.
        raise invalid(ROOT, f"invalid YAML{_whereabouts(error)}", "one YAML mapping") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise invalid(ROOT, "a file that is not a mapping", "a mapping of sections")
    return tree


def _text(source: bytes) -> str:
    if len(source) > MOST_BYTES:
        raise invalid(ROOT, f"a file of {len(source)} bytes", f"at most {MOST_BYTES}")
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid(ROOT, f"a byte that is not UTF-8 at {error.start}", "UTF-8") from error


def _whereabouts(error: Exception) -> str:
    """Return the place and the parser's words, without the file's own text (it may be a secret)."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{place} ({' '.join(problem.split())})" if problem else place


def _document(events: Iterator[yaml.Event]) -> Tree:
    tree: Tree = None
    documents = 0
    for event in events:
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise invalid(ROOT, f"a second document{_at(event)}", "one")
            case yaml.NodeEvent():
                tree = _node(event, events, ROOT, 0)
            case _:
                pass
    return tree


def _node(event: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int) -> Tree:
    _refuse_indirection(event, path)
    if depth > MOST_NESTED:
        raise invalid(ROOT, f"nesting{_at(event)}", f"at most {MOST_NESTED} levels")
    match event:
        case yaml.ScalarEvent():
            return _scalar(event)
        case yaml.SequenceStartEvent():
            return _list(events, path, depth + 1)
        case _:
            return _mapping(events, path, depth + 1)


def _refuse_indirection(event: yaml.Event, path: str) -> None:
    if getattr(event, "anchor", None) is not None:
        raise invalid(path, f"an anchor or alias{_at(event)}", "the value written out")
    if getattr(event, "tag", None) is not None:
        raise invalid(path, f"a tag{_at(event)}", "a value without one")


def _list(events: Iterator[yaml.Event], path: str, depth: int) -> list[Tree]:
    items: list[Tree] = []
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        items.append(_node(event, events, child(path, len(items)), depth))
    return items


def _mapping(events: Iterator[yaml.Event], path: str, depth: int) -> dict[str, Tree]:
    values: dict[str, Tree] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        _refuse_indirection(event, path)
        key = _key(event, path)
        if key in values:
            raise invalid(child(path, key), f"the same key twice{_at(event)}", "each key once")
        values[key] = _node(next(events), events, child(path, key), depth)
    return values


def _key(event: yaml.Event, path: str) -> str:
    key = _scalar(event) if isinstance(event, yaml.ScalarEvent) else None
    if not isinstance(key, str):
        raise invalid(path, f"a key that is not text{_at(event)}", "text, in quotes where needed")
    return key


def _scalar(event: yaml.ScalarEvent) -> Tree:
    text: str = event.value
    is_plain = event.implicit[0]
    if not is_plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return Decimal(text) if _DECIMAL.fullmatch(text) else text


def _at(event: yaml.Event) -> str:
    return f" at line {event.start_mark.line + 1}" if event.start_mark else ""
