"""The built-in framers: small files that depend only on the contract, and what nearly all of them share."""

from __future__ import annotations

import re
from abc import ABCMeta
from functools import lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from framestream.framers.amounts import Available, Exactly, FixedLength, UntilClose
    from framestream.framers.choice import FirstOf, When
    from framestream.framers.combined import HeaderThenBody, Mapped, Nested, Sequence
    from framestream.framers.delimiter import Delimiter, Line
    from framestream.framers.generator import Body, Fields, GeneratorFramer
    from framestream.framers.length_prefix import LengthPrefix
    from framestream.framers.msgpack import Msgpack
    from framestream.framers.regex import Regex

# fmt: off
__all__ = [
    "Available", "Body", "Delimiter", "Exactly", "Fields", "FirstOf", "FixedLength", "GeneratorFramer",
    "HeaderThenBody", "LengthPrefix", "Line", "Mapped", "Msgpack", "Nested", "Regex", "Sequence",
    "UntilClose", "When", "looks_like",
]
# fmt: on

_PLACES: Final = {
    "amounts": "Available Exactly FixedLength UntilClose",
    "choice": "FirstOf When",
    "combined": "HeaderThenBody Mapped Nested Sequence",
    "delimiter": "Delimiter Line",
    "generator": "Body Fields GeneratorFramer",
    "length_prefix": "LengthPrefix",
    "msgpack": "Msgpack",
    "regex": "Regex",
}
_MODULES: Final = {name: module for module, names in _PLACES.items() for name in names.split()}

# Those that no spec string can name take functions, or are subclassed.
_NAMELESS: Final = ("Body", "Fields", "GeneratorFramer", "HeaderThenBody", "Mapped")

BUILT_IN: Final = {
    "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]: name
    for name in _MODULES
    if name not in _NAMELESS
}
"""Name, such as ``first-of``, to the name of the class, so that asking for lines does not import msgpack."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class Interned(ABCMeta):
    """The metaclass of framers whose equal calls give the same object.

    ``read(Line())`` then costs little more than with a kept `Line` (in_process.py, lines): a call is a
    look-up in C. Each class remembers its last 256 different calls, including the functions passed
    to it. The arguments must be hashable, as a framer itself is. Where people pass a bytearray or a list for
    bytes, ``checked=True`` lets the class refuse it in its own words; then a call takes three times as long.

    A class derived from a framer makes a new object at each call: it may not be a value.
    """

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, checked: bool = False) -> Any:
        """Make the class, and a metaclass of its own that knows how to call it."""
        # With one memory for all classes the class would be part of each key, and Line() would take 96 ns
        # instead of 42, when reading a frame takes 150.
        own: Any = type(mcs.__name__, (mcs,), {})
        made = super().__new__(own, name, bases, namespace)
        remember = lru_cache(maxsize=256, typed=True)(partial(type.__call__, made))

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return remember(*arguments, **options)
            except TypeError:  # one cannot be hashed, or is refused, which it is again
                pass  # what is raised below would tell of this first
            return type.__call__(made, *arguments, **options)

        own.__call__ = type.__call__ if mcs is not Interned else staticmethod(call if checked else remember)
        return made

    if not TYPE_CHECKING:  # a type checker sees ordinary classes

        @property
        def __signature__(cls) -> Any:
            # `inspect` would show the signature of `__call__`.
            from inspect import signature  # noqa: PLC0415

            shown = signature(cls.__init__)
            return shown.replace(parameters=list(shown.parameters.values())[1:])


# What the first bytes of a refused frame are: most often, another protocol on this port. These patterns, and
# those in `framer`, are compiled on first use: all of them take a tenth of an import.
_BINARY = (
    (rb"\x16\x03[\x00-\x04]", "a TLS handshake"),
    (rb"\x15\x03[\x00-\x04]", "a TLS alert"),
    (rb"\r\n\r\n\0\r\nQUIT\n", "a PROXY protocol header"),
    (rb"\x1f\x8b\x08", "gzip data"),
)
_TEXT = (
    (rb"PRI \* HTTP/2", "an HTTP/2 connection"),
    (rb"(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) ", "an HTTP request"),
    (rb"HTTP/\d", "an HTTP response"),
    (rb"SSH-\d", "an SSH greeting"),
    (rb"PROXY ", "a PROXY protocol header"),
    (rb"\s*[{[]\s*([\"{[\d\]}-]|true|false|null)", "JSON"),
    (rb"\s*<[?!A-Za-z]", "XML or HTML"),
    (rb"[\t\r\n -~]{8}", "text"),
)
_LONGEST = 64


def looks_like(data: bytes | bytearray, start: int, *, expecting_text: bool = False) -> str:
    """Return ``looks like an HTTP request`` or the like; "" if the bytes from `start` on match nothing.

    Where text is expected, only bytes that are not text are worth a remark.
    """
    beginning = bytes(data[start : start + _LONGEST])
    for pattern, what in _BINARY if expecting_text else _BINARY + _TEXT:
        if re.match(pattern, beginning):
            return f"looks like {what}"
    return ""
