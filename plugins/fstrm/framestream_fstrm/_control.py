"""Control frames: a type and content types (fstrm/control.h)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from framestream.errors import counted

MOST_CONTROL: Final = 512
"""FSTRM_CONTROL_FRAME_LENGTH_MAX: bytes a control frame may take."""
MOST_CONTENT_TYPE: Final = 256
"""FSTRM_CONTROL_FIELD_CONTENT_TYPE_LENGTH_MAX: bytes a content type may take."""

_CONTENT_TYPE: Final = 1
_WORD: Final = 4


class ControlType(IntEnum):
    """The meaning of a control frame."""

    ACCEPT = 1
    START = 2
    STOP = 3
    READY = 4
    FINISH = 5


# How many content types a control frame may name.
_MOST_FIELDS: Final = {
    ControlType.ACCEPT: MOST_CONTROL,
    ControlType.START: 1,
    ControlType.STOP: 0,
    ControlType.READY: MOST_CONTROL,
    ControlType.FINISH: 0,
}


class Control(NamedTuple):
    """A control frame.

    Attributes:
        type: its meaning.
        content_types: any number for READY and ACCEPT, at most one for START, none for the others.
    """

    type: ControlType
    content_types: tuple[bytes, ...] = ()


_TYPES: Final[dict[int, ControlType]] = {int(kind): kind for kind in ControlType}
# Those without a content type, which are the most: finding one takes a tenth of parsing it.
_PLAIN: Final = {kind.to_bytes(_WORD, "big"): Control(kind) for kind in ControlType}


def parse_control(payload: bytes) -> Control:
    """Return the control frame with this content. Raise ValueError if it is invalid."""
    plain = _PLAIN.get(payload)
    if plain is not None:
        return plain
    number = _word(payload, 0)
    kind = _TYPES.get(number)
    if kind is None:
        raise ValueError(f"control frame of unknown type {number}")
    content_types, at = [], _WORD
    while at < len(payload):
        field, size = _word(payload, at), _word(payload, at + _WORD)
        at += 2 * _WORD
        if field != _CONTENT_TYPE:
            raise ValueError(f"control field of unknown type {field}")
        if size > min(MOST_CONTENT_TYPE, len(payload) - at):
            raise ValueError(f"content type of {counted(size, 'byte')}")
        content_types.append(payload[at : at + size])
        at += size
    _check_count(kind, len(content_types))
    return Control(kind, tuple(content_types))


def write_control(control: Control) -> bytes:
    """Return the content of a control frame. Raise ValueError if it cannot be written."""
    _check_count(ControlType(control.type), len(control.content_types))
    pieces = [int(control.type).to_bytes(_WORD, "big")]
    for content_type in control.content_types:
        if len(content_type) > MOST_CONTENT_TYPE:
            raise ValueError(f"content type of {counted(len(content_type), 'byte')}, limit {MOST_CONTENT_TYPE}")
        pieces += [
            _CONTENT_TYPE.to_bytes(_WORD, "big"),
            len(content_type).to_bytes(_WORD, "big"),
            content_type,
        ]
    content = b"".join(pieces)
    if len(content) > MOST_CONTROL:
        raise ValueError(f"control frame of {counted(len(content), 'byte')}, limit {MOST_CONTROL}")
    return content


def _check_count(kind: ControlType, count: int) -> None:
    if count > _MOST_FIELDS[kind]:
        raise ValueError(f"{kind.name} with {count} content types, limit {_MOST_FIELDS[kind]}")


def _word(payload: bytes, at: int) -> int:
    if at + _WORD > len(payload):
        raise ValueError("control frame that breaks off")
    return int.from_bytes(payload[at : at + _WORD], "big")
