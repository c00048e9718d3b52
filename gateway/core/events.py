"""What a dialect says and a meter hears.

A dialect turns frames into these; the meter, and nothing else, turns these into money. Counts are
made comparable here: `Usage.input` never contains cached, written or audio tokens, whatever the
provider's own convention is (`reference/providers.md` §6).
"""

import msgspec


class Delta(msgspec.Struct, frozen=True, gc=False):
    """Output that the provider produced: answer text, tool arguments, reasoning text, refusal."""

    text: str


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The provider's own account of the call so far. Cumulative: a later one replaces this one.

    All are token counts ≥ 0. `reasoning` is a part of `output`; the others are disjoint.
    `cached_audio` is what is known to be audio of what was read from a cache, `cached` the rest.
    `cache_write` is what was written for an hour, or for a time that nobody tells. `image_output` is
    None where images are not told apart from the text in `output`.
    `certain` is false where the numbers contradict each other and were read at their dearest.
    `fees_nusd` is billed beside all tokens, and `billed_nusd` is what the provider says that it bills
    in all, where it says so: nano-dollars.
    """

    input: int
    output: int
    cached: int = 0
    cached_audio: int = 0
    cache_write: int = 0
    audio_input: int = 0
    cache_write_5m: int = 0
    audio_output: int = 0
    image_output: int | None = None
    reasoning: int = 0
    certain: bool = True
    fees_nusd: int = 0
    billed_nusd: int | None = None

    @property
    def read(self) -> int:
        """All that was read from a cache."""
        return self.cached + self.cached_audio

    @property
    def written(self) -> int:
        """All that was written to a cache."""
        return self.cache_write + self.cache_write_5m

    @property
    def heard(self) -> int:
        """All of the input, cached or not."""
        return self.input + self.read + self.written + self.audio_input

    @property
    def spoken(self) -> int:
        """All of the output."""
        return self.output + self.audio_output + (self.image_output or 0)


class Prompted(msgspec.Struct, frozen=True, gc=False):
    """The provider's final account of the input, given before any output; `usage.output` is 0."""

    usage: Usage


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """The model began to think, and what it thinks may not be shown.

    Where not `begins`, it did not think before what it shows now, and would have announced it.
    """

    begins: bool = True


class Served(msgspec.Struct, frozen=True, gc=False):
    """Which model and service tier the provider says it used; `None` where it is silent."""

    model: str | None
    tier: str | None


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The dialect's own end was seen (`[DONE]`): what follows is not part of the answer."""


class Broken(msgspec.Struct, frozen=True, gc=False):
    """The provider reported an error inside a successful HTTP answer."""


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """A frame that carries nothing we act on; it is relayed as it came."""


Event = Delta | Usage | Prompted | Thinking | Served | Finished | Broken | Opaque
