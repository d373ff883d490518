"""Ways to spoil a file: of any kind, and with an eye for what the kind means."""

import copy
import json
import random
import re
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

INTERESTING = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
"""Numbers at which programs stumble."""

Mutation = Callable[[random.Random, bytes], bytes]


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    """One to sixteen bits."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if spoilt:
            spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def flip_early(rng: random.Random, data: bytes) -> bytes:
    """Bytes of the first few hundred, where headers lie."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 2, 4)) if spoilt else 0):
        spoilt[rng.randrange(min(len(spoilt), 512))] = rng.randrange(256)
    return bytes(spoilt)


def truncate(rng: random.Random, data: bytes) -> bytes:
    """The beginning only; sometimes nothing at all."""
    return data[: rng.randrange(len(data))] if data else data


def overwrite_number(rng: random.Random, data: bytes) -> bytes:
    """An integer at a place of its own choice, in either byte order."""
    width, code = rng.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
    if len(data) < width:
        return data
    value = rng.choice(INTERESTING) % 256**width
    at = rng.randrange(min(len(data), rng.choice((256, 4096, len(data)))) - width + 1)
    return data[:at] + struct.pack(rng.choice("<>") + code, value) + data[at + width :]


def repeat_stretch(rng: random.Random, data: bytes) -> bytes:
    """A stretch twice or many times."""
    start = rng.randrange(max(len(data), 1))
    stretch = data[start : start + rng.choice((1, 16, 256, 4096))]
    return data[:start] + stretch * rng.choice((2, 3, 64)) + data[start:]


def drop_stretch(rng: random.Random, data: bytes) -> bytes:
    """Without a stretch."""
    start = rng.randrange(max(len(data), 1))
    return data[:start] + data[start + rng.choice((1, 4, 64, 1024)) :]


def zero_stretch(rng: random.Random, data: bytes) -> bytes:
    """Zeros or ones where something was."""
    start = rng.randrange(max(len(data), 1))
    length = min(rng.choice((4, 64, 1024)), len(data) - start)
    return data[:start] + rng.choice((b"\0", b"\xff")) * length + data[start + length :]


def append_junk(rng: random.Random, data: bytes) -> bytes:
    """Something behind the end."""
    return data + rng.randbytes(rng.choice((1, 100, 5000)))


ANY: tuple[Mutation, ...] = (
    flip_bits, flip_early, truncate, overwrite_number, repeat_stretch, drop_stretch, zero_stretch, append_junk,
)  # fmt: skip


def png_chunk(rng: random.Random, data: bytes) -> bytes:
    """A changed chunk with a right checksum: what a hostile PNG looks like rather than a damaged one."""
    chunks = list(_chunks(data))
    if not chunks:
        return flip_bits(rng, data)
    which = rng.randrange(len(chunks))
    name, body = chunks[which]
    if name == b"IHDR" and len(body) == 13:
        width, height, *rest = struct.unpack(">IIBBBBB", body)
        field = rng.randrange(3)
        if field == 0:
            width = rng.choice(INTERESTING) % 2**32
        elif field == 1:
            height = rng.choice(INTERESTING) % 2**32
        else:
            rest[rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        body = struct.pack(">IIBBBBB", width, height, *rest)
    else:
        body = rng.choice(ANY)(rng, body) if body else b"\0"
    if rng.random() < 0.2:
        name = rng.choice((b"tEXt", b"iCCP", b"zTXt", b"PLTE", b"tRNS", b"acTL", b"IEND"))
    if rng.random() < 0.2:  # a few kilobytes that unpack to 64 MiB
        name, body = b"zTXt", b"k\0\0" + _bomb()
    chunks[which] = (name, body)
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    return zlib.compress(bytes(64 << 20), 9)


def _chunks(data: bytes) -> Any:
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**30, "", "../../../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "é" * 300, [], {},
    [[]], [None], {"a": {"b": {}}}, "1e999", -0.5, 2**31, [0] * 10000, "C:\\x", "NaN",
)  # fmt: skip
"""Values that a JSON file may hold where another was expected."""


def json_value(rng: random.Random, data: bytes) -> bytes:
    """Another value, another key, a key less or twice somewhere in the document; or depth, NaN and other spellings."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return rng.choice(ANY)(rng, data)
    if rng.random() < 0.05:
        return b"[" * 100_000 + data
    for _ in range(rng.choice((1, 1, 2, 4))):
        document = _changed(rng, document)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1:
        text = text.replace("0", rng.choice(("NaN", "Infinity", "1e400", "0x10", "9" * 5000)), 1)
    return text.encode("utf-8", "surrogatepass")


def _hostile(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(HOSTILE))


def _changed(rng: random.Random, document: Any) -> Any:
    places: list[tuple[Any, Any]] = []
    stack = [document]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            places += [(item, key) for key in item]
            stack += list(item.values())
        elif isinstance(item, list):
            places += [(item, k) for k in range(len(item))]
            stack += item[:50]
    if not places or rng.random() < 0.03:
        return _hostile(rng)
    holder, key = rng.choice(places)
    how = rng.random()
    if how < 0.15 and isinstance(holder, dict):
        del holder[key]
    elif how < 0.25 and isinstance(holder, dict):
        holder[str(rng.choice(HOSTILE))] = holder[key]
    elif how < 0.35 and isinstance(holder, list):
        holder.extend([holder[key]] * rng.choice((1, 1000)))
    elif how < 0.55 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = rng.choice((-holder[key], holder[key] * 1e9, holder[key] + 0.5, rng.choice(INTERESTING)))
    else:
        holder[key] = _hostile(rng)
    return document


WORDS = (
    b"-1", b"0", b"nan", b"inf", b"1e308", b"9" * 400, b"&a;", b"<!ENTITY a 'b'>", b"../../x", b"\0", b'"', b"\xff",
)  # fmt: skip


def text_word(rng: random.Random, data: bytes) -> bytes:
    """Another word or number somewhere in a text; entities that expand to gigabytes."""
    if rng.random() < 0.05:
        steps = b"".join(b'<!ENTITY e%d "%s">' % (k, b"&e%d;" % (k - 1) * 10) for k in range(1, 12))
        return b'<!DOCTYPE a [<!ENTITY e0 "boom">' + steps + b"]>" + data.replace(b"wire", b"&e11;", 1)
    words = list(re.finditer(rb"[A-Za-z0-9.]+", data))
    if not words:
        return data
    word = rng.choice(words)
    return data[: word.start()] + rng.choice(WORDS) + data[word.end() :]


SPECIAL: dict[str, tuple[Mutation, ...]] = {
    "png": (png_chunk,), "json": (json_value,), "xml": (text_word,), "csv": (text_word,),
}  # fmt: skip
"""Mutations that know the kind of file, by ending."""


def mutate(rng: random.Random, data: bytes, kind: str) -> bytes:
    """A spoilt copy of a file; the same generator state and bytes give the same copy."""
    special = SPECIAL.get(kind, ())
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        pool = special if special and rng.random() < 0.6 else ANY
        data = rng.choice(pool)(rng, data)
    return data
