"""Texts of every kind that is sent to models, and of kinds that only an adversary sends."""

import base64
import json
import string
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

_SENTENCES: Final = (
    "The quick brown fox jumps over the lazy dog, and nobody was surprised by it. ",
    "Der schnelle braune Fuchs springt über den faulen Hund, während Österreich schläft. ",
    "Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë. ",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío. ",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία των ανθρώπων. ",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. ",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה נעימה. ",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले। ",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ",
    "いろはにほへと ちりぬるを わかよたれそ つねならむ。",
    "我能吞下玻璃而不伤身体。天地玄黃，宇宙洪荒。",  # noqa: RUF001
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. ",
    "Muốn ăn thì lăn vào bếp, nước chảy đá mòn. ",
    "Pijamalı hasta yağız şoföre çabucak güvendi. ",  # noqa: RUF001
    "ᚠᛇᚻ᛫ᛒᛦᚦ᛫ᚠᚱᚩᚠᚢᚱ᛫ᚠᛁᚱᚪ᛫ᚷᛖᚻᚹᛦᛚᚳᚢᛗ ",
    "ქართული ენა და ამარული ძველია. ஆயுத எழுத்து. ಕನ್ನಡ ಭಾಷೆ. ",
)
_EMOJI: Final = "😀🎉👩‍👩‍👧‍👦🏳️‍🌈🇩🇪👍🏽❤️‍🔥🧑🏿‍🚀✅⚠️"
_GROWING: Final = "\ufdfa\ufdfb\u3300\u337f\u2034\u01c4\u0344\u00bd\u2160\ufb03\uff21\u1fee"
"""Characters that normalizing makes longer, or other ones."""
_CODE: Final = Path(__file__).parent.parent.parent / "gateway/core/pricing.py"


def language(chance: Random, size: int) -> str:
    """Return sentences of some languages."""
    made = ""
    while len(made) < size:
        made += chance.choice(_SENTENCES)
    return made[:size]


def code(chance: Random, size: int) -> str:
    """Return a part of a program."""
    whole = _CODE.read_text(encoding="utf-8")
    start = chance.randrange(max(1, len(whole) - size))
    return whole[start : start + size]


def base64_data(chance: Random, size: int) -> str:
    """Return random bytes as base64."""
    return base64.b64encode(chance.randbytes(size * 3 // 4)).decode()


def data(chance: Random, size: int) -> str:
    """Return JSON within a text."""
    rows = [{"id": chance.randrange(10**9), "ok": True, "x": chance.random()} for _ in range(3)]
    return (json.dumps(rows, indent=chance.choice([None, 2])) * (size // 100 + 1))[:size]


def emoji(chance: Random, size: int) -> str:
    """Return pictures made of several characters each."""
    return "".join(chance.choice(_EMOJI) for _ in range(size))


def any_characters(chance: Random, size: int) -> str:
    """Return characters of all of Unicode, but for halves of pairs."""
    return "".join(
        chr(code)
        for code in (chance.randrange(1, 0x110000) for _ in range(size))
        if not 0xD800 <= code <= 0xDFFF
    )


def growing(chance: Random, size: int) -> str:
    """Return what a tokenizer that normalizes makes most of."""
    return "".join(chance.choice(_GROWING) for _ in range(size))


def marks(chance: Random, size: int) -> str:
    """Return letters under heaps of combining marks."""
    return "".join(
        "a" + "".join(chr(chance.randrange(0x300, 0x370)) for _ in range(9))
        for _ in range(size // 10 + 1)
    )


def noise(chance: Random, size: int) -> str:
    """Return ASCII that has no words."""
    return "".join(chance.choice(string.printable) for _ in range(size))


def escaped(chance: Random, size: int) -> str:
    """Return backslashes, quotes and control characters, which JSON escapes."""
    return "".join(chance.choice('\\"\n\t\r\x00\x1f/bu') for _ in range(size))


def spaces(chance: Random, size: int) -> str:
    """Return runs of blanks and line ends."""
    return "".join(chance.choice([" ", "  ", "\n", "\t", " x"]) for _ in range(size))


Kind = Callable[[Random, int], str]
KINDS: Final[tuple[Kind, ...]] = (
    language,
    language,
    language,
    code,
    base64_data,
    data,
    emoji,
    any_characters,
    growing,
    marks,
    noise,
    escaped,
    spaces,
)
NATURAL: Final[tuple[Kind, ...]] = (language, language, language, code, data, base64_data, emoji)
"""What people and programs send."""


def text(chance: Random, most: int, kinds: tuple[Kind, ...] = KINDS) -> str:
    """Return a text of one or two kinds, of at most so many characters, often short."""
    size = int(most * chance.random() ** 3)
    return "".join(
        kind(chance, size // 2 + 1) for kind in chance.sample(kinds, chance.choice([1, 2]))
    )
