"""What one call asks for, as far as money, limits and patience go. Nothing of its text is here."""

import msgspec


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request's own figures, read by its dialect and trusted only where they were checked.

    `output_tokens` is the request's own limit for one choice (None where it gives none), below
    `least_output_tokens` the provider would refuse it (a budget for thinking must fit in), `choices`
    how often that output may be produced (n, best_of, times the number of prompts), `prompts` how
    often the input is read. `text_bytes` is the UTF-8 size of the body without JSON escapes, so it
    bounds its tokens for a byte-level vocabulary; `token_ids` counts inputs that came as ids.
    `hides_input` says that a field refers to input of unknown size (an image, a file, a stored
    conversation), `makes_output` is false for embeddings. `tier` is the service tier asked for. `is_free` is a
    call that its provider bills nothing for (a count of tokens), `thinks` is false where the request
    rules out that a model which may think does so unseen.
    """

    model: str
    stream: bool = False
    output_tokens: int | None = None
    least_output_tokens: int = 1
    choices: int = 1
    prompts: int = 1
    text_bytes: int = 0
    token_ids: int = 0
    messages: int = 0
    tools: int = 0
    schema_bytes: int = 0
    hides_input: bool = False
    makes_output: bool = True
    audio_output: bool = False
    tier: str | None = None
    is_free: bool = False
    thinks: bool = True


class Timeouts(msgspec.Struct, frozen=True):
    """How long to wait, in seconds: to connect, for the first byte, between bytes, for all of it."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float
