"""The built-in framers as a plugin: they register through the same hook as anybody's."""

from __future__ import annotations

from typing import Final

from framestream.registry._hookspecs import Register, hookimpl

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


@hookimpl
def framestream_register_framers(register: Register) -> None:
    """Register every built-in framer."""
    for name, place in BUILT_IN.items():
        register(name, f"framestream.framers.{place}")
