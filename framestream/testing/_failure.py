"""`ConformanceError`: which promise a framer breaks, on which bytes, and how to mend it."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from framestream.testing._chunkings import describe_chunks

_SHOWN_BYTES = 72


class ConformanceError(AssertionError):
    """A framer breaks a promise of the contract.

    Its text names the defect, shows the input and the chunking that bring it to light, and says
    how to mend it; where the framer raised something, the line of its code.

    Attributes:
        check: name of the check that failed, such as ``"linear-cost"``.
        framer: the framer, as its spec string.
        defect: what is wrong, one clause.
        data: the bytes that show it, or None.
        chunks: how they were cut, or None where that does not matter.
        expected: what the contract asks for, in words or as a value's repr; empty if there is none.
        got: what came instead.
        hint: how to mend it.
    """

    def __init__(
        self,
        defect: str,
        *,
        data: bytes | None = None,
        chunks: Sequence[bytes] | None = None,
        expected: object = "",
        got: object = "",
        hint: str = "",
    ) -> None:
        super().__init__(defect)
        self.check = ""
        self.framer = ""
        self.defect = defect
        self.data = b"".join(chunks) if data is None and chunks is not None else data
        self.chunks = chunks
        self.expected = str(expected)
        self.got = str(got)
        self.hint = hint

    def __str__(self) -> str:
        title = f"{self.framer or 'framer'}: {self.defect}"
        details = (
            ("check", self.check),
            ("input", "" if self.data is None else show_bytes(self.data)),
            ("chunks", "" if self.chunks is None else describe_chunks(self.chunks)),
            ("expected", _shorten(self.expected)),
            ("got", _shorten(self.got)),
            ("at", "" if self.__cause__ is None else _place(self.__cause__)),
            ("mend", self.hint),
        )
        return "\n".join([title, *(f"  {label + ':':<9} {text}" for label, text in details if text)])


def show_bytes(data: bytes) -> str:
    """Show bytes as a literal; of long ones the beginning, the end and the size."""
    if len(data) <= _SHOWN_BYTES:
        return repr(bytes(data))
    half = _SHOWN_BYTES // 2
    return f"{bytes(data[:half])!r} ... {bytes(data[-half:])!r} ({len(data)} bytes)"


def describe_framer(framer: object) -> str:
    """Name a framer by its spec string, or by its class if it cannot even print itself."""
    try:
        text = str(framer)
        return type(framer).__name__ if not text or " object at 0x" in text else text
    except Exception as error:  # noqa: BLE001  # the framer under test may be broken in any way
        return f"{type(framer).__name__} (str() raises {describe_error(error)})"


def describe_error(error: BaseException) -> str:
    """Show an exception as its class and its text."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def count_bytes(size: int) -> str:
    """Say how many bytes, with the right plural."""
    return f"{size} byte" if size == 1 else f"{size} bytes"


def describe_answer(answer: Any) -> str:
    """Show an answer of `find`: a span, a `NeedMore` or the error it raised."""
    if isinstance(answer, BaseException):
        return f"raised {describe_error(answer)}"
    return repr(answer)


def _place(error: BaseException) -> str:
    """Return the line of the framer's code at which an exception came up; nothing if it has none in Python.

    The first frame is the kit's own. Of those below it the last one in the framer's file tells most: what
    that called, in ``re`` or ``json``, is not the author's to mend.
    """
    frames = traceback.extract_tb(error.__traceback__)[1:]
    if not frames:
        return ""
    last = [frame for frame in frames if frame.filename == frames[0].filename][-1]
    path, here = Path(last.filename), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}, line {last.lineno}, in {last.name}: {last.line}"


def _shorten(text: str, most: int = 300) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {text[-most // 2 :]}"
