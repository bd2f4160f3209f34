"""Messages: frames put together (RFC 6455 5.4 to 5.6, 7.4 and 8.1)."""

from __future__ import annotations

import codecs
from typing import Final, NamedTuple, TypeAlias

from framestream import FrameTooLarge, FramingError
from framestream.errors import counted
from framestream_websocket._frame import Frame, Opcode

_NO_STATUS: Final = 1005
_PROTOCOL_ERROR: Final = 1002
_INVALID_DATA: Final = 1007
_TOO_BIG: Final = 1009
# Section 7.4.2, and what IANA has registered since; 1004 to 1006 and 1015 are never sent.
_CODES: Final = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)))


class Ping(NamedTuple):
    """A Ping, to be answered with a `Pong` of the same payload (5.5.2)."""

    payload: bytes

    def answer(self) -> Frame:
        """Return the Pong that answers it."""
        return Frame(Opcode.PONG, self.payload)


class Pong(NamedTuple):
    """A Pong (5.5.3)."""

    payload: bytes


class Close(NamedTuple):
    """A Close: nothing follows it in this direction (5.5.1).

    Attributes:
        code: the reason (7.4); 1005 stands for a Close without one.
        reason: for people.
    """

    code: int = _NO_STATUS
    reason: str = ""

    def frame(self) -> Frame:
        """Return the frame for it. ValueError for a code that must not be sent, or a long reason."""
        if self.code == _NO_STATUS and not self.reason:
            return Frame(Opcode.CLOSE)
        reason = self.reason.encode()
        if self.code not in _CODES or len(reason) > 123:
            raise ValueError(f"code {self.code} and a reason of {counted(len(reason), 'byte')} cannot be sent")
        return Frame(Opcode.CLOSE, self.code.to_bytes(2, "big") + reason)


Event: TypeAlias = str | bytes | Ping | Pong | Close


class WebSocketError(FramingError):
    """The frames are right, but their sequence is not.

    Attributes:
        code: the code to close the connection with.
    """

    def __init__(self, reason: str, code: int = _PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.code = code


def close_code(error: Exception) -> int:
    """Return the code to close a connection with after this error (7.4.1)."""
    if isinstance(error, FrameTooLarge):
        return _TOO_BIG
    return error.code if isinstance(error, WebSocketError) else _PROTOCOL_ERROR


class Messages:
    """Puts together the frames of one direction; one for each connection.

    Text is checked as it arrives: the fragment that breaks UTF-8 is refused, not the whole message (8.1).

    Args:
        max_size: limit on a message, all of its fragments together. Bytes.
    """

    def __init__(self, *, max_size: int = 1 << 20) -> None:
        self.max_size = max_size
        self._before = bytearray()
        self._kind: Opcode | None = None
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._closed = False

    def add(self, frame: Frame) -> Event | None:
        """Return what this frame completes: text, bytes, `Ping`, `Pong` or `Close`; None for a fragment.

        A control frame may come between the fragments of a message (5.4). Frames after a Close are ignored.

        Raises:
            WebSocketError: a fragment that continues nothing, a new message inside another one, text or a
                reason that is not UTF-8, a code that must not be sent, a message above the limit. Its `code`
                is for the Close that must follow (7.1.7).
        """
        if self._closed:
            return None
        if frame.opcode >= Opcode.CLOSE:
            return self._control(frame)
        if (self._kind is None) == (frame.opcode is Opcode.CONTINUATION):
            raise WebSocketError(
                "a fragment that continues no message" if self._kind is None else "a message inside another one"
            )
        if self._kind is None:
            self._kind = frame.opcode
        size = len(self._before) + len(frame.payload)
        if size > self.max_size:
            raise WebSocketError(f"message of {counted(size, 'byte')} exceeds the limit {self.max_size}", _TOO_BIG)
        text = self._checked(frame) if self._kind is Opcode.TEXT else ""
        if not frame.fin:
            self._before += frame.payload
            return None
        # Of a message in fragments the bytes are kept, not the fragments: those may be many, and empty.
        before, kind = self._before, self._kind
        self._before, self._kind = bytearray(), None
        if kind is Opcode.TEXT:
            return (before + frame.payload).decode() if before else text
        return bytes(before + frame.payload) if before else frame.payload

    def _checked(self, frame: Frame) -> str:
        try:
            return self._utf8.decode(frame.payload, frame.fin)
        except UnicodeDecodeError as error:
            raise WebSocketError(f"text that is not UTF-8: {error.reason}", _INVALID_DATA) from error

    def _control(self, frame: Frame) -> Ping | Pong | Close:
        if frame.opcode is Opcode.PING:
            return Ping(frame.payload)
        if frame.opcode is Opcode.PONG:
            return Pong(frame.payload)
        self._closed = True
        return _close(frame.payload)


def _close(payload: bytes) -> Close:
    if not payload:
        return Close()
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES or len(payload) < 2:
        raise WebSocketError(f"CLOSE with code {code}, which must not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        raise WebSocketError(f"CLOSE with a reason that is not UTF-8: {error.reason}", _INVALID_DATA) from error
