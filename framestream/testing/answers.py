"""Checks of single answers: that they are final and pure, that the framer is a value, and what it writes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from framestream.errors import FramingError, counted
from framestream.framer import Framer, NeedMore, Window
from framestream.testing.contract import (
    Answer,
    ConformanceError,
    Untried,
    ask,
    describe_answer,
    describe_error,
    drip,
    encode,
    hold_same,
    is_one_frame,
    is_padding,
    window_after,
)
from framestream.testing.driver import Cut, read_whole, same_frames
from framestream.testing.suite import FRAMES, Suite, prefix_lengths

_BEFORE = b"\0\1"


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
    frames = [frame[:200] for frame in suite.situations()]
    for frame, other in zip(frames, [*frames[1:], *frames[:1]], strict=True):
        ask(suite.framer, Window(frame))  # anything the framer prepares once is prepared now
        before = _state(suite.framer)
        for need, window, answer in drip(suite.framer, frame, _BEFORE, kind=bytearray):
            part, after = bytes(window.data[window.start :]), _state(suite.framer)
            if before != after:
                names = ", ".join(sorted({name for name, _ in before.items() ^ after.items()}))
                defect = f"find keeps state in self: asking changes the attribute {names}"
                raise ConformanceError(defect, data=part)
            shown = window_after(need, part, _BEFORE, kind=bytearray)
            if _look(window) != _look(shown) or window.memo is not shown.memo:
                raise ConformanceError(
                    "find changes the window it was given",
                    data=part,
                    expected=f"{_look(shown)}, as before the question",
                    got=_look(window),
                )
            defect = "find answers differently when it is asked the same question again"
            hold_same(answer, ask(suite.framer, window), defect, data=part, told="the first answer")
            ask(suite.framer, Window(other))
            defect = "two streams read in turns through one framer disturb each other"
            told = f"as before a question about {other!r}"
            hold_same(answer, ask(suite.framer, shown), defect, data=part, told=told)
            defect = "the answer depends on where in window.data the frame begins"
            told = f"as with window.start = {len(_BEFORE)} instead of 0"
            try:
                moved = ask(suite.framer, window_after(need, part))
            except ConformanceError as error:  # an index of the other window fits this one badly
                error.defect, error.hint = defect, ""
                raise
            hold_same(answer, moved, defect, data=part, told=told)


def check_value(suite: Suite) -> None:
    """A framer can be hashed and copied, and equals its copy.

    Make it @dataclass(frozen=True), with tuples instead of lists in its fields.
    """
    framer = suite.framer
    try:
        twin = copy.copy(framer)
        same = framer == twin and hash(framer) == hash(twin)
    except TypeError as error:
        raise ConformanceError(f"it cannot be hashed: {describe_error(error)}") from error
    if not same:
        raise ConformanceError("it does not equal its own copy")


def check_final(suite: Suite) -> None:
    """An answer is given only when no further byte can change it."""
    for frame in (*suite.situations(), *_corrupted(suite)):
        known: tuple[int, Answer] | None = None
        for size in prefix_lengths(len(frame)):
            answer = ask(suite.framer, Window(frame[:size]))
            if is_padding(answer):
                break  # no frame begins here; how much padding is passed over at once is free
            if known is None:
                known = None if isinstance(answer, NeedMore) else (size, answer)
                continue
            first, early = known
            defect, hint = _change(early, answer)
            told = f"as from the first {first} byte{'s' * (first != 1)} of it"
            hold_same(early, answer, defect, data=frame[:size], told=told, hint=hint)
        if known is not None:
            hold_same(
                known[1],
                ask(suite.framer, Window(frame, eof=True)),
                "find takes an answer back when the stream has ended",
                data=frame,
                told="as without window.eof",
                hint="let window.eof decide only about a frame that is not complete",
            )


def check_size(suite: Suite) -> None:
    """`NeedMore.size` never asks for bytes after the frame: a reader would wait for them for ever.

    Let size count from window.start; it is a lower bound of what the frame takes.
    """
    tried = False
    for frame, _, part, need in _needs(suite):
        tried = True
        if need.size > len(frame) and not isinstance(ask(suite.framer, Window(frame)), NeedMore):
            raise ConformanceError(
                f"NeedMore asks for {counted(need.size, 'byte')} of a frame of {len(frame)}",
                data=part,
                expected=f"NeedMore.size of at most {len(frame)}: the frame is {frame!r}",
                got=describe_answer(need),
            )
    if not tried:
        raise Untried("no beginning of a frame in the examples is answered by NeedMore")


def check_settled(suite: Suite) -> None:
    """Payload that is reported as settled is the beginning of the frame's payload and stays it.

    Settle only what cannot be part of a delimiter or trailer, and set payload_start after the header.
    """
    reported = False
    for _, cut, part, need in _needs(suite):
        if need.settled is None:
            continue
        reported = True
        first, last = cut.payload_start - cut.start, cut.payload_stop - cut.start
        settled, begin = need.settled, need.payload_start or 0
        if settled > last:
            wrong = f"settled={settled}, but the payload ends at {last}"
        elif settled > begin and begin != first:
            wrong = f"payload_start={begin}, but the payload begins at {first}"
        else:
            continue
        raise ConformanceError(
            f"bytes outside of the payload are reported as settled: {wrong}",
            data=part,
            expected=f"the payload {cut.payload!r}",
            got=describe_answer(need),
        )
    if not reported:
        raise Untried("it never reports settled payload")


def _needs(suite: Suite) -> Iterator[tuple[bytes, Cut, bytes, NeedMore]]:
    """Yield each frame of the examples, its cut, and each beginning that is answered by `NeedMore`."""
    for wire, cut in suite.cuts():
        for size in prefix_lengths(cut.stop - cut.start):
            part = wire[cut.start : cut.start + size]
            answer = ask(suite.framer, Window(part))
            if isinstance(answer, NeedMore):
                yield wire[cut.start : cut.stop], cut, part, answer


def _corrupted(suite: Suite) -> Iterator[bytes]:
    """Yield the frames of the examples with one byte changed, the bytes of a trailer first."""
    for wire, cut in suite.cuts():
        frame = wire[cut.start : cut.stop]
        trailer = range(cut.payload_stop - cut.start, len(frame))
        payload = prefix_lengths(cut.payload_stop - cut.start)[:-1]
        for at in (*trailer[:32], *payload[-16:], *payload[:16]):
            for flip in (0xFF, 0x01):
                yield frame[:at] + bytes([frame[at] ^ flip]) + wire[cut.start + at + 1 :]


def _change(answer: Answer, last: Answer) -> tuple[str, str]:
    """Say what is wrong if the second answer replaced the first, and how to mend it."""
    if isinstance(answer, FramingError):
        defect = "find refuses bytes that are not wrong once more of them have arrived"
        hint = "raise FramingError only when no further byte can make a frame of it, always at the same place"
    elif isinstance(last, FramingError):
        defect = "find returns the span early, although bytes after it must still be checked"
        hint = "return NeedMore(size=...) until the trailer has arrived, check it, then return the span"
    else:
        defect = "find is greedy: it returns a span that further bytes change"
        hint = "return NeedMore() as long as the next byte may belong to the frame, unless window.eof"
    return defect, hint


def _look(window: Window) -> str:
    shown = ", ".join(f"{name}={getattr(window, name)}" for name in ("start", "resume", "eof", "taken"))
    return f"data={bytes(window.data)!r}, {shown}"


def _state(framer: object) -> dict[str, str]:
    slots = [name for kind in type(framer).__mro__ for name in getattr(kind, "__slots__", ())]
    return {name: repr(getattr(framer, name, None)) for name in (*getattr(framer, "__dict__", ()), *slots)}


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
    written = [(frame, wire) for frame in frames if (wire := encode(framer, frame)) is not None]
    if not written:
        raise Untried("encode refuses every frame of the examples")
    joined = [(frame, wire) for frame, wire in written if is_one_frame(framer, wire)]
    if joined:
        _check_read_back(framer, [frame for frame, _ in joined], b"".join(wire for _, wire in joined))
    for frame in (*frames, *_telling_frames(suite, frames)):
        if (wire := encode(framer, frame)) is not None:
            _check_read_back(framer, [frame], wire)


def _check_read_back(framer: Framer[Any], frames: list[Any], wire: bytes) -> None:
    reading = read_whole(framer, wire)
    if not same_frames(frames, reading.values()) or reading.leftover:
        raise ConformanceError(
            "what encode writes is read back as something else",
            data=wire,
            expected=f"{frames!r}, and nothing left over",
            got=f"{reading.values()!r}, left over: {reading.leftover!r}",
        )


def _telling_frames(suite: Suite, frames: list[Any]) -> Iterator[Any]:
    """Yield frames that an encoder may trip over: empty ones, and ones made of the framing's own bytes."""
    kinds = {type(frame) for frame in frames}
    raw = [b"", b"\0", b"\r", b"\n", b" ", b"\xff" * 3, *suite.wires[:12], *suite.spoilt(12)]
    for data in (*raw, *(wire[-size:] for wire in suite.wires[:12] for size in (1, 2, 3))):
        if bytes in kinds:
            yield data
        if str in kinds:
            yield data.decode("latin-1")


def check_foreign_frames(suite: Suite) -> None:
    """A frame of any other kind is refused with EncodeError, or written so that it can be read.

    Raise EncodeError for a frame that this framing cannot carry, such as one of another type.
    """
    framer = _writer(suite)
    for frame in (*FRAMES, (), (1,), ("a", "b", "c"), object(), [object()], {1: object()}):
        if (wire := encode(framer, frame)) is None:
            continue
        reading = read_whole(framer, wire)
        refused = [value for value in reading.values() if isinstance(value, Exception)]
        if refused or reading.malformed or reading.leftover:
            raise ConformanceError(
                "what encode writes cannot be read",
                data=wire,
                expected=f"a frame, or EncodeError for {frame!r}",
                got=str(reading),
            )


def check_wide_buffers(suite: Suite) -> None:
    """A buffer is written by its bytes, however wide the items are that its `len` counts.

    Begin encode with frame = bytes_of(frame), from framestream.
    """
    framer = _writer(suite)
    tried = False
    for frame in (b"twelve bytes", b"12345678", *_telling_frames(suite, [b""])):
        if len(frame) % 4 == 0 and frame and (expected := encode(framer, frame)) is not None:
            tried = True
            written = encode(framer, memoryview(frame).cast("I"))
            if written not in (None, expected):
                raise ConformanceError(
                    "a buffer with wide items is not written as its bytes",
                    data=written,
                    expected=f"{expected!r}, as for {frame!r}, or EncodeError",
                )
    if not tried:
        raise Untried("its frames are not bytes")
