"""What scenarios came to, as lines of a table and as JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from tests.faults.calls import NUSD
from tests.faults.scene import Found

_COLUMNS: Final = (
    ("scenario", 20), ("seed", 8), ("repl", 4), ("calls", 6), ("served", 6), ("402", 5), ("503", 5),
    ("kills", 5), ("cut", 4), ("truth $", 9), ("cap $", 9), ("recorded", 9), ("unsettl.", 8),
    ("overshoot", 9), ("wrongly", 7), ("s", 5),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario that was played."""

    scenario: str
    seed: str
    replicas: int
    seconds: float
    found: Found

    @property
    def is_good(self) -> bool:
        return not self.found.problems


def head() -> str:
    """Return the titles of the columns."""
    return _line([title for title, _ in _COLUMNS]) + "  verdict"


def line(row: Row) -> str:
    """Return one scenario as a line."""
    found = row.found
    wrongly = "-" if found.wrongly is None else f"{found.wrongly:.2%}"
    counts = (row.replicas, found.calls, found.served, found.refused, found.unavailable)
    amounts = (found.truth, found.cap, found.recorded, found.unsettled, found.overshoot)
    cells = [
        row.scenario,
        row.seed,
        *map(str, counts),
        str(found.kills),
        str(found.cut_by_crash),
        *(f"{Decimal(amount) / NUSD:.4f}" for amount in amounts),
        wrongly,
        f"{row.seconds:.0f}",
    ]
    return _line(cells) + ("  holds" if row.is_good else f"  BROKEN ({len(found.problems)})")


def total(rows: Sequence[Row]) -> str:
    """Return the sums that are asked for first."""
    calls, kills = sum(r.found.calls for r in rows), sum(r.found.kills for r in rows)
    bad = sum(not row.is_good for row in rows)
    seconds = sum(row.seconds for row in rows)
    verdict = "every cap held" if bad == 0 else f"{bad} scenarios BROKEN"
    return f"{len(rows)} scenarios, {calls} calls, {kills} kills, {seconds:.0f} s: {verdict}"


def problems(row: Row, command: str, most: int = 12) -> Iterable[str]:
    """Yield what was broken, and how to see it again."""
    found = row.found.problems
    yield f"{row.scenario}, seed {row.seed}: {len(found)} broken"
    yield from (f"  {what}" for what in found[:most])
    yield f"  again: {command}"


def write(rows: Sequence[Row], file: Path) -> None:
    """Write everything as JSON."""
    values = [asdict(row) for row in rows]
    file.write_text(json.dumps(values, indent=1, default=str) + "\n")


def _line(cells: Sequence[str]) -> str:
    widths = [width for _, width in _COLUMNS]
    first, *others = zip(cells, widths, strict=True)
    return first[0].ljust(first[1]) + "".join(f" {cell:>{width}}" for cell, width in others)
