"""The contract, question by question: ask a framer, check the form of its answer, and say what is wrong."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any, TypeAlias

from framestream import errors
from framestream.errors import FAULTS, EncodeError, FramerContractError, FramestreamError, FramingError, counted
from framestream.framer import PADDING, Decode, Framer, NeedMore, ReadCondition, Window
from framestream.framers.answers import decoder_of

Answer: TypeAlias = "tuple[Any, ...] | NeedMore | FramingError"

_MOST_SHOWN = 300  # characters
_PLACES = ("resume", "settled", "payload_start")
BUFFERS = (bytes, bytearray, memoryview)
_MAY_RAISE = "return NeedMore() for bytes that have not arrived; raise FramingError for what is wrong"
_MAY_ANSWER = "answer (payload start, payload stop, start of the next frame) or NeedMore(...)"


@dataclass(eq=False, repr=False)
class ConformanceError(AssertionError):
    """A framer breaks a promise of the contract.

    Its text names the defect, shows the input and the chunking that reveal it, and says
    how to mend it; if the framer raised an exception, also the line of its code.

    Attributes:
        check: name of the check that failed, such as ``"linear-cost"``.
        framer: the framer, as its spec string.
        promise: the promise that is broken.
        defect: the error, in one clause.
        data: the bytes that show it, or None.
        chunks: how they were cut, or None if that does not matter.
        expected: what the contract requires, in words or as a value's repr; empty if there is none.
        got: the actual result.
        hint: how to mend it.
    """

    defect: str
    _: KW_ONLY
    data: bytes | None = None
    chunks: Sequence[bytes] | None = None
    expected: Any = ""
    got: Any = ""
    hint: str = ""
    check: str = ""
    framer: str = ""
    promise: str = ""

    def __post_init__(self) -> None:
        if self.data is None and self.chunks is not None:
            self.data = b"".join(self.chunks)
        self.expected, self.got = _text(self.expected), _text(self.got)

    def __str__(self) -> str:
        details = {
            "check": self.check,
            "input": "" if self.data is None else _shorten(repr(self.data), f" ({len(self.data)} bytes)"),
            "chunks": "" if self.chunks is None else describe_chunks(self.chunks),
            "expected": _shorten(self.expected),
            "got": _shorten(self.got),
            "at": "" if self.__cause__ is None else _place(self.__cause__),
            "mend": self.hint,
            "promise": self.promise,
        }
        lines = [f"  {label + ':':<9} {text}" for label, text in details.items() if text]
        return "\n".join([f"{self.framer or 'framer'}: {self.defect}", *lines])


class Untried(Exception):  # no error: its text says what the check lacks
    """A check has nothing to try its promise on."""


@contextmanager
def under(check: str, framer: ReadCondition[Any], promise: str = "", mend: str = "") -> Iterator[None]:
    """Add the names of the check and the framer to a `ConformanceError`, the promise, and a hint if it has none.

    What a decoder refuses becomes one as well, and so does whatever an attribute, an ``==`` or a repr raises.
    """
    try:
        yield
        return
    except ConformanceError as error:
        broken = error
    except FramestreamError as error:
        # The check's own hint is about what it has not come to compare.
        mends = _MAY_RAISE if error.__cause__ else _MAY_ANSWER
        hint = mends if isinstance(error, FramerContractError) else ""
        broken = ConformanceError(f"the decoder refuses it: {error}", hint=hint)
        broken.__cause__ = error.__cause__ or error
    except Untried:
        raise
    except FAULTS as error:
        hint = "let nothing of the framer, its frames or its test material raise what the contract does not name"
        broken = ConformanceError(f"the check is cut short by {describe_error(error)}", hint=hint)
        broken.__cause__ = error
    broken.check, broken.framer, broken.promise = check, describe_framer(framer), promise
    broken.hint = broken.hint or mend
    raise broken


def raised(what: str, error: BaseException, **details: Any) -> ConformanceError:
    """Return the error for what `find`, `split` or `encode` raises beyond the contract."""
    return ConformanceError(f"{what} raises {describe_error(error)}", **details)


def ask(framer: ReadCondition[Any], window: Window) -> Answer:
    """Return the answer of `find`, or the `FramingError` it raises; every place counts from the frame.

    Raises:
        ConformanceError: `find` raised anything else, or the answer is neither a span nor a `NeedMore`
            that this window allows.
    """
    start = window.start
    try:
        answer = framer.find(window)
    except FramingError as error:
        moved = copy.copy(error)
        moved.position = None if error.position is None else error.position - start
        return moved
    except FAULTS as error:
        raise raised("find", error, data=bytes(window.data[start:]), hint=_MAY_RAISE) from error
    if complaint := _complaint(framer, start, len(window.data), answer):
        raise ConformanceError(
            complaint,
            data=bytes(window.data[start:]),
            expected=f"indices from {start}, where the frame begins, to {len(window.data)}, where the bytes end",
            got=describe_answer(answer),
            hint=_MAY_ANSWER,
        )
    if not start:  # nearly always: the kit is quicker by an eighth
        return answer
    if isinstance(answer, NeedMore):
        places = {name: getattr(answer, name) for name in _PLACES}
        shifted = {name: None if at is None else at - start for name, at in places.items()}
        return NeedMore(answer.size, memo=answer.memo, **shifted)
    return (*(index - start for index in answer[:3]), *answer[3:])


def window_after(need: NeedMore, frame: bytes, before: bytes = b"", *, kind: Any = bytes) -> Window:
    """Show a frame's bytes as a decoder would that has been told `need`, after bytes of other frames."""
    start = len(before)
    return Window(kind(before + frame), start, start + (need.resume or 0), need.memo)


def drip(
    framer: ReadCondition[Any], frame: bytes, before: bytes = b"", *, kind: Any = bytes
) -> Iterator[tuple[NeedMore, bytes, Window, Answer]]:
    """Let one frame arrive byte by byte; yield each question with its answer until the frame's end is known.

    First come what the framer has said so far, with which the question was asked, and what has arrived of the
    frame; places count from the frame.
    """
    need = NeedMore()
    for size in range(1, len(frame) + 1):
        if size >= need.size:
            part = frame[:size]
            window = window_after(need, part, before, kind=kind)
            answer = ask(framer, window)
            yield need, part, window, answer
            if not isinstance(answer, NeedMore):
                return
            # Without a `resume` it stays where it was.
            resume = need.resume if answer.resume is None else answer.resume
            need = NeedMore(answer.size, resume=resume, memo=answer.memo)


def is_same(one: Answer, other: Answer) -> bool:
    """Tell whether two answers agree; for errors, class and place count, not the text."""

    def key(answer: Answer) -> tuple[Any, ...]:
        if isinstance(answer, FramingError):
            return type(answer), answer.position
        if isinstance(answer, NeedMore):
            return NeedMore, answer.size, answer.resume, answer.settled
        return answer[:3]

    return key(one) == key(other)


def hold_same(expected: Answer, got: Answer, defect: str, data: bytes) -> None:
    """Raise a `ConformanceError` unless two answers agree."""
    if not is_same(expected, got):
        raise ConformanceError(defect, data=data, expected=describe_answer(expected), got=describe_answer(got))


def is_padding(answer: Answer | None) -> bool:
    """Tell whether an answer says that bytes belong to no frame."""
    return isinstance(answer, tuple) and answer[3:] == (PADDING,)


def is_one_frame(framer: ReadCondition[Any], data: bytes, *, eof: bool = False) -> bool:
    """Tell whether these bytes are exactly one frame; one that ends by itself, unless `eof` is given."""
    answer = ask(framer, Window(data, eof=eof))
    return isinstance(answer, tuple) and answer[2] == len(data) and not is_padding(answer)


def encode(framer: ReadCondition[Any], frame: Any) -> bytes | None:
    """Return the bytes for a frame, or None if there is no `encode`, or it refuses the frame.

    Raises:
        ConformanceError: `encode` raises or returns anything else.
    """
    if not isinstance(framer, Framer):
        return None
    try:
        encoded = framer.encode(frame)
    except EncodeError:
        return None
    except FAULTS as error:
        hint = "raise EncodeError for a frame that this framing cannot carry"
        raise raised("encode", error, got=f"{type(error).__name__} for the frame {frame!r}", hint=hint) from error
    buffers = [encoded] if isinstance(encoded, BUFFERS) else encoded
    if not isinstance(buffers, (list, tuple)) or not all(isinstance(one, BUFFERS) for one in buffers):
        raise ConformanceError(
            "encode returns something else than bytes or a sequence of buffers",
            expected="bytes, or a list or tuple of bytes to be sent in order",
            got=f"{encoded!r} for the frame {frame!r}",
            hint='return b"".join(...) or a list of the parts; text must be encoded',
        )
    return bytes_in(encoded)


def bytes_in(encoded: Any) -> bytes:
    """Return the bytes of what an `encode` returned."""
    return b"".join([encoded] if isinstance(encoded, BUFFERS) else encoded)


def describe_chunks(chunks: Sequence[bytes]) -> str:
    """Say in a few words how the bytes were cut: ``"3 chunks of 5 + 1 + 80 bytes"``."""
    shown = " + ".join(str(len(chunk)) for chunk in chunks[:12]) + (" + ..." if len(chunks) > 12 else "")
    return f"{counted(len(chunks), 'chunk')} of {shown} bytes"


def describe_framer(framer: object) -> str:
    """Name a framer by its spec string, or by its class if it has none."""
    text = _text(framer)
    return type(framer).__name__ if not text or " object at 0x" in text else text


def describe_error(error: BaseException) -> str:
    """Show an exception as its class and its text."""
    text, name = errors.describe_error(error), type(error).__name__
    return name if text == name else f"{name}: {text}"


def describe_answer(answer: Any) -> str:
    """Show an answer of `find`: a span, a `NeedMore` or the error it raised."""
    return f"raised {describe_error(answer)}" if isinstance(answer, BaseException) else repr(answer)


def _complaint(framer: ReadCondition[Any], begin: int, end: int, answer: Any) -> str:
    """Say what is wrong with the form of an answer; empty if it is correct."""
    if isinstance(answer, NeedMore):
        if type(answer.size) is not int or answer.size < 0:
            return "NeedMore.size is not a number of bytes"
        for name in _PLACES:
            at = getattr(answer, name)
            if at is not None and not (isinstance(at, int) and begin <= at <= end):
                return f"NeedMore.{name} lies outside the window"
        return ""
    if type(answer) is not tuple or len(answer) not in (3, 4):
        return "find returns neither a tuple of three (or four) nor NeedMore"
    if not all(type(index) is int for index in answer[:3]):
        return "find returns a span of something other than int"
    start, stop, following = answer[:3]
    if not begin <= start <= stop <= following:
        return "find returns a span out of order"
    if following == begin and not framer.can_be_empty:
        return "find returns a frame of no bytes at all, so reading would never advance"
    if following == begin and is_padding(answer):
        return "find passes over padding of no bytes at all, so reading would never advance"
    if len(answer) == 3:
        return ""
    if type(answer[3]) is not Decode and following > end:
        return "find hands over a value before the frame's last byte has arrived"
    trailer = decoder_of(framer, answer).trailer
    if trailer and len(trailer) != following - stop:
        return "find returns a span that leaves another size for the trailer than the trailer has"
    return ""


def _place(error: BaseException) -> str:
    """Return the line of the framer's code that raised an exception; nothing if it has none in Python.

    The first frames are the kit's, the decoder's and those of archives. Of those below them the last one in the
    framer's file tells most: the author cannot mend the code it called, in ``re`` or ``json``.
    """
    own, core = Path(__file__).parents[:2]
    ours = (own, core, core / "archives")
    frames = list(dropwhile(lambda it: Path(it.filename).parent in ours, traceback.extract_tb(error.__traceback__)))
    if not frames:
        return ""
    last = [frame for frame in frames if frame.filename == frames[0].filename][-1]
    if not last.line:  # generated code, such as the `__hash__` of a dataclass
        return ""
    path, here = Path(last.filename), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}, line {last.lineno}, in {last.name}: {last.line}"


def _text(value: object) -> str:
    """Return the text of something that belongs to the framer under test, which may be broken in any way."""
    try:
        return str(value)
    except FAULTS as error:
        return f"{type(value).__name__} (str() raises {describe_error(error)})"


def _shorten(text: str, note: str = "") -> str:
    """Return the beginning and the end of a long text, followed by the note."""
    half = _MOST_SHOWN // 2
    return text if len(text) <= _MOST_SHOWN else f"{text[:half]} ... {text[-half:]}{note}"
