"""What a stream has to say about its troubles: one line in the log for each."""

from __future__ import annotations

import logging
from typing import Any, Final, Literal, Protocol, TypeAlias

logger = logging.getLogger("framestream")

Problem: TypeAlias = Literal["read", "write", "buffer", "oversize", "callback"]

_LINES: Final[dict[str, tuple[int, str]]] = {
    "read": (logging.WARNING, "error on read: %s"),
    "write": (logging.WARNING, "error on write: %s"),
    "buffer": (logging.ERROR, "%s, closing the stream"),
    "oversize": (logging.INFO, "%s, closing the stream"),
    "callback": (logging.ERROR, "uncaught exception in a callback, closing the stream: %r"),
}


def log(problem: Problem, error: BaseException, fields: dict[str, Any]) -> None:
    """Log a problem; only a callback's error comes with its traceback, since only that is a bug."""
    level, text = _LINES[problem]
    logger.log(level, text, error, exc_info=error if problem == "callback" else None, extra=fields)


class Voice(Protocol):
    """How a stream tells of its troubles: what its parts know of `IOStream`, which may be subclassed."""

    def log_problem(self, problem: Problem, error: BaseException) -> None: ...
    def translate_error(self, error: BaseException) -> BaseException: ...
