"""Fields: a generator that yields what it needs next, and one pass of it through a frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from struct import Struct
from typing import Any, Generic, TypeAlias, TypeVar

from framestream.errors import PayloadError
from framestream.framer import ReadCondition

T = TypeVar("T")

Field: TypeAlias = int | bytes | Struct | ReadCondition[Any]
"""What a generator may yield: a number of bytes, a delimiter, a struct of numbers, or a condition."""


class Body(Generic[T]):
    r"""The last field of a frame, returned instead of yielded: it is the frame's payload.

    The limit is judged before the body arrives, and the body can be streamed or skipped. The fields that
    were yielded before it are the header, which is in neither the limit nor the parts.

    Args:
        field: its size in bytes, or a condition that reads it.
        make: turns the body into the frame. A ``ValueError`` becomes a `PayloadError`.
        trailer: bytes that must stand behind a body of known size.
    """

    __slots__ = ("field", "make", "trailer")

    def __init__(
        self, field: int | ReadCondition[Any], make: Callable[[Any], T], *, trailer: bytes = b""
    ) -> None:
        if trailer and not isinstance(field, int):
            raise TypeError(f"{field} says itself where it ends; its body takes no trailer")
        self.field = field
        self.make = make
        self.trailer = trailer


Fields: TypeAlias = Generator[Field, Any, T | Body[T]]
"""What a generator of fields is, for its signature: ``def fields(self) -> Fields[Packet]``."""


class Returned:
    """The frame that a generator returned."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Run:
    """One pass of a generator through a frame.

    A generator cannot be copied. So a memo refers to a run and says how many answers it had had; the run
    goes on from its latest answer, and whoever comes back to an earlier one gets another run that is
    given the same answers again. In the ordinary course nobody does.

    Attributes:
        answers: what the generator was sent.
        need: what it yielded; a `Body`, `Returned` or `PayloadError` when it has ended.
    """

    __slots__ = ("_fields", "_generator", "answers", "need")

    def __init__(self, fields: Callable[[], Fields[Any]], answers: Sequence[Any] = ()) -> None:
        self._fields = fields
        self._generator = fields()
        self.answers: list[Any] = []
        self.need: Any = None
        self._go_on(None)
        for answer in answers:
            self.send(answer)

    def from_answer(self, count: int) -> Run:
        """Return a run that has had so many answers: this one, unless it has had more."""
        return self if count == len(self.answers) else Run(self._fields, self.answers[:count])

    def send(self, answer: Any) -> None:
        """Give the generator what it needed."""
        self.answers.append(answer)
        self._go_on(answer)

    def _go_on(self, answer: Any) -> None:
        try:
            self.need = self._generator.send(answer)
        except StopIteration as stop:
            self.need = stop.value if type(stop.value) is Body else Returned(stop.value)
        except PayloadError as error:
            self.need = error
