"""Spoil bytes the way networks, bugs and attackers do."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

# Values that length fields, delimiters and type bytes are likely to treat in their own way.
_TELLING = bytes([0, 1, 9, 10, 13, 32, 34, 48, 57, 58, 127, 128, 129, 192, 220, 254, 255])


def mutate(data: bytes, source: Random, donors: Sequence[bytes]) -> bytes:
    """Return `data` with one to four changes drawn from `source`; `donors` give pieces to insert."""
    spoilt = bytearray(data)
    draw = source.random
    for _ in range(1 + int(draw() * 4)):
        kind = int(draw() * 8)
        size = len(spoilt)
        at = int(draw() * (size + 1))
        if kind < 2 and at < size:
            spoilt[at] = int(draw() * 256)
        elif kind == 2 and at < size:
            spoilt[at] ^= 1 << int(draw() * 8)
        elif kind == 3:
            spoilt[at:at] = _TELLING[int(draw() * len(_TELLING)) :][:1]
        elif kind == 4:
            del spoilt[at : at + 1 + int(draw() * 6)]
        elif kind == 5:
            spoilt[at:at] = spoilt[at : at + 1 + int(draw() * 8)]
        elif kind == 6:
            donor = donors[int(draw() * len(donors))]
            piece = int(draw() * (len(donor) + 1))
            spoilt[at:at] = donor[piece : piece + 1 + int(draw() * 16)]
        else:
            del spoilt[at:]
    return bytes(spoilt)
