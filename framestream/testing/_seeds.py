"""Streams to start from when an author gives none: what the framer writes, and what protocols send."""

from __future__ import annotations

from typing import Any

from framestream.framer import Framer, ReadCondition

FRAMES: tuple[Any, ...] = (
    b"",
    b"a",
    b"hello, world",
    b"\0\xff" * 20,
    "",
    "text",
    "zwölf Boxkämpfer",
    0,
    -1,
    1 << 40,
    1.5,
    None,
    True,
    [],
    [1, "two", [3.0, None]],
    {},
    {"key": "value", "list": [1, 2, 3]},
    {"deep": {"er": {"est": [[[]]]}}},
)
"""Frames of the kinds that framers commonly carry."""

_STREAMS = (
    b"one\ntwo\r\nthree\r\n\r\nfour",
    b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"\0\0\0\5hello\0\0\0\0\0\0\0\1!",
    b"\5\0hello\0\0\1\0!",
    b"\5hello\0\1!\x80\1" + b"x" * 128,
    b"5:hello,0:,1:!,",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"0005hello0000",
    b"a;b;;END c;EN--END--",
    b"$5\r\nhello\r\n*2\r\n:1\r\n+OK\r\n",
    b"\x93\1\xa3two\xc0\x82\xa1a\1\xa1b\x90\xc4\2\0\1\xcb?\xf8\0\0\0\0\0\0",
    b"temp=21;hum=4000;;1;a=1\nb=2\n, bdexy acy xEND.",
    b"$one\n*two\r\n+\n$",
    b'{"a": 1}\n[2, "}"]\n"x"\n',
    b"\x1b[1m<1>Oct 11 22:14:15 host su: failed\0",
)


def seeds_for(framer: ReadCondition[Any]) -> list[bytes]:
    """Return streams to spoil: frames that this framer encodes, alone and in a row, and real protocols."""
    written = [wire for frame in FRAMES if (wire := try_to_encode(framer, frame)) is not None]
    return [*written, b"".join(written), *_STREAMS]


def try_to_encode(framer: ReadCondition[Any], frame: Any) -> bytes | None:
    """Return the bytes for a frame, or None if this framer cannot carry it."""
    if not isinstance(framer, Framer):
        return None
    try:
        encoded = framer.encode(frame)
        return b"".join([encoded] if isinstance(encoded, bytes) else encoded)
    except Exception:  # noqa: BLE001  # a frame of a kind that this framer does not carry fails in any way
        return None
