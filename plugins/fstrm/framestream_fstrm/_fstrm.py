"""Fstrm: data frames, and control frames after an escape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import Decode, ValueSpan, bytes_of
from framestream_fstrm._control import MOST_CONTROL, Control, ControlType, parse_control, write_control

Frame: TypeAlias = bytes | Control

_WORD: Final = 4
_ESCAPE: Final = bytes(_WORD)
_MOST_DATA: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Fstrm(Framer[Frame]):
    r"""Cut Frame Streams (https://farsightsec.github.io/fstrm/), the framing of dnstap.

    ::

        INPUT     \0\0\0\0\0\0\0\4\0\0\0\2   \0\0\0\5hello   \0\0\0\0\0\0\0\4\0\0\0\3
        DECODED   Control(START)             b"hello"        Control(STOP)

    A data frame is a big-endian length of four bytes, not zero, and as many bytes. Four zero bytes are
    the escape: the length of a control frame follows, and its content, a type and content types
    (fstrm/control.h). `Reading` and `Writing` are the handshake on top.

    A frame that is too large is refused by its length, and can be skipped or streamed. A control frame
    of less than 4 or more than 512 bytes breaks the stream (`FramingError`); one with unknown
    content is a `PayloadError`.
    """

    name = "fstrm"
    overhead = 2 * _WORD
    examples: ClassVar[dict[bytes, list[Frame]]] = {
        b"\0\0\0\0\0\0\0\4\0\0\0\2\0\0\0\5hello\0\0\0\0\0\0\0\4\0\0\0\3": [
            Control(ControlType.START),
            b"hello",
            Control(ControlType.STOP),
        ],
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"\0\0\0\0\0\0\0\0": "control frame of 0 bytes",
        b"\0\0\0\0\0\0\2\1": "control frame of 513 bytes",
    }
    peers = ("fstrm_capture, fstrm_replay 0.6.1", "Unbound 1.17.1")

    max_size: Annotated[int | None, "The largest frame, of data or of control. Bytes."] = None

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span as soon as the lengths have arrived."""
        data, start = window.data, window.start
        first = start + _WORD
        if len(data) < first:
            return NeedMore(_WORD)
        length = int.from_bytes(data[start:first], "big")
        if length:
            return first, first + length, first + length
        at, first = first, first + _WORD
        if len(data) < first:
            return NeedMore(2 * _WORD)
        length = int.from_bytes(data[at:first], "big")
        if not _WORD <= length <= MOST_CONTROL:
            reason = f"control frame of {counted(length, 'byte')}, it must be from {_WORD} to {MOST_CONTROL}"
            raise FramingError(reason, position=at)
        return first, first + length, first + length, Decode(parse_control)

    def split(self, window: Window) -> tuple[list[Frame], int]:
        """Cut every whole frame; leave frames to refuse to `find`."""
        data, start = bytes(window.data), window.start
        size = len(data)
        frames: list[Frame] = []
        append, number = frames.append, int.from_bytes
        while start + _WORD < size:
            first = start + _WORD
            stop = first + number(data[start:first], "big")
            if stop == first:
                first += _WORD
                stop = first + number(data[first - _WORD : first], "big")
                if stop > size or not _WORD <= stop - first <= MOST_CONTROL:
                    break
                try:
                    append(parse_control(data[first:stop]))
                except ValueError:
                    break
            elif stop > size:
                break
            else:
                append(data[first:stop])
            start = stop
        return frames, start

    def encode(self, frame: Frame) -> list[bytes]:
        """Return a data frame for bytes, else a control frame.

        Raises:
            EncodeError: an empty frame, which would be an escape; one larger than a length can say or than
                `max_size`; a control frame that breaks the rules.
        """
        if not isinstance(frame, Control):
            data = bytes_of(frame, copy=False, kind="bytes or a Control")
            self._check(len(data))
            return [len(data).to_bytes(_WORD, "big"), data]
        try:
            content = write_control(frame)
        except (TypeError, ValueError) as error:
            raise EncodeError(f"control frame cannot be written: {error}") from error
        self._check(len(content))
        return [_ESCAPE + len(content).to_bytes(_WORD, "big"), content]

    def _check(self, size: int) -> None:
        if not 0 < size <= _MOST_DATA:
            raise EncodeError(f"data frame of {counted(size, 'byte')}, it must be from 1 to {_MOST_DATA}")
        if self.max_size is not None and size > self.max_size:
            raise EncodeError(f"frame of {counted(size, 'byte')} exceeds the limit {self.max_size}")
