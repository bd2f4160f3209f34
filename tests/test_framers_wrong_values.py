"""What a framer cannot write is an EncodeError, whatever it is: nothing of it reaches the stream."""

from array import array
from contextlib import suppress

import pytest
from framer_examples import SAMPLES

from framestream import (
    Delimiter,
    EncodeError,
    Exactly,
    FixedLength,
    Framer,
    LengthPrefix,
    Line,
    Regex,
    UntilClose,
)
from framestream.framers import HeaderThenBody, Mapped, Sequence

FRAMERS = {name: sample.framer for name, sample in SAMPLES.items() if isinstance(sample.framer, Framer)}

VALUES = [
    *(5, True, None, 1.5, object(), {}, {"a": 1}, [], ["a"], [5], (), (1, 2), ("a", b"b"), ((), ())),
    *("text", "x\n", "\ud800", b"x", bytearray(b"x"), memoryview(b"x"), memoryview(array("I", [1, 2]))),
]


@pytest.mark.parametrize("name", FRAMERS)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_any_value_is_written_as_bytes_or_refused(name, value):
    with suppress(EncodeError):
        written = FRAMERS[name].encode(value)
        b"".join([written] if isinstance(written, bytes | bytearray | memoryview) else written)


@pytest.mark.parametrize(
    ("framer", "value", "reason"),
    [
        (Line(), 5, "frame is of type int; it must be text"),
        (Line(None), "one", "frame is text; without an encoding it must be bytes"),
        (LengthPrefix(4), "one", "frame is of type str; it must be bytes"),
        (LengthPrefix(4), memoryview(array("I", [1])), "frame is of type memoryview; it must be bytes"),
        (Sequence(Line(), Line()), 5, "frame is of type int, not one value for each part"),
        (Mapped(Line(), str, lambda value: value["name"]), {}, "'name'"),
        (
            HeaderThenBody(Line(), lambda line: Exactly(int(line)), separate=lambda frame: frame.parts),
            b"",
            "frame cannot be taken apart: 'bytes' object has no attribute 'parts'",
        ),
    ],
)
def test_a_refusal_says_what_the_framer_takes(framer, value, reason):
    with pytest.raises(EncodeError, match=f"^{reason}$"):
        framer.encode(value)


@pytest.mark.parametrize(
    "framer",
    [Delimiter(b";"), FixedLength(3), LengthPrefix(2), Line(), Line(None), Regex("e"), UntilClose()],
    ids=str,
)
def test_every_kind_of_bytes_is_written_alike(framer):
    def wire(frame):
        written = framer.encode(frame)
        return bytes(written) if isinstance(written, bytes | bytearray | memoryview) else b"".join(written)

    assert wire(b"one") == wire(bytearray(b"one")) == wire(memoryview(b"one"))
