"""Stuffing: takes the zeros out of a packet, and puts them back in.

S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7(2),
1999: a packet, with an imaginary zero at its end, is cut after every zero. A piece of up to 253
bytes and its zero become a code, one more than the number of bytes, and the bytes. Code 255 stands for 254
bytes and no zero after them.
"""

from __future__ import annotations

from typing import Final

from framestream.errors import counted

_LONGEST: Final = 254


def stuff(packet: bytes) -> bytes:
    """Return the packet without zeros."""
    return b"".join(_blocks(packet))


def stuff_reduced(packet: bytes) -> bytes:
    """Do the same as COBS/R: if the last byte is at least as large as the last code, it takes its place."""
    blocks = _blocks(packet)
    last = blocks[-1]
    if len(last) > 1 and last[-1] >= last[0]:
        blocks[-1] = last[-1:] + last[1:-1]
    return b"".join(blocks)


def _blocks(packet: bytes) -> list[bytes]:
    blocks: list[bytes] = []
    for piece in packet.split(b"\0"):
        rest = len(piece) - len(piece) % _LONGEST
        blocks += [b"\xff" + piece[at : at + _LONGEST] for at in range(0, rest, _LONGEST)]
        blocks.append(bytes([len(piece) - rest + 1]) + piece[rest:])
    if len(blocks) > 1 and len(piece) and blocks[-1] == b"\1":
        blocks.pop()  # a packet may end with 254 bytes and no zero: the imaginary one is no part of it
    return blocks


def unstuff(stuffed: bytes, *, reduced: bool = False) -> bytes:
    """Return the packet.

    Raises:
        ValueError: a zero, or (unless `reduced`) a code that reaches beyond the end.
    """
    size = len(stuffed)
    if size and stuffed[0] == size < 256:
        code_only = stuffed[1:]  # one block and no zero: most short packets
        if 0 not in code_only:
            return code_only
    return b"".join(_pieces(stuffed, size, reduced=reduced))


def _pieces(stuffed: bytes, size: int, *, reduced: bool) -> list[bytes]:
    if 0 in stuffed or not stuffed:
        raise ValueError(f"a zero at {stuffed.index(0)}" if stuffed else "no code")
    pieces: list[bytes] = []
    index = 0
    while index < size:
        code = stuffed[index]
        stop = index + code
        pieces.append(stuffed[index + 1 : stop])
        if stop > size:
            if not reduced:
                raise ValueError(f"code {code} at {index} reaches {counted(stop - size, 'byte')} beyond the end")
            pieces.append(stuffed[index : index + 1])
        elif code <= _LONGEST and stop < size:
            pieces.append(b"\0")
        index = stop
    return pieces
