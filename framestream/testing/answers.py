"""Checks of single answers: that they are final and pure, that the framer is a value, and what it writes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from framestream.errors import FramingError, counted
from framestream.framer import Framer, NeedMore, ReadCondition, Window
from framestream.testing.contract import (
    Answer,
    ConformanceError,
    Untried,
    ask,
    bytes_in,
    describe_answer,
    describe_error,
    drip,
    encode,
    hold_same,
    is_one_frame,
    is_padding,
    is_same,
    window_after,
)
from framestream.testing.driver import hold_own_limit, read_whole, same_frames
from framestream.testing.suite import FRAMES, Suite, prefix_lengths

_BEFORE = b"\0\1"
_LARGEST = 1 << 16  # one more than two bytes of a length can say

# What no framing carries, and a buffer whose `len` is not its number of bytes.
_FOREIGN = (*FRAMES, (), (1,), ("a", "b", "c"), object(), [object()], {1: object()}, memoryview(b"12345678").cast("I"))


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


# What a framer says of itself, and what it may say.
_SAID: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "overhead": ("a number of bytes", _is_size),
    "lookbehind": ("a number of bytes", _is_size),
    "max_size": ("a number of bytes, or None", lambda value: value is None or _is_size(value)),
    "can_be_empty": ("True or False", lambda value: type(value) is bool),
    "synchronises": ("'exact', 'likely' or None", lambda value: value in ("exact", "likely", None)),
}


def check_answers(suite: Suite) -> None:
    """Whatever has arrived of a frame, `find` answers in the form of the contract."""
    for frame in suite.situations():
        for size in prefix_lengths(len(frame)):
            for eof in (False, True):
                ask(suite.framer, Window(frame[:size], eof=eof))
                ask(suite.framer, Window(bytearray(b"\r\n\0" + frame[:size]), 3, eof=eof))


def check_purity(suite: Suite) -> None:
    """The same frame gets the same answer, again, after other questions and elsewhere, and asking changes nothing.

    Let find be a function of the window alone: keep progress in NeedMore(resume=..., memo=...), treat the
    memo as immutable, and look at the window without touching it. The frame begins at window.start, and in another
    place at the next question: let a memo count from there.
    """
    framer = suite.framer
    frames = [frame[:200] for frame in suite.situations()]
    for frame, other in zip(frames, [*frames[1:], *frames[:1]], strict=True):
        ask(framer, Window(frame))  # anything the framer prepares once is prepared now
        before = _state(framer)
        for need, part, window, answer in drip(framer, frame, _BEFORE, kind=bytearray):
            after = _state(framer)
            if before != after:
                names = ", ".join(sorted({name for name, _ in before.items() ^ after.items()}))
                defect = f"find keeps state in self: asking changes the attribute {names}"
                raise ConformanceError(defect, data=part)
            shown = window_after(need, part, _BEFORE, kind=bytearray)
            if _look(window) != _look(shown) or window.memo is not shown.memo:
                defect = "find changes the window it was given"
                raise ConformanceError(defect, data=part, expected=_look(shown), got=_look(window))
            again = ask(framer, window)
            hold_same(answer, again, "find answers differently when it is asked the same question again", part)
            ask(framer, Window(other[: len(other) // 2]))
            again = ask(framer, shown)
            hold_same(answer, again, "two streams read in turns through one framer disturb each other", part)
            defect = "the answer depends on where in window.data the frame begins"
            try:
                moved = ask(framer, window_after(need, part))
            except ConformanceError as error:  # an index of the other window fits this one badly
                error.defect, error.hint = defect, ""
                raise
            hold_same(answer, moved, defect, part)


def _look(window: Window) -> str:
    shown = ", ".join(f"{name}={getattr(window, name)}" for name in ("start", "resume", "eof", "taken"))
    return f"data={bytes(window.data)!r}, {shown}"


def _state(framer: ReadCondition[Any]) -> dict[str, str]:
    state: Any = object.__getstate__(framer)
    parts = state if type(state) is tuple else (state,)  # the attributes of `__dict__`, and those in slots
    return {name: repr(value) for part in parts if part for name, value in part.items()}


def check_value(suite: Suite) -> None:
    """A framer can be hashed and copied, and equals its copy, and no other.

    Make it @dataclass(frozen=True), with tuples instead of lists in its fields.
    """
    framer: Any = suite.framer
    for name, (wanted, is_known) in _SAID.items():
        if not is_known(value := getattr(framer, name)):
            raise ConformanceError(f"{name} is {value!r}", expected=wanted, hint=f"give {name} such a value")
    for option in fields(framer) if is_dataclass(framer) else ():
        if option.init and not option.compare:
            hint = "leave compare=False out; hash=False is for a value that cannot be hashed"
            raise ConformanceError(f"framers that differ in {option.name} are equal", hint=hint)
    try:
        twin = copy.copy(framer)
        same = framer == twin and hash(framer) == hash(twin)
    except TypeError as error:
        raise ConformanceError(f"it cannot be hashed: {describe_error(error)}") from error
    if not same:
        raise ConformanceError("it does not equal its own copy")


def check_final(suite: Suite) -> None:
    """An answer is given only when no further byte can change it, and what `NeedMore` says of the frame is true."""
    for frame in (*suite.situations(), *_corrupted(suite)):
        answers = {size: ask(suite.framer, Window(frame[:size])) for size in prefix_lengths(len(frame))}
        last, at_end = answers[len(frame)], ask(suite.framer, Window(frame, eof=True))
        for size, early in answers.items():
            if is_padding(early):
                break  # no frame begins here; how much padding is passed over at once is free
            for later in (last, at_end):
                wrong = _misled(suite.framer, frame, early, later) or _changed(early, later, later is at_end)
                if wrong:
                    told = f"{describe_answer(early)}, of its first {counted(size, 'byte')}"
                    raise ConformanceError(
                        wrong[0], data=frame, expected=describe_answer(later), got=told, hint=wrong[1]
                    )


def _misled(framer: ReadCondition[Any], frame: bytes, early: Answer, later: Answer) -> tuple[str, str] | None:
    """Say what is wrong with a `NeedMore`, judged by the span of the same frame, and how to mend it."""
    if not isinstance(early, NeedMore) or not isinstance(later, tuple) or is_padding(later):
        return None
    first, stop, end = later[:3]
    settled, begin = early.settled or 0, early.payload_start or 0
    # A condition may have to look beyond the end.
    if early.size > end and not isinstance(ask(framer, Window(frame[:end])), NeedMore):
        hint = "let size count from window.start; a reader would wait for ever for bytes after the frame"
        return f"NeedMore asks for {counted(early.size, 'byte')} of a frame of {end}", hint
    hint = "settle only what cannot be part of a delimiter or trailer, and set payload_start after the header"
    if settled > stop:
        return f"bytes after the payload are reported as settled: settled={settled}, but it ends at {stop}", hint
    if settled > begin != first:
        return f"other bytes are reported as settled: payload_start={begin}, but the payload begins at {first}", hint
    return None


def _changed(early: Answer, later: Answer, at_end: bool) -> tuple[str, str] | None:
    """Say what is wrong if the second answer replaced the first, and how to mend it."""
    if isinstance(early, NeedMore) or is_same(early, later):
        return None
    if at_end:
        defect = "find takes an answer back when the stream has ended"
        hint = "let window.eof decide only about a frame that is not complete"
    elif isinstance(early, FramingError):
        defect = "find refuses bytes that are not wrong once more of them have arrived"
        hint = "raise FramingError only when no further byte can make a frame of it, always at the same place"
    elif isinstance(later, FramingError):
        defect = "find returns the span early, although bytes after it must still be checked"
        hint = "return NeedMore(size=...) until the trailer has arrived, check it, then return the span"
    else:
        defect = "find is greedy: it returns a span that further bytes change"
        hint = "return NeedMore() as long as the next byte may belong to the frame, unless window.eof"
    return defect, hint


def _corrupted(suite: Suite) -> Iterator[bytes]:
    """Yield the frames of the examples with one byte changed, the bytes of a trailer first."""
    for wire, cut in suite.cuts():
        frame = wire[cut.start : cut.stop]
        trailer = range(cut.payload_stop - cut.start, len(frame))
        payload = prefix_lengths(cut.payload_stop - cut.start)[:-1]
        for at in (*trailer[:32], *payload[-16:], *payload[:16]):
            for flip in (0xFF, 0x01):
                yield frame[:at] + bytes([frame[at] ^ flip]) + wire[cut.start + at + 1 :]


# Writing -------------------------------------------------------------------------------------------


def _writer(suite: Suite) -> Framer[Any]:
    if not isinstance(suite.framer, Framer):
        raise Untried("it cannot encode: it is a ReadCondition, not a Framer")
    return suite.framer


def check_round_trip(suite: Suite) -> None:
    """A frame that is encoded is read back equal, or `encode` refuses it.

    Make find and encode agree; raise EncodeError for a frame that this framing cannot carry, such as a
    payload that contains the delimiter or a length that does not fit.
    """
    framer = _writer(suite)
    read = [value for wire, _ in suite.examples for value in suite.reading(wire).values()]
    frames = [value for value in read if not isinstance(value, Exception)]
    written = []
    for frame in (*frames, *_telling_frames(suite, {type(frame) for frame in frames})):
        before = repr(frame)
        wire = encode(framer, frame)
        if (after := repr(frame)) != before:
            hint = "copy what has to be changed: the frame is the caller's, who may send it again"
            raise ConformanceError("encode changes the frame that it is given", expected=before, got=after, hint=hint)
        if wire is not None:
            _check_read_back(framer, [frame], wire)
            written.append((frame, wire))
    if not written:
        raise Untried("encode refuses every frame of the examples")
    kept = [(encoded, bytes_in(encoded)) for encoded in (framer.encode(frame) for frame, _ in written)]
    for encoded, then in kept:
        if (now := bytes_in(encoded)) != then:
            hint = "return new bytes for each frame: a stream keeps them until they can be sent"
            raise ConformanceError("encode changes what it has returned before", expected=then, got=now, hint=hint)
    joined = [(frame, wire) for frame, wire in written if is_one_frame(framer, wire)]
    if joined:
        _check_read_back(framer, [frame for frame, _ in joined], b"".join(wire for _, wire in joined))


def _check_read_back(framer: Framer[Any], frames: list[Any], wire: bytes) -> None:
    reading = read_whole(framer, wire)
    if not same_frames(frames, reading.values()) or reading.leftover:
        raise ConformanceError(
            "what encode writes is read back as something else",
            data=wire,
            expected=f"{frames!r}, and nothing left over",
            got=f"{reading.values()!r}, left over: {reading.leftover!r}",
        )
    hold_own_limit(framer, reading, wire, "encode writes a frame")


def _telling_frames(suite: Suite, kinds: set[type]) -> Iterator[Any]:
    """Yield frames that an encoder may trip over: empty ones, and ones made of the framing's own bytes."""
    ends = (wire[-size:] for wire in suite.wires[:12] for size in (1, 2, 3))
    limit = suite.framer.max_size
    too_large = b"x" * (_LARGEST if limit is None else min(limit + 1, _LARGEST))
    large = [too_large] if len(kinds) == 1 else []  # of two kinds, one may take the other's for its own
    for data in (b"", b"\0", b"\r", b"\n", b" ", b"\xff" * 3, *large, *suite.wires[:12], *suite.spoilt(12), *ends):
        if bytes in kinds:
            yield data
        if str in kinds:
            yield data.decode("latin-1")


def check_foreign_frames(suite: Suite) -> None:
    """A frame of any other kind is refused with EncodeError, or written so that it can be read.

    Raise EncodeError for a frame that this framing cannot carry, such as one of another type; take a buffer by
    its bytes, however wide its items are: frame = bytes_of(frame), from framestream.
    """
    framer = _writer(suite)
    for frame in _FOREIGN:
        if (wire := encode(framer, frame)) is None:
            continue
        reading = read_whole(framer, wire)
        refused = [value for value in reading.values() if isinstance(value, Exception)]
        if refused or reading.malformed or reading.leftover or len(reading.cuts) > 1:
            raise ConformanceError(
                "what encode writes cannot be read",
                data=wire,
                expected=f"a frame, or EncodeError for {frame!r}",
                got=reading,
            )
