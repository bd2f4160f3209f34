"""The built-in framers: small files that know the contract and nothing else of framestream."""

from __future__ import annotations

from typing import Final

BUILT_IN: Final = {
    "available": "amounts:Available",
    "delimiter": "delimiter:Delimiter",
    "exactly": "amounts:Exactly",
    "first-of": "choice:FirstOf",
    "fixed-length": "amounts:FixedLength",
    "length-prefix": "length_prefix:LengthPrefix",
    "line": "line:Line",
    "msgpack": "msgpack:Msgpack",
    "nested": "mapped:Nested",
    "regex": "regex:Regex",
    "sequence": "sequence:Sequence",
    "until-close": "amounts:UntilClose",
    "when": "choice:When",
}
"""Name to module and class. As text, so that asking for lines does not import msgpack."""
