"""Ask a framer one question and hold its answer to the form the contract prescribes."""

from __future__ import annotations

from typing import Any, TypeAlias

from framestream.errors import FramingError, PayloadError
from framestream.framer import PADDING, Decode, NeedMore, ReadCondition, Window
from framestream.testing._failure import ConformanceError, describe_answer, describe_error

Answer: TypeAlias = "tuple[Any, ...] | NeedMore | FramingError"


def ask(framer: ReadCondition[Any], window: Window) -> Answer:
    """Return what `find` answers, a `FramingError` it raises included.

    Raises:
        ConformanceError: `find` raised anything else, or the answer is no span and no `NeedMore`
            that this window allows.
    """
    try:
        answer = framer.find(window)
    except FramingError as error:
        return error
    except Exception as error:
        raise ConformanceError(
            f"find raises {describe_error(error)}",
            data=_frame_bytes(window),
            expected="a span, NeedMore, or FramingError for bytes that can be no frame",
            got=f"{type(error).__name__} for {len(window.data) - window.start} bytes of a frame",
            hint="return NeedMore() while the bytes that find looks at have not arrived; "
            "raise FramingError for what is wrong",
        ) from error
    complaint = _complaint(framer, window, answer)
    if complaint:
        raise ConformanceError(
            complaint,
            data=_frame_bytes(window),
            expected=f"indices in window.data, whose frame begins at {window.start} "
            f"and whose bytes end at {len(window.data)}",
            got=describe_answer(answer),
            hint="answer (payload start, payload stop, start of the next frame) or NeedMore(...)",
        )
    return answer


def same_answer(one: Answer, other: Answer) -> bool:
    """Compare two answers; of errors the class and the place count, not the wording."""
    if isinstance(one, FramingError) and isinstance(other, FramingError):
        return (type(one), one.position) == (type(other), other.position)
    if isinstance(one, NeedMore) and isinstance(other, NeedMore):
        return one.size == other.size and one.resume == other.resume and one.settled == other.settled
    return type(one) is type(other) and span_of(one) == span_of(other)


def span_of(answer: Answer) -> tuple[int, int, int] | None:
    """Return the three indices of a span, without the value; None if it is no span."""
    return answer[:3] if isinstance(answer, tuple) else None


def is_padding(answer: Answer | None) -> bool:
    """Tell whether an answer says that bytes belong to no frame."""
    return isinstance(answer, tuple) and len(answer) == 4 and answer[3] is PADDING


def trailer_of(span: tuple[Any, ...]) -> bytes:
    """Return the bytes that must follow the payload; empty if any may."""
    return span[3].trailer if len(span) == 4 and type(span[3]) is Decode else b""


def value_of(framer: ReadCondition[Any], span: tuple[Any, ...], payload: bytes) -> Any:
    """Return the frame that a span stands for, or the error of decoding it."""
    if len(span) == 4 and type(span[3]) is not Decode:
        return span[3]
    decode = span[3].decode if len(span) == 4 else framer.decode
    try:
        return decode(payload)
    except (ValueError, PayloadError, FramingError) as error:
        return error
    except Exception as error:
        raise ConformanceError(
            f"decode raises {describe_error(error)}",
            data=payload,
            expected="a frame, or ValueError for a payload that cannot be decoded",
            hint="raise ValueError, or PayloadError with a reason",
        ) from error


def _complaint(framer: ReadCondition[Any], window: Window, answer: Any) -> str:
    """Say what is wrong with the form of an answer; empty if nothing is."""
    if isinstance(answer, NeedMore):
        return _complaint_about_need(window, answer)
    if type(answer) is not tuple or len(answer) not in (3, 4):
        return "find returns neither a tuple of three (or four) nor NeedMore"
    return _complaint_about_span(framer, window, answer)


def _complaint_about_span(framer: ReadCondition[Any], window: Window, span: tuple[Any, ...]) -> str:
    if not all(type(index) is int for index in span[:3]):
        return "find returns a span of something other than int"
    start, stop, following = span[:3]
    if not window.start <= start <= stop <= following:
        return "find returns a span out of order"
    if following == window.start and not framer.can_be_empty:
        return "find returns a frame of no bytes at all, so reading would never advance"
    is_value = len(span) == 4 and type(span[3]) is not Decode
    if is_value and following > len(window.data):
        return "find hands over a value before the frame's last byte has arrived"
    if trailer_of(span) and len(trailer_of(span)) != following - stop:
        return "find returns a span that leaves another size for the trailer than the trailer has"
    return ""


def _complaint_about_need(window: Window, need: NeedMore) -> str:
    end = len(window.data)
    if type(need.size) is not int or need.size < 0:
        return "NeedMore.size is not a number of bytes"
    if need.resume is not None and not window.start <= need.resume <= end:
        return "NeedMore.resume lies outside the window"
    if need.settled is not None and not window.start <= need.settled <= end:
        return "NeedMore.settled lies outside the window"
    if need.payload_start is not None and not window.start <= need.payload_start <= end:
        return "NeedMore.payload_start lies outside the window"
    return ""


def _frame_bytes(window: Window) -> bytes:
    return bytes(window.data[window.start :])
