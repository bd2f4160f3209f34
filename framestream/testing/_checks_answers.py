"""Checks of single answers: their form, that they are final, and that they promise nothing false."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from framestream.errors import FramingError
from framestream.framer import NeedMore, Window
from framestream.testing._asking import Answer, ask, is_padding, same_answer, span_of
from framestream.testing._case import Case, lengths
from framestream.testing._failure import ConformanceError, count_bytes, describe_answer
from framestream.testing._progress import Progress
from framestream.testing._reference import Cut

_START = 6
_RELATIVE = (
    "every index counts from the beginning of window.data, but the frame begins at window.start, and in "
    "another place at the next question: a memo must count from window.start"
)


def check_answers(case: Case) -> None:
    """Whatever has arrived of a frame, `find` answers in the form of the contract."""
    for frame in case.situations():
        for size in lengths(len(frame)):
            for eof in (False, True):
                ask(case.framer, Window(frame[:size], eof=eof))
                ask(case.framer, Window(bytearray(b"\r\n\0" + frame[:size]), 3, eof=eof))


def check_final(case: Case) -> str | None:
    """An answer is given only when no further byte can change it."""
    if case.pieces:
        return "its frames are whatever has arrived"
    for frame in (*case.situations(), *_corrupted(case)):
        known: tuple[int, Answer] | None = None
        for size in lengths(len(frame)):
            answer = ask(case.framer, Window(frame[:size]))
            if is_padding(answer):
                break  # no frame begins here; how much padding is passed over at once is free
            if known is None:
                known = None if isinstance(answer, NeedMore) else (size, answer)
            elif not same_answer(known[1], answer):
                raise _changed(frame, *known, size, answer)
        if known is not None:
            at_end = ask(case.framer, Window(frame, eof=True))
            if not same_answer(known[1], at_end):
                raise _changed_by_the_end(frame, known[1], at_end)
    return None


def check_moving_window(case: Case) -> None:
    """The answer does not depend on where in ``window.data`` the frame begins."""
    for frame in case.situations():
        progress = Progress()
        for size in range(1, min(len(frame), 200) + 1):
            if size < progress.size:
                continue
            window = progress.window(frame[:size], before=bytes(_START))
            answer = ask(case.framer, window)
            expected = _counted_from_start(answer)
            moved = _ask_moved(case, frame[:size], progress, expected)
            if not same_answer(expected, moved):
                raise _depends_on_start(frame[:size], expected, describe_answer(moved))
            if not isinstance(answer, NeedMore):
                break
            progress.note(answer, window)


def check_size(case: Case) -> None:
    """`NeedMore.size` never asks for bytes behind the frame: a reader would wait for them for ever."""
    for wire, cut in case.cuts():
        frame = wire[cut.start : cut.stop]
        for size in lengths(len(frame)):
            answer = ask(case.framer, Window(frame[:size]))
            if isinstance(answer, NeedMore) and answer.size > len(frame) and not _needs_eof(case, frame):
                raise ConformanceError(
                    f"NeedMore asks for {answer.size} bytes of a frame of {len(frame)}",
                    data=frame[:size],
                    expected=f"NeedMore.size of at most {len(frame)}: the frame is {frame!r}",
                    got=describe_answer(answer),
                    hint="size counts from window.start and is a lower bound of what the frame takes",
                )


def check_settled(case: Case) -> str | None:
    """Payload that is reported as settled is the beginning of the frame's payload and stays it."""
    reported = False
    for wire, cut in case.cuts():
        frame = wire[cut.start :]
        for size in lengths(cut.stop - cut.start):
            answer = ask(case.framer, Window(frame[:size]))
            if isinstance(answer, NeedMore) and answer.settled is not None:
                reported = True
                _check_settled(frame, cut, size, answer)
    return None if reported else "it never reports settled payload"


def _ask_moved(case: Case, frame: bytes, progress: Progress, expected: Answer) -> Answer:
    try:
        return ask(case.framer, progress.window(frame))
    except ConformanceError as error:
        raise _depends_on_start(frame, expected, error.got or error.defect) from error


def _counted_from_start(answer: Answer) -> Answer:
    """Return the answer that fits a window in which nothing lies before the frame."""

    def back(place: int | None) -> int | None:
        return None if place is None else place - _START

    if isinstance(answer, NeedMore):
        return NeedMore(answer.size, resume=back(answer.resume), settled=back(answer.settled))
    if isinstance(answer, FramingError):
        moved = copy.copy(answer)
        moved.position = back(answer.position)
        return moved
    return (*(index - _START for index in answer[:3]), *answer[3:])


def _depends_on_start(frame: bytes, expected: Answer, got: str) -> ConformanceError:
    return ConformanceError(
        "the answer depends on where in window.data the frame begins",
        data=frame,
        expected=f"{describe_answer(expected)} with window.start = 0, as before with {_START}",
        got=got,
        hint=_RELATIVE,
    )


def _check_settled(frame: bytes, cut: Cut, size: int, need: NeedMore) -> None:
    first, last = cut.payload_start - cut.start, cut.payload_stop - cut.start
    settled, begin = need.settled or 0, need.payload_start or 0
    if settled > last:
        wrong = f"settled={settled}, but the payload ends at {last}"
    elif settled > begin and begin != first:
        wrong = f"payload_start={begin}, but the payload begins at {first}"
    else:
        return
    raise ConformanceError(
        f"bytes are reported as settled payload that are none: {wrong}",
        data=frame[:size],
        expected=f"the payload {cut.payload!r}",
        got=describe_answer(need),
        hint="settle only what cannot be part of a delimiter or trailer, and set payload_start behind "
        "the header",
    )


def _needs_eof(case: Case, frame: bytes) -> bool:
    return isinstance(ask(case.framer, Window(frame)), NeedMore)


def _corrupted(case: Case) -> Iterator[bytes]:
    """Yield the frames of the examples with one byte changed, the bytes of a trailer first."""
    for wire, cut in case.cuts():
        frame = wire[cut.start : cut.stop]
        trailer = range(cut.payload_stop - cut.start, len(frame))
        payload = lengths(cut.payload_stop - cut.start)[:-1]
        for at in (*trailer[:32], *payload[-16:], *payload[:16]):
            for flip in (0xFF, 0x01):
                yield frame[:at] + bytes([frame[at] ^ flip]) + wire[cut.start + at + 1 :]


def _changed_by_the_end(frame: bytes, answer: Answer, at_end: Answer) -> ConformanceError:
    return ConformanceError(
        "find takes an answer back when the stream has ended",
        data=frame,
        expected=f"{describe_answer(answer)}, as without window.eof",
        got=f"{describe_answer(at_end)} with window.eof",
        hint="let window.eof decide only about a frame that is not complete",
    )


def _changed(frame: bytes, size: int, answer: Answer, later: int, last: Answer) -> ConformanceError:
    span = span_of(answer)
    if span is not None and isinstance(last, FramingError):
        defect = "find returns the span early, although bytes behind it must still be checked"
        hint = "return NeedMore(size=...) until the trailer has arrived, check it, then return the span"
    elif span is not None:
        defect = "find is greedy: it returns a span that further bytes change"
        hint = "return NeedMore() as long as the next byte may belong to the frame, unless window.eof"
    else:
        defect = "find refuses bytes that are not wrong once more of them have arrived"
        hint = "raise FramingError only when no further byte can make a frame of it, and always at the "
        hint += "same position"
    return ConformanceError(
        defect,
        data=frame[:later],
        expected=f"{describe_answer(answer)}, as from the first {count_bytes(size)} of it",
        got=f"{describe_answer(last)}, from {count_bytes(later)}",
        hint=hint,
    )
