"""Examples of every framer: a spec string and a stream that it cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from framestream.iterate import iter_frames

if TYPE_CHECKING:
    from framestream.framer import ReadCondition

Example = tuple[str, bytes]

BUILT_IN: Final[dict[str, tuple[Example, ...]]] = {
    "available": (("available:max=4", b"abcdefghij"),),
    "delimiter": (
        ('delimiter:"\\r\\n","\\n"', b"PING\r\nPONG\n"),
        ("delimiter:;,keep", b"a=1;b=2;"),
    ),
    "exactly": (("exactly:4", b"\x00\x01\x02\x03"),),
    "first-of": (('first-of(when(length-prefix:2):"\\0", line)', b"\x00\x02hihello\n"),),
    "fixed-length": (("fixed-length:3", b"abcdef"), ('fixed-length:4,pad=" "', b"ab  cd  ")),
    "length-prefix": (
        ("length-prefix:2", b"\x00\x03abc\x00\x02hi"),
        ("length-prefix:format=varint", b"\x03abc\x02hi"),
        ('length-prefix:format=decimal,terminator=":"', b"3:abc2:hi"),
    ),
    "line": (("line", b"hello\r\nworld\n"), ("line:newline=crlf", b"hello\r\n")),
    "msgpack": (("msgpack", b"\x82\xa2op\xa3add\xa1n\x01\x93\x01\x02\xc0"),),
    "nested": (("nested(length-prefix:1, msgpack)", b"\x04\x93\x01\x02\x03"),),
    "regex": (('regex:"\\r\\n\\r\\n"', b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),),
    "sequence": (("sequence(length-prefix:1, line)", b"\x02hiline\n"),),
    "until-close": (("until-close", b"everything there is"),),
    "when": (("when(line):$", b"$1\n$2\n"),),
}


def examples_of(name: str, factory: Any) -> tuple[Example, ...]:
    """Return the examples of a framer: ours, or what its class carries.

    A framer's class says ``examples = {b"3:abc,": [b"abc"]}``, the streams that the conformance kit takes,
    and ``example_spec = "netstring:max=1KiB"`` if its name alone does not make one.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    spec = getattr(factory, "example_spec", name)
    return tuple((spec, bytes(stream)) for stream in getattr(factory, "examples", ()))


def frames_in(condition: ReadCondition[Any], stream: bytes) -> list[Any]:
    """Return the frames of a stream that is there from the beginning."""
    return list(iter_frames(stream, condition))
