"""The built-in framers: small files that depend only on the contract."""

from __future__ import annotations

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
    "UntilClose", "When",
]
# fmt: on

BUILT_IN: Final = {
    "available": "amounts:Available",
    "delimiter": "delimiter:Delimiter",
    "exactly": "amounts:Exactly",
    "first-of": "choice:FirstOf",
    "fixed-length": "amounts:FixedLength",
    "length-prefix": "length_prefix:LengthPrefix",
    "line": "delimiter:Line",
    "msgpack": "msgpack:Msgpack",
    "nested": "combined:Nested",
    "regex": "regex:Regex",
    "sequence": "combined:Sequence",
    "until-close": "amounts:UntilClose",
    "when": "choice:When",
}
"""Name to module and class, as text, so that asking for lines does not import msgpack."""

_NAMELESS: Final = (
    "generator:Body",
    "generator:Fields",
    "generator:GeneratorFramer",
    "combined:HeaderThenBody",
    "combined:Mapped",
)
"""Framers that no spec string can name: they take functions, or are subclassed."""

_PLACES: Final = {place.partition(":")[2]: place for place in (*BUILT_IN.values(), *_NAMELESS)}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name].partition(':')[0]}"), name)


def __dir__() -> list[str]:
    return __all__
