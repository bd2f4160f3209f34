"""Refuse a senseless option when it is given, not when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeGuard


def check_count(
    name: str, value: object, *, least: int = 0, most: int | None = None, of: str = "", optional: bool = False
) -> None:
    """Raise ValueError unless `value` is a whole number, say of bytes, or None where that means no limit."""
    # Python takes True for an int; as an option it is a mistake.
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if is_count and (most is None or value <= most):  # type: ignore[operator]  # it is an int
        return
    allowed = f"{least} or more" if most is None else f"from {least} to {most}"
    _check_absent(name, value, f"a whole number{of}, {allowed}", optional)


def check_seconds(name: str, value: object, *, optional: bool = False) -> None:
    """Raise ValueError unless `value` is a number of seconds, or None where that means no limit."""
    _check_amount(name, value, "seconds", optional)


def check_time(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a time on a loop's clock, or None for no limit."""
    if not _is_finite(value):
        _check_absent(name, value, "a time on the loop's clock", optional=True)


def check_rate(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a number of bytes per second."""
    _check_amount(name, value, "bytes per second", optional=False)


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def check_function(name: str, value: object, *, optional: bool = False) -> None:
    """Raise TypeError unless `value` can be called, or is None where no function is needed."""
    if not (callable(value) or (optional and value is None)):
        raise TypeError(f"{name} is {value!r}; it must be a function")


def _check_amount(name: str, value: object, unit: str, optional: bool) -> None:
    if not (_is_finite(value) and value >= 0):
        _check_absent(name, value, f"a number of {unit}, 0 or more", optional)


def _is_finite(value: object) -> TypeGuard[int | float]:
    # Infinity is refused as well: not every loop can wait for it.
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _check_absent(name: str, value: object, allowed: str, optional: bool) -> None:
    if value is None and optional:
        return
    choice = ", or None for no limit" if optional else ""
    raise ValueError(f"{name} is {value!r}; it must be {allowed}{choice}")
