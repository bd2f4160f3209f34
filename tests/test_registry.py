"""The registry: framers by name and spec string; names of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from framestream import (
    Line,
    ReadCondition,
    SpecError,
    UnknownFramerError,
    available_framers,
    get_framer,
    iter_frames,
    plugins,
)
from framestream.framers import BUILT_IN
from framestream.registry.manager import NamedFramer
from framestream.registry.specs import find_config


@pytest.fixture(autouse=True)
def no_installed_plugins() -> Iterator[None]:
    with plugins.isolated():
        yield


def refusal(spec: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        get_framer(spec)
    return caught.value


def test_every_built_in_name_is_listed_with_its_class_and_summary() -> None:
    listed = {info.name: info for info in available_framers()}
    assert set(BUILT_IN) == set(listed)
    for name, info in listed.items():
        assert isinstance(info.factory, type)
        assert issubclass(info.factory, ReadCondition)
        assert info.factory.name == name
        assert info.summary.endswith((".", ":")), f"{name} has no sentence to explain it"
        assert info.distribution == "framestream"


def test_the_same_string_gives_the_same_object() -> None:
    assert get_framer("line:keep") is get_framer("line:keep")
    assert get_framer("line") is Line()
    assert list(iter_frames(b"a\nb\n", "line")) == ["a", "b"]


@pytest.mark.parametrize(("wrong", "hint"), [
    (Line, "; make one of it: Line(...)"),
    (Line(), "; it is a framer already"),
    *((wrong, "") for wrong in (int, b"line", 5, None, [])),
])  # fmt: skip
def test_what_is_no_text_describes_no_framer(wrong: Any, hint: str) -> None:
    with pytest.raises(TypeError) as caught:
        get_framer(wrong)
    assert str(caught.value) == f"spec is {wrong!r}; it must be a name or a spec string{hint}"


def test_an_error_has_its_place_in_the_whole_string() -> None:
    error = refusal("lenght-prefix:2")
    assert isinstance(error, UnknownFramerError)
    assert ("lenght-prefix", "length-prefix", 0) == (error.name, error.suggestion, error.position)
    assert {"line", "regex"} <= set(error.available)
    assert str(refusal("first-of(" * 3000)) == "it is nested too deeply"
    error = refusal("first-of(length-prefix:2,little)")
    assert ("first-of(length-prefix:2,little)", 25) == (error.spec, error.position)
    told = "between parentheses, options after the first are written key=value"
    assert str(error).endswith(f"; {told}")
    assert f"expected ',' or ')' ({told}) at " in str(refusal("first-of(length-prefix:2, canonical, max=4KiB, line)"))


WORDS = [*BUILT_IN, "size", "keep", "max", "1", "64KiB", "none", "yes", '"\\n"', "'a+'", *":,()=\"' "]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # nothing is changed by it
@given(st.lists(st.sampled_from(WORDS), max_size=12).map("".join))
@example("msgpack:max-bin-len=99999999999999999999")
def test_any_text_makes_a_framer_that_prints_itself_or_is_refused(text: str) -> None:
    try:
        framer = get_framer(text)
    except SpecError as error:
        position = error.position or 0
    else:
        position = 0
        assert framer == get_framer(str(framer))
    assert 0 <= position <= len(text)


# Names of one's own


def test_a_spec_string_can_have_a_name_which_takes_no_options() -> None:
    plugins.define("acme", "length-prefix:size=2,max=1MiB")
    plugins.define("either", "first-of(acme, line)")
    assert str(get_framer("either")) == "first-of(length-prefix:size=2,max=1MiB, line)"
    told = "acme = 'length-prefix:size=2,max=1MiB' in the program: a name for a spec string takes no options of its own"
    assert told == str(refusal("acme:4"))
    assert told == str(refusal("acme(line)"))
    plugins.define("a", "sequence(b, line)")
    plugins.define("b", "a")
    assert str(refusal("a")) == (
        "a = 'sequence(b, line)' in the program: b = 'a' in the program: a = 'sequence(b, line)' in the program: "
        "it is part of itself"
    )


@pytest.mark.parametrize("depth", [10, 30])
def test_names_that_double_each_other_are_refused_before_they_fill_the_memory(depth: int) -> None:
    plugins.define("n0", "line")
    for number in range(depth):
        plugins.define(f"n{number + 1}", f"first-of(n{number}, n{number})")
    top = f"n{depth}"
    assert str(refusal(f"sequence(line, {top})")) == (
        f"{top} = 'first-of(n{depth - 1}, n{depth - 1})' in the program: it is made of more than 1000 framers"
    )
    assert str(get_framer("n3")).count("line") == 8
    (summary,) = [info.summary for info in available_framers() if info.name == top]
    assert summary.endswith("it is made of more than 1000 framers")


def test_names_may_stand_for_each_other_until_they_are_nested_too_deeply() -> None:
    plugins.define("n0", "line")
    for number in range(900):
        plugins.define(f"n{number + 1}", f"n{number}")
    assert get_framer("n50") == Line()
    assert str(refusal("n900")) == "it is nested too deeply"


def test_pyproject_has_a_table_for_them_and_they_are_listed_with_where_they_come_from(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text('[framers]\nwrong = "one"\n[tool.framestream.framers]\nacme = "line"\n')
    plugins.load_config(path)
    (acme,) = [info for info in available_framers() if info.name == "acme"]
    assert (str(path), "line") == (acme.distribution, acme.summary)
    assert isinstance(acme.factory, NamedFramer)
    assert get_framer("acme") == Line()
    assert "wrong" not in plugins.names()


def test_a_name_that_makes_no_framer_is_listed_with_the_reason_which_says_where_it_comes_from() -> None:
    plugins.define("acme", "length-prefix:siz=2")
    (acme,) = [info for info in available_framers() if info.name == "acme"]
    error = refusal("first-of(acme, line)")
    told = "acme = 'length-prefix:siz=2' in the program: length-prefix has no option 'siz'"
    assert f"length-prefix:siz=2: broken: {told}; did you mean 'size'?" in acme.summary
    assert told in str(error)
    assert error.position == 9


@pytest.mark.parametrize(("text", "reason"), [
    ("[framers\n", "Expected"),
    ("tool = 'none'\nframers = 5", ": it has no table [framers]"),
    ("[framer]\nacme = 'line'", "has no table [framers]; is [framer] meant to be it?"),
    (
        "[tool.framestream]\nframer.acme = 'line'",
        "no table [tool.framestream.framers]; is [tool.framestream.framer] meant to be it?",
    ),
    ("[tool.framestream]\nframers = {}\nframer.acme = 'line'", "holds framers and nothing else, not 'framer'"),
    ("[framers]\nacme = 5", "acme is 5; it must be a spec string"),
    ("[framers]\n'a/b' = 'line'", "'a/b' is not a name for a framer"),
    ("[framers]\nacme = 'line:'", "acme: expected a value at the end of 'line:'"),
    ("[framers]\nline = 'delimiter:x'", "'line' is the name of a built-in framer"),
])  # fmt: skip
def test_a_wrong_entry_is_refused_and_nothing_of_the_file_is_used(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "framings.toml"
    path.write_text(text + "\n")
    with pytest.raises(SpecError) as caught:
        plugins.load_config(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)
    assert set(BUILT_IN) == set(plugins.names())


def test_the_nearest_pyproject_with_framers_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.framestream.framers]\nacme = "line"\n')
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\n")
    assert find_config(inner) == tmp_path / "pyproject.toml"
    (inner / "pyproject.toml").write_text('[tool.framestream]\nframer = "misspelt"\n')
    assert find_config(inner) == inner / "pyproject.toml"
    (inner / "pyproject.toml").unlink()
    (tmp_path / "pyproject.toml").write_bytes(b"\xff")
    assert find_config(inner) is None
