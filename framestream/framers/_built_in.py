"""The names of the built-in framers, and where each is."""

from __future__ import annotations

from typing import Final

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
"""Name to place. As text, so that asking for lines does not import msgpack."""
