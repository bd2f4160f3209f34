"""ErlangPacket: {packet,1}, {packet,2} and {packet,4}."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from framestream import Framer, LengthPrefix, NeedMore, Span, Window
from framestream.framer import bytes_of


@dataclass(frozen=True)
class ErlangPacket(Framer[bytes]):
    r"""Cut what a socket with ``{packet, 1 | 2 | 4}`` sends: a big-endian length, and as many bytes.

    ::

        INPUT     \0\0\0\5hello   \0\0\0\0
        DECODED   b"hello"        b""

    It is ``length-prefix`` under Erlang's name (inet:setopts/2; ports with ``{packet, N}`` in
    erlang:open_port/2). EPMD speaks it with two bytes, distributed nodes with two and then four.
    """

    name = "erlang-packet"
    examples: ClassVar[dict[bytes, list[bytes]]] = {b"\0\0\0\5hello\0\0\0\0": [b"hello", b""]}
    malformed: ClassVar[dict[bytes, str]] = {}
    peers = ("Erlang/OTP 25 (erts 13.1.5)",)

    size: Annotated[Literal[1, 2, 4], "Size of the length: what {packet, N} is. Bytes."] = 4
    max_size: Annotated[int | None, "The largest packet. Bytes."] = None

    def __post_init__(self) -> None:
        if self.size not in (1, 2, 4):
            raise ValueError(f"size is {self.size!r}; it must be 1, 2 or 4")
        object.__setattr__(self, "overhead", self.size)

    @cached_property
    def _framer(self) -> LengthPrefix:
        return LengthPrefix(self.size)

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span as soon as the length has arrived."""
        return self._framer.find(window)

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole packet."""
        return self._framer.split(window)

    def encode(self, frame: bytes) -> bytes | list[bytes]:
        """Return the length and the packet. Raise EncodeError if the length does not fit into its size."""
        return self._framer.encode(bytes_of(frame, self.max_size, copy=False))

    def explain(self, window: Window) -> str:
        """Guess which other protocol this is."""
        return self._framer.explain(window)
