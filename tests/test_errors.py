"""Errors say whose fault it is, carry data, and read as one clause."""

from __future__ import annotations

import copy
import pickle

import pytest
from sample_conditions import Silent

from framestream import errors as e


def test_errors_are_caught_by_their_kind() -> None:
    ours = (e.StreamBusy, e.StreamClosed, e.FramingError, e.PayloadError, e.EncodeError, e.SpecError, e.PluginError)
    for base, kinds in {
        e.FramingError: (e.FrameTooLarge, e.IncompleteFrame),
        ValueError: (e.EncodeError, e.SpecError),
        LookupError: (e.UnknownFramerError,),
        e.SpecError: (e.UnknownFramerError,),
        e.FramestreamError: ours,
    }.items():
        assert [kind for kind in kinds if not issubclass(kind, base)] == []


@pytest.mark.parametrize(("error", "text"), [
    (e.FramingError("bad"), "bad"),
    (e.FramingError("bad", offset=7), "bad (at offset 7)"),
    (e.FrameTooLarge(limit=5, size=9), "frame of 9 bytes exceeds the limit 5"),
    (e.FrameTooLarge(limit=5), "frame exceeds the limit of 5 bytes"),
    (e.FrameTooLarge(limit=1), "frame exceeds the limit of 1 byte"),
    (e.IncompleteFrame(received=3), "stream ended inside a frame: 3 bytes arrived"),
    (e.IncompleteFrame(received=1), "stream ended inside a frame: 1 byte arrived"),
    (e.IncompleteFrame(received=3, expected=9), "stream ended inside a frame: 3 of 9 bytes arrived"),
    (e.PayloadError("bad", payload=b"x"), "bad"),
    (e.PayloadError("bad", offset=7), "bad (frame at offset 7)"),
    (
        e.UnknownFramerError("lien", available=("line", "regex"), suggestion="line"),
        "no framer named 'lien'; did you mean 'line'? (available: line, regex)",
    ),
    (e.UnknownFramerError("x"), "no framer named 'x'"),
    (e.UnknownFramerError("x", available=("line",) * 4000), f"no framer named 'x' (available: {'line, ' * 40}...)"),
    (e.StreamClosed(), "stream is closed"),
    (e.StreamClosed(real_error=OSError("reset")), "stream is closed: reset"),
    (e.FramerContractError("no span", framer="acme"), "acme: no span"),
    (e.FramerContractError("no span"), "framer: no span"),
    (e.PluginError("no module", plugin="acme"), "no module"),
    (e.EncodeError("bad"), "bad"),
    (e.SpecError("bad", spec="x"), "bad"),
    (e.AddressError("bad", url="x"), "bad"),
    (e.ConnectError("refused", url="tcp://x", attempts=(("x", ValueError()),)), "refused"),
    (e.ConnectTimeout("no answer"), "no answer"),
    (e.StreamTimeout("too slow", peer="x"), "too slow"),
    (e.BufferFull("full", size=2, limit=1), "full: 2 bytes, limit 1"),
    (e.WorkerError("died"), "died"),
    (e.ArchiveError("bad", url="x", offset=7), "x: bad (at offset 7)"),
], ids=lambda e: type(e).__name__)  # fmt: skip
def test_an_error_reads_as_one_clause_also_when_it_is_copied_or_comes_from_another_process(
    error: e.FramestreamError, text: str
) -> None:
    for twin in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(error), text, error.args) == (type(twin), str(twin), twin.args)
        assert repr(vars(error)) == repr(vars(twin))


def test_what_a_stranger_says_is_shown_without_reaching_the_terminal() -> None:
    assert e.printable("a\x1b[31m\x9b\u202eb\ud800\n") == "a\\x1b[31m\\x9b\\u202eb\\ud800\\n"
    assert e.printable("two\nlines\t", keep="\n\t") == "two\nlines\t"


def test_an_error_is_described_even_if_it_has_no_working_str() -> None:
    assert e.describe_error(OSError("reset\x1b[2J")) == "reset\\x1b[2J"
    assert e.describe_error(KeyError()) == "KeyError"
    assert e.describe_error(Silent()) == "Silent, whose str() raises RuntimeError"
