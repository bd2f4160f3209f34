"""Protobuf: messages, each after its size, as parseDelimitedFrom reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any, ClassVar, Final, Protocol

from typing_extensions import TypeVar

from framestream import EncodeError, Framer, LengthPrefix, NeedMore, Span, Window
from framestream.errors import counted

_MOST: Final = (1 << 31) - 1
"""Bytes a message may have: the limit of every implementation (protobuf.dev, "Proto Limits")."""


class Message(Protocol):
    """The interface of a message class; Google's have it, and betterproto's."""

    @classmethod
    def FromString(cls, data: bytes, /) -> Any:  # noqa: N802 - Google's name
        """Return the message in these bytes."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - Google's name
        """Return the message's bytes."""


class Raw(bytes):
    """An undecoded message: used without a message class."""

    __slots__ = ()

    @classmethod
    def FromString(cls, data: bytes, /) -> Raw:  # noqa: N802 - Google's name
        """Return the bytes."""
        return cls(data)

    def SerializeToString(self) -> bytes:  # noqa: N802 - Google's name
        """Return the bytes."""
        return bytes(self)


M = TypeVar("M", bound=Message, default=Raw)


@dataclass(frozen=True)
class Protobuf(Framer[M]):
    r"""Cut protobuf messages, each after its size, and decode them.

    ::

        INPUT     \x03\x08\x96\x01   \x00
        DECODED   Test1(a=150)       Test1()       (without a class: Raw(b"\x08\x96\x01")  Raw())

    The size is a varint (protobuf.dev, "Encoding", "Base 128 Varints") of at most 10 bytes; the layout is
    that of Java's writeDelimitedTo and Python's serialize_length_prefixed, and the one "Streaming Multiple
    Messages" recommends. ``length-prefix:format=varint`` cuts the same frames undecoded.

    A message above the limit is refused by its size, and can be skipped or streamed. A size of more
    than 10 bytes breaks the stream (`FramingError`); bytes that are not such a message are a `PayloadError`.
    """

    name = "protobuf"
    overhead = 10
    examples: ClassVar[dict[bytes, list[Raw]]] = {
        b"\x03\x08\x96\x01\x00": [Raw(b"\x08\x96\x01"), Raw()],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1": "varint"}
    peers = ("protobuf 7.36.2", "prometheus-node-exporter 1.5.0")

    message: Annotated[type[M] | str, "The message class; as text, module:Class."] = "framestream_protobuf:Raw"
    max_size: Annotated[int | None, "The largest message. Bytes."] = None

    def __post_init__(self) -> None:
        for method in ("FromString", "SerializeToString"):
            if not callable(getattr(self._class, method, None)):
                raise ValueError(f"message is {self.message!r}; it must be a message class, with {method}")

    @cached_property
    def _class(self) -> Any:
        if not isinstance(self.message, str):
            return self.message
        module, _, path = self.message.partition(":")
        try:
            found: Any = import_module(module)
            for name in path.split("."):
                found = getattr(found, name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"message is {self.message!r}; it cannot be imported: {error}") from error
        return found

    @cached_property
    def _framer(self) -> LengthPrefix:
        return LengthPrefix(format="varint")

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span as soon as the size has arrived."""
        return self._framer.find(window)

    def decode(self, payload: bytes) -> M:
        """Return the message. ValueError if these bytes are not one."""
        try:
            message: M = self._class.FromString(payload)
        except Exception as error:  # the class may raise anything; Google's is no ValueError
            raise ValueError(f"no {self._class.__name__}: {error}") from error
        return message

    def split(self, window: Window) -> tuple[list[M], int]:
        """Cut every whole message."""
        payloads, end = self._framer.split(window)
        parse = self._class.FromString
        try:
            return [parse(payload) for payload in payloads], end
        except Exception:  # noqa: BLE001 - whatever it is, it is raised again with the place of its frame
            return super().split(window)

    def encode(self, frame: M) -> bytes | list[bytes]:
        """Return the size and the message.

        Raises:
            EncodeError: it is of another class, lacks required fields, or is larger than the limit.
        """
        if not isinstance(frame, self._class):
            raise EncodeError(f"{type(frame).__name__} is no {self._class.__name__}")
        try:
            payload = frame.SerializeToString()
        except Exception as error:
            raise EncodeError(f"{self._class.__name__} cannot be written: {error}") from error
        limit = _MOST if self.max_size is None else self.max_size
        if len(payload) > limit:
            raise EncodeError(f"message of {counted(len(payload), 'byte')} exceeds the limit {limit}")
        return self._framer.encode(payload)

    def explain(self, window: Window) -> str:
        """Guess which other protocol this is."""
        return self._framer.explain(window)
