"""The examples in the docstrings of the built-in framers are true."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import pytest
from cutting import cut

from framestream.registry.lookup import available_framers

_EXAMPLE = re.compile(
    r"^ +(?P<framer>[A-Z]\w+\(.*\)): +(?P<stream>\S.*?)(?P<end>, end)? +-> +(?P<frames>.+)$"
)


FACTORIES = {
    info.factory.__name__: info.factory for info in available_framers() if info.distribution == "framestream"
}


def examples() -> list[tuple[Any, re.Match[str]]]:
    return [
        (factory, match)
        for factory in FACTORIES.values()
        for line in (inspect.getdoc(factory) or "").splitlines()
        if (match := _EXAMPLE.match(line))
    ]


def values(text: str) -> list[Any]:
    return list(ast.literal_eval(f"[{text}]"))


@pytest.mark.parametrize(("factory", "example"), examples(), ids=lambda value: getattr(value, "string", ""))
def test_what_a_docstring_shows_is_what_happens(factory, example) -> None:
    framer = eval(example["framer"], {**vars(inspect.getmodule(factory)), **FACTORIES})
    frames = cut(framer, *values(example["stream"]), eof=example["end"] is not None)
    assert frames == values(example["frames"])


def test_every_simple_framer_shows_examples() -> None:
    shown = {factory.name for factory, _ in examples()}
    assert shown >= {
        "available",
        "delimiter",
        "exactly",
        "fixed-length",
        "length-prefix",
        "line",
        "until-close",
    }
