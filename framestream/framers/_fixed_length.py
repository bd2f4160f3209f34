"""FixedLength: records that all have the same size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from framestream.errors import EncodeError
from framestream.framer import Framer, Span, Window
from framestream.framers._exactly import ROOM_FOR_A_BATCH, slices
from framestream.framers._value_checks import check_payload, check_size


@dataclass(frozen=True)
class FixedLength(Framer[bytes]):
    """Records of exactly `size` bytes each.

    ::

        FixedLength(3):            b"abcdef"     ->  b"abc", b"def"
        FixedLength(4, pad=b" "):  b"ab  cd  "   ->  b"ab", b"cd"

    With `pad`, shorter payloads are filled up with that byte when written and stripped of it when read;
    a payload that ends with it cannot be written. The size is the limit as well.
    """

    name = "fixed-length"

    size: Annotated[int, "Size of every record. Bytes."]
    pad: Annotated[bytes | None, "Byte that fills up shorter payloads, and is stripped when reading."] = None

    def __post_init__(self) -> None:
        check_size("size", self.size)
        _check_pad(self.pad)
        object.__setattr__(self, "max_size", max(self.size, ROOM_FOR_A_BATCH))

    def find(self, window: Window) -> Span:
        """Return the span at once, however little has arrived."""
        stop = window.start + self.size
        return window.start, stop, stop

    def decode(self, payload: bytes) -> bytes:
        """Return the payload without its padding."""
        return payload if self.pad is None else payload.rstrip(self.pad)

    def cut(self, data: bytes, start: int) -> tuple[bytes, int] | None:
        """Slice one record off."""
        stop = start + self.size
        return (self.decode(data[start:stop]), stop) if stop <= len(data) else None

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Slice the window into records."""
        records, rest = slices(window, self.size)
        return (records if self.pad is None else [record.rstrip(self.pad) for record in records]), rest

    def encode(self, frame: bytes) -> bytes:
        """Return the payload, padded if that is allowed; refuse any that would be read back otherwise."""
        check_payload(frame)
        frame = bytes(frame)
        size = len(frame)
        if size > self.size or (size < self.size and self.pad is None):
            raise EncodeError(f"payload of {size} bytes in records of {self.size}")
        if self.pad is None:
            return frame
        if frame.endswith(self.pad):
            raise EncodeError(f"payload ends with the pad byte {self.pad!r}, which reading strips")
        return frame.ljust(self.size, self.pad)


def _check_pad(pad: object) -> None:
    """Raise ValueError unless `pad` is None or one byte."""
    if pad is not None and not (isinstance(pad, bytes) and len(pad) == 1):
        raise ValueError(f"pad is {pad!r}; it must be one byte")
