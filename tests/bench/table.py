"""The figures of a bench as lines of text."""

from collections.abc import Callable, Iterable, Mapping
from statistics import median

from tests.bench.measuring import Case, Sample

Results = dict[Case, dict[str, list[Sample]]]
"""The samples of each case by proxy, `gateway` and `nginx`, in order of rounds."""

_WIDTHS = (24, 28, 26, 7, 10)


def lines(results: Results, rounds: int) -> list[str]:
    """Return the whole report."""
    streams = {case: by for case, by in results.items() if case.exchange.is_stream}
    return [
        f"Medians of {rounds} rounds (lowest - highest). CPU is user + system of the process itself;",
        "the database is what the gateway's embedded PostgreSQL used, beside it.",
        "",
        _row("CPU, us a call", "gateway", "nginx", "x", "database"),
        *(_costs(case, by, lambda sample: sample.call_us) for case, by in results.items()),
        "",
        _row("CPU, us a chunk", "gateway", "nginx", "x", "database"),
        *(_costs(case, by, lambda sample: sample.chunk_us) for case, by in streams.items()),
        "",
        _row("calls/s; p50 / p99 ms", "gateway", "nginx"),
        *(_pace(case, by) for case, by in results.items()),
    ]


def _costs(case: Case, by: Mapping[str, list[Sample]], cost: Callable[[Sample], float]) -> str:
    gateway, other = (list(map(cost, by[name])) for name in ("gateway", "nginx"))
    database = median(cost(s) / s.call_us * s.children_us for s in by["gateway"])
    multiple = median(gateway) / median(other)
    return _row(case.name, _spread(gateway), _spread(other), f"{multiple:.1f}", f"{database:.1f}")


def _pace(case: Case, by: Mapping[str, list[Sample]]) -> str:
    shown = (
        f"{median(s.calls_per_s for s in samples):,.0f}; "
        f"{median(s.p50_ms for s in samples):.1f} / {median(s.p99_ms for s in samples):.1f}"
        for samples in (by["gateway"], by["nginx"])
    )
    return _row(case.name, *shown)


def _spread(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{median(found):.1f} ({found[0]:.1f} - {found[-1]:.1f})"


def _row(name: str, *cells: str) -> str:
    columns = zip(cells, _WIDTHS[1 : len(cells) + 1], strict=True)
    return (name.ljust(_WIDTHS[0]) + "".join(cell.rjust(width) for cell, width in columns)).rstrip()
