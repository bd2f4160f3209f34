"""Errors say whose fault it is, carry data, and read as one clause."""

from __future__ import annotations

import copy
import pickle

import pytest

from framestream import (
    AddressError,
    BufferFull,
    ConnectError,
    ConnectTimeout,
    EncodeError,
    FramerContractError,
    FramestreamError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    PluginError,
    SpecError,
    StreamBusy,
    StreamClosed,
    StreamTimeout,
    UnknownFramerError,
    WorkerError,
)
from framestream.errors import describe_error, printable


def test_errors_are_caught_by_their_kind() -> None:
    for base, kinds in {
        FramingError: (FrameTooLarge, IncompleteFrame),
        ValueError: (EncodeError, SpecError),
        LookupError: (UnknownFramerError,),
        SpecError: (UnknownFramerError,),
        FramestreamError: (StreamBusy, StreamClosed, FramingError, PayloadError, EncodeError, SpecError, PluginError),
    }.items():
        assert [kind for kind in kinds if not issubclass(kind, base)] == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FramingError("bad"), "bad"),
        (FramingError("bad", offset=7), "bad (at offset 7)"),
        (FrameTooLarge(limit=5, size=9), "frame of 9 bytes exceeds the limit 5"),
        (FrameTooLarge(limit=5), "frame exceeds the limit of 5 bytes"),
        (FrameTooLarge(limit=1), "frame exceeds the limit of 1 byte"),
        (IncompleteFrame(received=3), "stream ended inside a frame: 3 bytes arrived"),
        (IncompleteFrame(received=1), "stream ended inside a frame: 1 byte arrived"),
        (IncompleteFrame(received=3, expected=9), "stream ended inside a frame: 3 of 9 bytes arrived"),
        (PayloadError("bad"), "bad"),
        (PayloadError("bad", offset=7), "bad (frame at offset 7)"),
        (
            UnknownFramerError("lien", available=("line", "regex"), suggestion="line"),
            "no framer named 'lien'; did you mean 'line'? (available: line, regex)",
        ),
        (UnknownFramerError("x"), "no framer named 'x'"),
        (
            UnknownFramerError("x", available=("line",) * 4000),
            f"no framer named 'x' (available: {'line, ' * 40}...)",
        ),
        (StreamClosed(), "stream is closed"),
        (StreamClosed(real_error=OSError("reset")), "stream is closed: reset"),
        (FramerContractError("no span", framer="acme"), "acme: no span"),
        (FramerContractError("no span"), "framer: no span"),
        (PluginError("no module", plugin="acme"), "no module"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_error_reads_as_one_clause(error: FramestreamError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    "error",
    [
        FrameTooLarge(limit=5, size=9),
        IncompleteFrame(received=3),
        PayloadError("bad", payload=b"x"),
        EncodeError("bad"),
        SpecError("bad", spec="x"),
        UnknownFramerError("x", available=("y",)),
        AddressError("bad", url="x"),
        ConnectError("refused", url="tcp://x", attempts=(("x", ValueError()),)),
        ConnectTimeout("no answer"),
        StreamTimeout("too slow", peer="x"),
        BufferFull("full", size=2, limit=1),
        WorkerError("died"),
        PluginError("no module", plugin="acme"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_is_copied_or_comes_from_another_process_is_the_same(error: FramestreamError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(error), str(error), error.args) == (type(twin), str(twin), twin.args)
        assert repr(vars(error)) == repr(vars(twin))


def test_what_a_stranger_says_is_shown_without_reaching_the_terminal() -> None:
    assert printable("a\x1b[31m\x9b\u202eb\ud800\n") == "a\\x1b[31m\\x9b\\u202eb\\ud800\\n"
    assert printable("two\nlines\t", keep="\n\t") == "two\nlines\t"


def test_an_error_is_described_even_if_it_has_no_working_str() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert describe_error(OSError("reset\x1b[2J")) == "reset\\x1b[2J"
    assert describe_error(KeyError()) == "KeyError"
    assert describe_error(Mute()) == "Mute, whose str() raises RuntimeError"
