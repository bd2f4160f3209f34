"""The built-in framers: small files that know the contract and nothing else of framestream."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from framestream.framers._available import Available
    from framestream.framers._delimiter import Delimiter
    from framestream.framers._exactly import Exactly
    from framestream.framers._fields import Body, Fields
    from framestream.framers._first_of import FirstOf
    from framestream.framers._fixed_length import FixedLength
    from framestream.framers._generator import GeneratorFramer
    from framestream.framers._header_then_body import HeaderThenBody
    from framestream.framers._length_prefix import LengthPrefix
    from framestream.framers._line import Line
    from framestream.framers._mapped import Mapped, Nested
    from framestream.framers._msgpack import Msgpack
    from framestream.framers._regex import Regex
    from framestream.framers._sequence import Sequence
    from framestream.framers._until_close import UntilClose
    from framestream.framers._when import When

__all__ = [
    "Available",
    "Body",
    "Delimiter",
    "Exactly",
    "Fields",
    "FirstOf",
    "FixedLength",
    "GeneratorFramer",
    "HeaderThenBody",
    "LengthPrefix",
    "Line",
    "Mapped",
    "Msgpack",
    "Nested",
    "Regex",
    "Sequence",
    "UntilClose",
    "When",
]

BUILT_IN: Final = {
    "available": "_available:Available",
    "delimiter": "_delimiter:Delimiter",
    "exactly": "_exactly:Exactly",
    "first-of": "_first_of:FirstOf",
    "fixed-length": "_fixed_length:FixedLength",
    "length-prefix": "_length_prefix:LengthPrefix",
    "line": "_line:Line",
    "msgpack": "_msgpack:Msgpack",
    "nested": "_mapped:Nested",
    "regex": "_regex:Regex",
    "sequence": "_sequence:Sequence",
    "until-close": "_until_close:UntilClose",
    "when": "_when:When",
}
"""Name to module and class. As text, so that asking for lines does not import msgpack."""

_NAMELESS: Final = (
    "_fields:Body",
    "_fields:Fields",
    "_generator:GeneratorFramer",
    "_header_then_body:HeaderThenBody",
    "_mapped:Mapped",
)
"""Those that no spec string can name: they take functions, or are subclassed."""

_PLACES: Final = {place.partition(":")[2]: place for place in (*BUILT_IN.values(), *_NAMELESS)}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name].partition(':')[0]}"), name)
