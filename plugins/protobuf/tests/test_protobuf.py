"""Delimited messages of a class that needs no protobuf: sizes, bad messages, and the kit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from framestream import (
    EncodeError,
    PayloadError,
    SpecError,
    get_framer,
    iter_frames,
)
from framestream.testing import check_framer
from framestream_protobuf import Protobuf, Raw


class NotThisError(Exception):
    """Is no ValueError, as Google's DecodeError is none."""


@dataclass(frozen=True)
class Text:
    """A message with one field: a string, number 1 (protobuf.dev, "Encoding")."""

    text: str = ""

    @classmethod
    def FromString(cls, data: bytes) -> Text:
        if not data:
            return cls()
        if data[0] != 0x0A or len(data) > 129 or data[1:2] != bytes((len(data) - 2,)):
            raise NotThisError("wire type")
        return cls(data[2:].decode())

    def SerializeToString(self) -> bytes:
        if "\0" in self.text:
            raise NotThisError("required field")
        data = self.text.encode()
        return b"\x0a" + bytes((len(data),)) + data if data else b""


def delimited(text: str) -> bytes:
    payload = Text(text).SerializeToString()
    size = len(payload)
    return (bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))) + payload


def test_conformance() -> None:
    check_framer(
        Protobuf(Text),
        examples={
            delimited("hello") + delimited("") + delimited("you"): [Text("hello"), Text(""), Text("you")],
            delimited("x" * 127): [Text("x" * 127)],
            b"\x87\x80\x00\x0a\x05hello": [Text("hello")],  # a size in more bytes than it needs
            b"": [],
        },
        malformed={
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": "varint",
            b"\xff" * 8 + b"\x7f": "frame of 9223372036854775807 bytes exceeds the limit",
            b"\x03\x08\x96\x01": "no Text: wire type",
            b"\x03\x0a\x01\xff": "no Text: 'utf-8' codec",
        },
        incomplete=[b"\x87", b"\x07", b"\x07\x0a\x05hell"],
    )


def test_conformance_without_a_class() -> None:
    check_framer(Protobuf(), examples=Protobuf.examples, incomplete=[b"\x03\x08\x96"])
    assert str(Protobuf()) == "protobuf"
    assert list(Protobuf().encode(Raw(b"\x08\x96\x01"))) == [b"\x03", b"\x08\x96\x01"]


def test_a_bad_message_leaves_the_stream_in_step() -> None:
    bad: list[PayloadError] = []
    wire = delimited("a") + b"\x01x" + delimited("b")
    assert list(iter_frames(wire, Protobuf(Text), on_payload_error=bad.append)) == [Text("a"), Text("b")]
    assert [(error.reason, error.offset) for error in bad] == [("no Text: wire type", 4)]


@pytest.mark.parametrize(("message", "complaint"), [
    ("hello", "str is no Text"),
    (Text("\0"), "Text cannot be written: required field"),
    (Text("hello"), "message of 7 bytes exceeds the limit 6"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(message: Any, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        Protobuf(Text, max_size=6).encode(message)


@pytest.mark.parametrize(("message", "complaint"), [
    ("nowhere:Text", "it cannot be imported: No module named 'nowhere'"),
    ("json:Nothing", "it cannot be imported: module 'json' has no attribute 'Nothing'"),
    ("json", "it cannot be imported"),
    (":Text", "it cannot be imported"),
    ("json:loads", "it must be a message class, with FromString"),
    (int, "it must be a message class, with FromString"),
])  # fmt: skip
def test_the_class_is_looked_up_at_once(message: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Protobuf(message)


def test_it_is_found_by_name() -> None:
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    spec = 'protobuf:message="google.protobuf.wrappers_pb2:StringValue",max=1KiB'
    framer = get_framer(spec)
    assert str(framer) == spec
    [message] = iter_frames(delimited("hello"), framer)
    assert message.value == "hello"


def test_a_wrong_name_is_a_wrong_spec() -> None:
    with pytest.raises(SpecError, match="cannot be imported"):
        get_framer('protobuf:"nowhere:Text"')
