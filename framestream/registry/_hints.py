"""Type hints of options: what they mean, and what they are called in words."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

NOTHING = type(None)


def is_condition_type(hint: Any) -> bool:
    """Tell whether a hint means a read condition (known by what it has: this module imports no contract)."""
    return hasattr(get_origin(hint) or hint, "can_be_empty")


def plain(hint: Any) -> Any:
    """Return the hint without `Annotated` and with a bounded `TypeVar` resolved."""
    while get_origin(hint) is Annotated or (isinstance(hint, TypeVar) and hint.__bound__):
        hint = hint.__bound__ if isinstance(hint, TypeVar) else get_args(hint)[0]
    return hint


def union_members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, without `Annotated`, or nothing."""
    if get_origin(hint) not in (Union, types.UnionType):
        return ()
    return tuple(plain(member) for member in get_args(hint))


def element(hint: Any) -> Any:
    """Return the type of one value where several are allowed (``tuple[bytes, ...]``), or None."""
    for member in (plain(hint), *union_members(plain(hint))):
        if get_origin(member) is tuple:
            return plain(get_args(member)[0])
    return None


_NAMES: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "yes or no",
    str: "text",
    bytes: "bytes",
    Any: "Python object",
}


def describe(hint: Any) -> str:
    """Return the words for a type: ``whole number``, ``big or little``, ``bytes, several allowed``."""
    hint = plain(hint)
    members = union_members(hint)
    if members:
        return _describe_union(members)
    if get_origin(hint) is Literal:
        return " or ".join(str(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return f"{describe(get_args(hint)[0])}, one or more"
    if is_condition_type(hint):
        return "framer"
    return _NAMES.get(hint, "Python object")


def _describe_union(members: tuple[Any, ...]) -> str:
    words = [describe(member) for member in members if member is not NOTHING]
    several = {word.removesuffix(", one or more") for word in words if word.endswith(", one or more")}
    kept = [word for word in words if word not in several]
    return " or ".join(dict.fromkeys(kept))
