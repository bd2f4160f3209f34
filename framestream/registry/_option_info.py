"""The options of a framer: what its class, or the function that makes it, can be given."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from framestream.errors import SpecError
from framestream.registry._hints import describe, element, is_condition_type, plain, union_members
from framestream.registry._values import format_value

VARIADIC = inspect.Parameter.VAR_POSITIONAL
POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
ABSENT: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class OptionInfo:
    """One option of a framer, as the command line explains it.

    Attributes:
        key: how it is spelled in a spec string.
        parameter: how it is spelled in Python.
        hint: the type it is annotated with.
        help: the text of its `Annotated` hint.
        default: the default, or `inspect.Parameter.empty`.
        kind: how Python passes it (a member of `inspect`'s parameter kinds).
    """

    key: str
    parameter: str
    hint: Any
    help: str
    default: Any
    kind: Any

    @property
    def type(self) -> str:
        """What it takes, in words."""
        return describe(self.hint)

    @property
    def default_text(self) -> str:
        """The default in spec notation, empty if there is none."""
        return "" if self.default is ABSENT else ",".join(self.texts(self.default))

    def texts(self, value: Any) -> list[str]:
        """Return a value in spec notation: one text, or several where the option repeats."""
        items = value if isinstance(value, tuple) else (value,)
        return [format_value(item, element(self.hint) or self.hint) for item in items]

    @property
    def required(self) -> bool:
        """True if a framer cannot be made without it."""
        return self.default is ABSENT and self.kind is not VARIADIC

    @cached_property
    def repeats(self) -> bool:
        """True if it takes any number of values."""
        return self.kind is VARIADIC or element(self.hint) is not None

    @cached_property
    def holds_framers(self) -> bool:
        """True if its values are framers, which may stand in parentheses after the name."""
        members = union_members(self.hint) or (self.hint,)
        return any(is_condition_type(element(member) or member) for member in members)

    @cached_property
    def is_flag(self) -> bool:
        """True if its key alone means yes."""
        return bool in (self.hint, *union_members(self.hint))


@lru_cache(maxsize=256)
def describe_options(factory: Any) -> tuple[OptionInfo, ...]:
    """Return the options of a framer's class, or of a function that makes one, in their order."""
    hints = _hints(factory)
    parameters = inspect.signature(factory).parameters
    fields = getattr(factory, "__dataclass_fields__", {})
    infos = []
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD or name.startswith("_"):
            continue
        hint, default = hints.get(name, Any), parameter.default
        if name in fields and fields[name].default_factory is not MISSING:
            default = fields[name].default_factory()
        key = "max" if name == "max_size" and "max" not in parameters else name.replace("_", "-")
        infos.append(OptionInfo(key, name, plain(hint), _help(hint), default, parameter.kind))
    return tuple(infos)


def _hints(factory: Any) -> dict[str, Any]:
    annotated: Any = factory
    if isinstance(factory, type) and not hasattr(factory, "__dataclass_fields__"):
        annotated = annotated.__init__
    try:
        # The mark for keyword-only fields is no type, which Python 3.10 refuses.
        return get_type_hints(annotated, localns={"KW_ONLY": object}, include_extras=True)
    except NameError as error:
        raise SpecError(f"the options of {factory.__qualname__} cannot be read: {error}") from error


def _help(hint: Any) -> str:
    if get_origin(hint) is not Annotated:
        return ""
    return next((text for text in get_args(hint)[1:] if isinstance(text, str)), "")
