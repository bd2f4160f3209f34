"""Checks that framers share: of their options when made, and of payloads when encoding."""

from __future__ import annotations

from collections.abc import Sequence

from framestream.errors import EncodeError


def check_size(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return `value` if it is a whole number from `least` to `most`, both allowed; else raise ValueError."""
    if type(value) is int and value >= least and (most is None or value <= most):
        return value
    allowed = f"at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{name} is {value!r}; it must be a whole number, {allowed}")


def check_max_size(value: object) -> None:
    """Raise ValueError unless `value` is None or a number of bytes."""
    if value is not None:
        check_size("max_size", value, least=0)


def check_bytes(name: str, value: object) -> None:
    """Raise ValueError unless `value` is bytes."""
    if not isinstance(value, bytes):
        raise ValueError(f"{name} is {value!r}; it must be bytes")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def check_payload(payload: object, max_size: int | None = None, *, kind: str = "bytes") -> None:
    """Raise EncodeError unless the payload is bytes, no more of them than the framer's own limit."""
    if not isinstance(payload, bytes | bytearray) and not _is_view_of_bytes(payload):
        raise EncodeError(f"frame is of type {type(payload).__name__}; it must be {kind}")
    if max_size is not None and len(payload) > max_size:  # type: ignore[arg-type]  # of bytes by now
        raise EncodeError(f"payload of {len(payload)} bytes exceeds the limit {max_size}")  # type: ignore[arg-type]


def _is_view_of_bytes(payload: object) -> bool:
    # A view of larger items, or of rows, has another length than its bytes.
    return isinstance(payload, memoryview) and payload.ndim == payload.itemsize == 1
