"""Texts that exist nowhere else, and the search for them in whatever a gateway leaves behind."""

import base64
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import asyncpg

from tests.process.gateway_process import Gateway


class Canaries:
    """Makes a text for each place that one is put in. All begin with `mark`, and it is searched for."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(12)
        self._places: list[str] = []

    def __call__(self, place: str) -> str:
        """Return the text of a place, always the same."""
        if place not in self._places:
            self._places.append(place)
        return f"{self.mark}{self._places.index(place):03}"

    def __len__(self) -> int:
        return len(self._places)

    def leaks(self, haystack: bytes) -> list[str]:
        """Return which place's text is written in a haystack, and how; the place only if it's plain."""
        ways = sightings(self.mark, haystack)
        plain = [place for place in self._places if self(place).encode() in haystack]
        return plain or ways


def sightings(text: str, haystack: bytes) -> list[str]:
    """Return the ways in which a text is written in a haystack."""
    return [way for way, needle in written(text).items() if needle in haystack]


def written(text: str) -> dict[str, bytes]:
    """Return the ways in which a text may be written down.

    Of base64 what does not depend on its neighbours, for each of the three offsets that it may have.
    Half of it is looked for as well: it may have been cut where it was folded or shortened.
    """
    plain = text.encode()
    middle = len(plain) // 2
    ways = {
        "first half": plain[:middle],
        "second half": plain[middle:],
        "reversed": plain[::-1],
        "hex": plain.hex().encode(),
        "upper-case hex": plain.hex().upper().encode(),
        "UTF-16": text.encode("utf-16-le"),
        "UTF-16 big-endian": text.encode("utf-16-be"),
    }
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + plain)
        ways[f"base64 at {offset}"] = whole[4:-4]
    return ways


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder, through links, as far as it is still there when it is read."""
    for place, _, names in os.walk(folder, followlinks=True):
        for path in (Path(place, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    yield str(path.relative_to(folder)), path.read_bytes()


async def relations(gateway: Gateway) -> AsyncIterator[tuple[str, bytes]]:
    """Yield every table and view of a gateway's embedded database, all rows and columns as text.

    Catalogs and statistics are among them: a statement that held a text would show it there.
    """
    folder = quote(str((gateway.state / "postgres/run").resolve()))
    connection = await asyncpg.connect(f"postgresql://gateway@/postgres?host={folder}")
    try:
        for (name,) in await connection.fetch(_RELATIONS):
            rows = await connection.fetch(f"SELECT t::text FROM {name} AS t")  # noqa: S608  # by %I
            yield name, "\n".join(row for (row,) in rows).encode()
    finally:
        await connection.close()


_RELATIONS = """
SELECT format('%I.%I', space.nspname, relation.relname)
FROM pg_class AS relation JOIN pg_namespace AS space ON space.oid = relation.relnamespace
WHERE relation.relkind IN ('r', 'p', 'm', 'v') AND space.nspname <> 'pg_toast'
    AND relation.relname NOT LIKE '%numa%'
"""
"""The views of NUMA memory fail on machines that have none."""


def search(
    haystacks: Iterable[tuple[str, bytes]], canaries: Canaries, kept: Mapping[str, str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what leaked, by haystack; and of each text that is kept, the haystacks that hold it."""
    leaked: dict[str, list[str]] = {}
    seen: dict[str, list[str]] = {name: [] for name in kept}
    for name, content in haystacks:
        if found := canaries.leaks(content):
            leaked[name] = found
        for label, text in kept.items():
            if sightings(text, content):
                seen[label].append(name)
    return leaked, seen
