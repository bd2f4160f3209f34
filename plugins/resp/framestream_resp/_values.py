"""RESP types that Python lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framestream.framer import bytes_of


@dataclass(frozen=True)
class ErrorReply:
    """An error the server replied with: a value, as replies of a pipeline may be errors.

    Attributes:
        message: all of it, such as ``"WRONGTYPE Operation against a key ..."``.
    """

    message: str

    @property
    def code(self) -> str:
        """Its first word, by which errors are distinguished."""
        return self.message.partition(" ")[0]


@dataclass(frozen=True)
class Verbatim:
    """Text that is meant for a human, with its format: ``txt`` or ``mkd``.

    Attributes:
        text: the text.
        format: three characters.
    """

    text: bytes
    format: str = "txt"


@dataclass(frozen=True)
class Attributed:
    """A value with its attributes.

    Attributes:
        value: the value.
        attributes: such as ``{"key-popularity": {...}}``.
    """

    value: Any
    attributes: dict[Any, Any] | Pairs


class Pairs(list[tuple[Any, Any]]):
    """A map that cannot be a dict, as pairs of key and value in the server's order, so that none is lost.

    Its keys are equal in Python (``:1``, ``#t`` and ``,1`` are, and a key that is sent twice), or are maps
    themselves, or more than 100 of them are numbers: those could be chosen to make a dict slow.
    """

    __slots__ = ()

    def items(self) -> Pairs:
        """Return the pairs, as a dict does."""
        return self

    def __repr__(self) -> str:
        return f"Pairs({super().__repr__()})"


class Push(list[Any]):
    """A message the server sends without a request, such as a published message.

    The first item tells its kind (``b"message"``, ``b"invalidate"``).
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Push({super().__repr__()})"


def command(*words: bytes | str | int | float) -> list[bytes]:
    """Return a command for `send` to write as clients do, an array of bulk strings.

    ``await stream.send(command("EXPIRE", key, 60))``; ``stream.write`` would send the words without a frame.

    Raises:
        EncodeError: a word is of another type, such as None or True, for which Redis has no form.
    """
    return [_word(word) for word in words]


def _word(word: bytes | str | float) -> bytes:
    if isinstance(word, str):
        return word.encode("utf-8", "surrogateescape")
    if isinstance(word, int | float) and not isinstance(word, bool):
        return str(word).encode()
    return bytes_of(word, kind="bytes, text or a number")
