"""Print how far bounds are above what a tokenizer counts, family by family: `python -m tests.bounds`."""

import sys
from statistics import median

from tests.bounds import texts
from tests.bounds.holding import FAMILIES, Family, Held, conversations, held

CONVERSATIONS = 300
SIZES = (3_000, 100_000)
"""Characters of a conversation, at most; most are far shorter."""


def main() -> None:
    """Print a table for each size."""
    for most in SIZES:
        line("family", "requests", "real tokens", "bytes / real", "counted / real")
        for family in FAMILIES:
            line(family.name, *ratios(family, most))


def ratios(family: Family, most: int) -> tuple[str, str, str, str]:
    """Return how many requests there were, their median input, and the medians of bound over real."""
    kinds = texts.NATURAL
    found = [
        one
        for one in (held(family, c) for c in conversations(CONVERSATIONS, kinds, most))
        if not one.wanted.asked.hides_input and one.input_tokens
    ]
    tokens = f"{median(one.input_tokens for one in found):.0f}"
    return str(len(found)), tokens, ratio(found, counted=False), ratio(found, counted=True)


def ratio(found: list[Held], *, counted: bool) -> str:
    """Return the median of a bound over the real input; a dash where there is no such bound."""
    offers = [(one.counted_bound if counted else one.bytes_bound, one) for one in found]
    known = [offer.bound.input_tokens / one.input_tokens for offer, one in offers if offer]
    return f"{median(known):.2f}" if known else "-"


def line(*cells: str) -> None:
    """Print a line of the table."""
    first, *more = cells
    sys.stdout.write(f"{first:<50}" + "".join(f"{cell:>16}" for cell in more) + "\n")


if __name__ == "__main__":
    main()
