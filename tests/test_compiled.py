"""What compiles must mean the same compiled: the compiler is silent about what it does otherwise."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOOK = ROOT / ".packaging" / "compile.py"


def compiled_modules() -> list[Path]:
    """Return what the build hook compiles; its packages need not be installed here."""
    (patterns,) = (
        ast.literal_eval(statement.value)
        for statement in ast.parse(HOOK.read_text()).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "_COMPILED"
    )
    found = {pattern: set(ROOT.glob(pattern)) for pattern in patterns}
    assert [] == [pattern for pattern, paths in found.items() if not paths]
    return sorted(path for path in set().union(*found.values()) if path.name != "__init__.py")


@pytest.mark.parametrize("path", compiled_modules(), ids=lambda path: path.stem)
class TestEveryCompiledModule:
    def test_gives_exceptions_their_cause_without_the_clause_that_is_dropped(self, path: Path) -> None:
        tree = ast.walk(ast.parse(path.read_text()))
        assert [] == [n.lineno for n in tree if isinstance(n, ast.Raise) and n.cause is not None]

    def test_has_constants_that_are_final_and_need_not_be_looked_up(self, path: Path) -> None:
        plain = [
            ast.unparse(statement)
            for statement in ast.parse(path.read_text()).body
            if isinstance(statement, ast.Assign) and "TypeVar(" not in ast.unparse(statement.value)
        ]
        assert [] == plain

    def test_does_not_look_at_slots_which_compiled_classes_do_not_have(self, path: Path) -> None:
        names = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)]
        assert [] == [n.lineno for n in names if n.attr == "__slots__"]

    def test_awaits_nothing_but_what_is_compiled(self, path: Path) -> None:
        # A compiled coroutine passes what is thrown into it on in a form that Python warns of since 3.12;
        # only what is compiled takes it without.
        awaited = [
            ast.unparse(node.value)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Await)
        ]
        compiled = ("AwaitedRead(", "next_answer(")
        assert [] == [expression for expression in awaited if not expression.startswith(compiled)]


def test_nothing_that_stays_python_extends_a_compiled_class() -> None:
    compiled = compiled_modules()
    classes = {
        node.name
        for path in compiled
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    others = set(ROOT.glob("framestream/**/*.py")) - set(compiled)
    extended = [
        f"{path.name}: {node.name}"
        for path in sorted(others)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and classes & {ast.unparse(base) for base in node.bases}
    ]
    assert [] == extended
