"""The plugin manager: nothing a plugin does can hurt it, and nothing that goes wrong is silent."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from cProfile import Profile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from zipfile import ZipFile

import pytest
from distributions import Site, healthy, site

from framestream import (
    NeedMore,
    PluginError,
    ReadCondition,
    SpecError,
    Window,
    available_framers,
    get_framer,
    hookimpl,
    plugins,
)
from framestream._events import EVENTS, events
from framestream.framers import BUILT_IN
from framestream.registry.plugin import Plugin


@dataclass(frozen=True)
class Everything(ReadCondition[bytes]):
    """Take what is there."""

    name = "everything"

    def find(self, window: Window) -> tuple[int, int, int] | NeedMore:
        return (window.start, len(window.data), len(window.data)) if window.data else NeedMore()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A directory of distributions; the manager sees those in it, and none that the machine has."""
    monkeypatch.setenv("FRAMESTREAM_LOAD_LIMIT", "60")  # the machine may be busy
    with site(tmp_path) as place, plugins.isolated():
        yield place


def reason(name: str) -> str:
    """Return what `get_framer` says about a name it cannot give."""
    with pytest.raises((PluginError, SpecError)) as caught:
        get_framer(name)
    return str(caught.value)


def plugin(name: str) -> Plugin:
    (found,) = plugins.matching(name)
    return found


# What works


def test_an_installed_name_imports_only_its_own_plugin(installed: Site) -> None:
    installed.install("acme-upto", healthy("upto"), "upto")
    other = installed.install("acme-other", "raise SystemExit('imported')", "other")
    assert str(get_framer("upto:keep")) == "upto:keep"
    assert {"upto", "other", "line"} <= set(plugins.names())
    assert other not in sys.modules
    assert ["installed", "loaded"] == [plugin.state for plugin in plugins]


def test_a_built_in_name_stays_built_in_and_imports_no_plugin(installed: Site) -> None:
    module = installed.install("acme-line", healthy("line"), "line")
    assert type(get_framer("line")).__module__.startswith("framestream.")
    assert module not in sys.modules
    assert plugins.problems(plugin("acme-line")) == ["'line' is built in; write acme-line/line for this one"]
    assert type(get_framer("acme-line/line")).__module__ == "acme_line"
    assert ["acme-line/line", "line"] == [info.name for info in available_framers() if info.name.endswith("line")]


def test_entry_points_refer_to_a_framer_class_or_to_a_module(installed: Site) -> None:
    installed.install("acme-upto", healthy("upto"), "upto", "until-semicolon", target="acme_upto:Upto")
    assert get_framer("upto") == get_framer("until-semicolon")
    assert ("upto", "until-semicolon") == plugin("acme-upto").names
    both = healthy("a") + "    register('b', lambda: Upto())\n"
    installed.install("acme-both", both, "a", "b")
    assert get_framer("a") == get_framer("b")
    assert plugins.problems(plugin("acme-both")) == []
    listed = {info.name: info.summary for info in available_framers()}
    assert ("Read up to a semicolon.", "") == (listed["a"], listed["b"])
    installed.install("acme-part", healthy("c"), "c", "d")
    assert "framestream_register_framers does not register 'd': it must call" in reason("d")
    later = healthy("later") + "framestream_contract = 2"
    installed.install("acme-later", later, "later", target="acme_later:Upto")
    assert "is written for contract version 2" in reason("later")


def test_an_entry_point_that_names_no_module_is_told_once_to_who_asks_for_it_and_to_nobody_else(
    installed: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed.install("acme-good", healthy("good"), "good")
    installed.install("acme-upto", healthy("upto"), "upto", target="acme-upto:Upto")
    assert str(get_framer("good")) == "good"
    told = "its entry point 'upto' is 'acme-upto:Upto'; it must be MODULE or MODULE:ATTRIBUTE"
    # Nor does one of another group, which Python 3.15 refuses with all others.
    points = installed.write_metadata("acme-tool", "1.0", {"tool": installed.install("acme-more", healthy("tool"))})
    points /= "entry_points.txt"
    points.write_text("# comment\n\n" + points.read_text().replace("tool:main", "acme-tool:main"))
    installed.scan()
    assert str(get_framer("tool")) == "tool"
    monkeypatch.setenv("FRAMESTREAM_DISABLE_PLUGINS", "acme-upto")
    installed.scan()
    assert {"good", "line"} <= {info.name for info in available_framers()}
    assert [] == caplog.messages
    monkeypatch.delenv("FRAMESTREAM_DISABLE_PLUGINS")
    installed.scan()
    for _ in range(2):
        assert reason("upto") == f"framer 'upto' is not available: plugin acme-upto 1.0 failed: {told}"
    assert "upto" not in {info.name for info in available_framers()}
    assert [f"plugin acme-upto 1.0 (acme-upto) failed: {told}"] == caplog.messages


def test_a_name_in_other_letters_is_told_from_the_one_it_looks_like(installed: Site) -> None:
    look_alike = "upt\N{CYRILLIC SMALL LETTER O}"
    installed.install("acme-upto", healthy("upto"), "upto")
    installed.install("evil-upto", healthy("upto"), look_alike)
    with pytest.raises(SpecError, match=r"name of a framer \(ASCII\) at character 1 of 'upt\\u043e'"):
        get_framer(look_alike)
    assert type(get_framer("upto")).__module__ == "acme_upto"
    assert plugin("evil-upto").reason.startswith("its entry point 'upt\\u043e' is not a name for a framer")
    assert look_alike not in plugins.names()


def test_a_framer_can_be_asked_for_by_its_distribution(installed: Site) -> None:
    installed.install("Acme_Upto", healthy("upto"), "upto")
    assert get_framer("acme-upto/upto") == get_framer("upto")
    installed.install("evil", healthy("upto") + "    register('acme-upto', Upto)\n", "upto", "acme-upto")
    assert type(get_framer("acme-upto/upto")).__module__ == "Acme_Upto"
    assert str(get_framer("framestream/line")) == "line"
    assert "no framer named 'acme-upto/upt'; did you mean 'upto'?" in reason("acme-upto/upt")
    assert reason("acme-uptu/upto") == "no plugin 'acme-uptu' is installed; did you mean 'acme-upto'?"


def test_the_first_copy_of_a_distribution_on_the_path_counts(installed: Site, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    with site(older) as shadowed, plugins.isolated():
        sys.path.remove(str(older))
        sys.path.append(str(older))
        installed.install("acme-upto", healthy("upto"), "upto", version="2.0")
        shadowed.install("acme-upto", healthy("upto"), "upto")
        shadowed.install("acme_upto", healthy("upto"), "upto", version="0.9")
        # One that brings no plugin any more.
        info = installed.write_metadata("acme-other", "2.0", {})
        shadowed.install("acme-other", healthy("other"), "other")
        for points in ("", "[console_scripts]\nother = acme_other:main\n"):
            (info / "entry_points.txt").write_text(points)
            plugins.rescan([str(tmp_path), str(older)])
            assert ["2.0"] == [plugin.version for plugin in plugins]


class InMemory(metadata.Distribution):
    """What a program has within itself."""

    def read_text(self, filename: str) -> str | None:
        points = "[framestream]\nx = frozen\n"
        return points if filename == "entry_points.txt" else "Name: acme-frozen\nVersion: 1.0\n"

    def locate_file(self, path: object) -> Any:
        raise RuntimeError("it is in no file")

    @classmethod
    def find_distributions(cls, context: Any) -> list[metadata.Distribution]:
        return [cls()] if context.name in (None, "acme-frozen") else []


def test_plugins_are_found_in_zip_files_and_in_a_program_itself(
    installed: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.install("acme-upto", healthy("upto"), "upto")
    packed = str(tmp_path / "packed.zip")
    with ZipFile(packed, "w") as file:
        for path in (*tmp_path.glob("acme*.py"), *tmp_path.glob("acme*/*")):
            file.write(path, path.relative_to(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, InMemory])
    for places in ([packed], [packed, str(tmp_path)], [str(tmp_path), packed]):
        plugins.rescan(places)
        assert ["acme-frozen 1.0", "acme-upto 1.0"] == sorted(plugin.title for plugin in plugins)
        assert {"installed"} == {plugin.state for plugin in plugins}


def test_an_unknown_name_lists_what_is_there_and_the_nearest(installed: Site) -> None:
    installed.install("acme-upto", healthy("upto"), "upto")
    module = installed.install("acme-broken", "import nowhere", "broken")
    assert "did you mean 'broken'?" in reason("brokn")
    assert {"acme_upto", module}.isdisjoint(sys.modules)
    assert plugin("broken").state == "installed"
    assert "no framer named 'uptoo'; did you mean 'upto'? (available: available, broken," in reason("uptoo")


# What goes wrong

WORDLESS = "class Odd(BaseException):\n    def __str__(self): raise SystemExit\n"
# What is put in place of something in a healthy plugin, after it ("+") or in place of all of it ("").
HOSTILE = {
    "import": ("", "import nowhere", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
    "exit": ("", "import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
    "hook": ("    reg", "    1 / 0 or reg", "raised in framestream_register_framers: ZeroDivisionError"),
    "future": ("+", "framestream_contract = 7", "contract version 7, this framestream knows 1: upgrade it"),
    "oracle": ("+", "framestream_contract = '1'", "framestream_contract is '1'; it must be a number such as 1"),
    "misspelt": ("framers(", "framer(", "framer; did you mean 'framestream_register_framers'?"),
    "misnamed": (
        "+",
        "@hookimpl\ndef stream_opened(stream): ...",
        "there is no hook stream_opened; did you mean 'framestream_stream_opened'?",
    ),
    "unmarked": ("@hookimpl", "", "framestream_register_framers is not marked with @hookimpl"),
    "later": ("(register)", "(register, more)", "has hooks that do not fit: PluginValidationError: Plugin"),
    "async": (
        "+",
        "@hookimpl\nasync def framestream_stream_opened(stream): ...",
        "framestream_stream_opened is a coroutine function; hooks are plain functions",
    ),
    "nothing": ("", "", "implements no hook and is not a framer class"),
    "number": ("Upto)", "42)", "registers 'number' as 42, which is not a framer class"),
    "klass": ("Upto)", "dict)", "registers 'klass' as <class 'dict'>, which is not a framer class"),
    "mapping": (
        '    register("mapping", Upto)',
        "    return {'mapping': Upto}",
        "framers does not register 'mapping': it must call register(name, factory) for each entry point",
    ),
    "other": ('"other", Upto', '"another", Upto', 'no entry point: add another = "acme_other" to [project.entry'),
    "twice": ("+", "    register('twice', Upto)", "registers 'twice' twice"),
    "nameless": ("+", "    register('a b', Upto)", "registers 'a b', which is not a name for a framer"),
    "selfish": (
        "",
        "import framestream\nframestream.get_framer('selfish')",
        "framer 'selfish' is not available: plugin acme-selfish 1.0 is being imported at this moment",
    ),
    "wordless": ("", WORDLESS + "raise Odd", "cannot be imported: Odd: Odd, whose str() raises SystemExit"),
    "derived": (
        "",
        f"from framestream import PluginError\n{WORDLESS.replace('BaseException', 'PluginError')}raise Odd('?')",
        "cannot be imported: Odd: Odd, whose str() raises SystemExit",
    ),
    "wordy": ("", "raise ValueError('\\x1b[2J' + 'x' * 10**7)", r"cannot be imported: ValueError: \x1b[2Jxxx"),
    "deep": ("", "def fall(): fall()\nfall()", "cannot be imported: RecursionError: maximum recursion depth"),
    "unprintable": (
        "Upto)",
        "type('Odd', (), {'__repr__': lambda self: 1 / 0})())",
        "raised in framestream_register_framers: ZeroDivisionError",
    ),
}
# Objects that cannot even be looked at; an entry point refers to `odd`.
ODD = {
    "class Meta(type):\n    def __hash__(cls): raise RuntimeError('no hash')\nodd = Meta('odd', (), {})": (
        "cannot be inspected: RuntimeError: no hash"
    ),
    "odd = type('', (), {'__class__': property(lambda self: 1 / 0)})()": "cannot be inspected: ZeroDivisionError",
    "odd = type('', (), {'__getattr__': lambda self, name: exit(2)})()": "cannot be inspected: SystemExit: 2",
    "odd = type('', (), {'framestream_contract': property(lambda self: 1 / 0)})()": "cannot be inspected: Zero",
    "class Odd:\n    def __eq__(self, other): raise ValueError('apples, pears')\n    @hookimpl\n"
    "    def framestream_stream_opened(self, stream): ...\nodd, another = Odd(), Odd()": (
        "has hooks that do not fit: ValueError: apples, pears"
    ),
}


def test_hostile_plugins_fail_with_the_reason_and_hurt_no_other(
    installed: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for kind, (old, new, _) in HOSTILE.items():
        sound = healthy(kind) if old else ""
        source = sound + new if old in ("", "+") else sound.replace(old, new)
        installed.install(f"acme-{kind}", source, kind)
    for number, source in enumerate(ODD):
        module = f"acme_odd{number}"
        (installed.path / f"{module}.py").write_text(f"from framestream import hookimpl\nanother = 1\n{source}\n")
        points = {f"odd{number}": f"{module}:odd", f"another{number}": f"{module}:another"}
        installed.write_metadata(f"acme-odd{number}", "1.0", points)
    installed.install("acme-upto", healthy("upto"), "upto")
    plugins.load()
    for number, why in enumerate(ODD.values()):
        assert why in plugin(f"odd{number}").reason
    for kind, (*_, why) in HOSTILE.items():
        assert plugin(kind).state == "failed"
        assert why in plugin(kind).reason
        refusal = f"framer {kind!r} is not available: plugin acme-{kind} 1.0 failed: {plugin(kind).reason}"
        assert reason(kind).startswith(refusal[:500])
        told = f"plugin acme-{kind} 1.0 (acme_{kind}) failed: {plugin(kind).reason}"
        assert [record.getMessage() for record in caplog.records].count(told) == 1
    with pytest.raises(PluginError, match=r"plugin acme-exit 1\.0 failed: cannot be imported") as caught:
        plugins.load("exit")
    assert isinstance(caught.value.__cause__, SystemExit)
    assert "in fall" in plugin("deep").traceback
    assert plugin("import").traceback.endswith("No module named 'nowhere'\n")
    assert str(get_framer("upto")) == "upto"
    names = {info.name for info in available_framers()}
    assert names == {*BUILT_IN, "upto"}
    (upto,) = [info for info in available_framers() if info.name == "upto"]
    assert ("acme-upto", "Read up to a semicolon.") == (upto.distribution, upto.summary)


def test_names_that_compare_and_hash_in_their_own_way_become_text(installed: Site) -> None:
    name = """type("Name", (str,), {"__eq__": lambda one, other: 1 / 0, "__hash__": lambda one: 5})("own"), """
    installed.install("acme-own", healthy("own").replace('"own", ', name), "own")
    assert get_framer("own").name == "own"


FACTORIES = {
    "def make(): raise RuntimeError('no framer today')": "RuntimeError: no framer today",
    "def make(): raise SystemExit(7)": "SystemExit: 7",
    "def make(): return 42": "makes 42, which is not a framer",
    f"{WORDLESS}def make(): raise Odd": "Odd: Odd, whose str() raises SystemExit",
    "class Odd:\n    __class__ = property(lambda self: 1 / 0)\ndef make(): return Odd()": "ZeroDivisionError",
    "class Odd:\n    def __repr__(self): raise SystemExit\ndef make(): return Odd()": "SystemExit",
    "class Odd:\n    def __repr__(self): raise SystemExit\ndef make(x=Odd()): return 1": "is not a framer",
    "def make(): pass\nmake.__signature__ = 5": "is not a framer",
    "class Odd:\n    __doc__ = property(lambda self: 1 / 0)\n    __call__ = 1\nmake = Odd()": "TypeError",
}


@pytest.mark.parametrize("source", FACTORIES)
def test_what_makes_a_framer_may_raise_anything_and_is_named(installed: Site, source: str) -> None:
    registers = "@hookimpl\ndef framestream_register_framers(register): register('odd', make)"
    installed.install("acme-odd", f"from framestream import hookimpl\n{source}\n{registers}", "odd")
    with pytest.raises(PluginError, match=r"'odd' of acme-odd 1\.0 makes") as caught:
        get_framer("odd")
    assert caught.value.plugin == "odd"
    assert FACTORIES[source] in str(caught.value)
    for spec in ("first-of(line, odd)", "odd:5"):
        with pytest.raises((PluginError, SpecError)):
            get_framer(spec)
    listed = {info.name: info.summary for info in available_framers()}
    assert {*BUILT_IN, "odd"} == listed.keys()
    assert ("__doc__" in source) == (listed["odd"] == "cannot be described: ZeroDivisionError: division by zero")


def test_a_plugin_that_hangs_while_it_is_imported_keeps_nobody_from_the_others(
    installed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = SimpleNamespace(started=threading.Event(), may_end=threading.Event())
    hanging: dict[threading.Thread, float | None] = {}

    class Impatient(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            if "hangs" in self.name and self not in hanging:
                hanging[self] = timeout
                gate.started.wait()
            else:
                super().join()

    monkeypatch.setitem(sys.modules, "gate", gate)
    installed.install(
        "acme-hangs", "import gate\ngate.started.set()\ngate.may_end.wait()\n" + healthy("hangs"), "hangs"
    )
    lists = "from framestream import available_framers\navailable_framers()\n"  # and waits for itself?
    installed.install("acme-upto", lists + healthy("upto"), "upto")
    installed.install("acme-zero", "raise KeyboardInterrupt", "zero")
    installed.install("acme-zone", healthy("zone"), "zone")
    monkeypatch.setattr("framestream.registry.plugin.Thread", Impatient)
    monkeypatch.setenv("FRAMESTREAM_LOAD_LIMIT", "1000")
    try:
        assert {"upto", "zone"} <= {info.name for info in available_framers()}
        assert reason("hangs").endswith("failed: does not finish loading, limit 1000 s")
        assert reason("zero").endswith("failed: raised KeyboardInterrupt while loading")
    finally:
        gate.may_end.set()
    assert list(hanging.values()) == [1000]
    for thread in hanging:
        thread.join()
    assert reason("hangs").endswith("failed: does not finish loading, limit 1000 s")


def test_whoever_asks_in_another_thread_while_it_is_imported_waits_for_it(
    installed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    other = threading.Thread(target=lambda: given.append(get_framer("upto")))
    meanwhile = SimpleNamespace(ask=lambda: (other.start(), other.join(0.05)))
    monkeypatch.setitem(sys.modules, "meanwhile", meanwhile)
    installed.install("acme-upto", "import meanwhile\nmeanwhile.ask()\n" + healthy("upto"), "upto")
    framer = get_framer("upto")
    other.join()
    assert given == [framer]


@pytest.mark.parametrize("module", ["nowhere", "nowhere_{}"])
def test_listing_many_entry_points_takes_time_in_proportion(installed: Site, module: str) -> None:
    calls = []
    for size in (100, 200):
        points = {f"framer-{number}": module.format(number) for number in range(size)}
        metadata = installed.write_metadata("acme-many", "1.0", points)
        with Profile() as profile:
            installed.scan()
            available_framers()
            for each in plugins:
                plugins.problems(each)
        calls.append(sum(entry.callcount for entry in profile.getstats()))
        shutil.rmtree(metadata)
    assert calls[1] < 2.2 * calls[0]


def test_listing_the_framers_of_many_plugins_takes_time_in_proportion(installed: Site, tmp_path: Path) -> None:
    calls = []
    for size in (20, 40, 80):
        for number in range(size // 2 if calls else 0, size):
            (tmp_path / f"acme{number}.py").write_text(healthy(f"upto{number}"))
            installed.write_metadata(f"acme{number}", "1.0", {f"upto{number}": f"acme{number}"})
        installed.scan()
        plugins.load()
        with Profile() as profile:
            assert len(available_framers()) == len(BUILT_IN) + size
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert calls[2] - calls[1] < 2.2 * (calls[1] - calls[0])


def test_a_slow_plugin_fails(installed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.install("acme-upto", healthy("upto"), "upto")
    for limit in ("soon", "nan", "-1"):
        monkeypatch.setenv("FRAMESTREAM_LOAD_LIMIT", limit)
        assert reason("upto") == f"FRAMESTREAM_LOAD_LIMIT is {limit!r}; it must be a number of seconds"
    assert str(get_framer("line")) == "line"
    monkeypatch.setenv("FRAMESTREAM_LOAD_LIMIT", "0")
    assert reason("upto").endswith(" s to load, limit 0 s")


@pytest.mark.parametrize("spec", ["once", "once:size=5"])
def test_a_factory_that_refuses_is_called_once(installed: Site, spec: str) -> None:
    makes = "made = []\ndef make(size: int = 1):\n    made.append(size)\n    raise ValueError('not today')"
    installed.install("acme-once", f"{makes}\n{healthy('once').replace('Upto)', 'make)')}", "once")
    assert reason(spec) == "once: not today"
    assert len(sys.modules["acme_once"].made) == 1


def test_a_keyboard_interrupt_is_not_taken_for_a_failure(installed: Site) -> None:
    interrupts = healthy("upto") + "    register('hold', hold)\ndef hold(): raise KeyboardInterrupt"
    installed.install("acme-hold", interrupts, "upto", "hold")
    installed.install("acme-held", "raise KeyboardInterrupt", "held")
    for name in ("hold", "held", "held"):
        with pytest.raises(KeyboardInterrupt):
            get_framer(name)
    assert plugin("held").state == "installed"
    assert str(get_framer("upto")) == "upto"


def test_metadata_that_cannot_be_read_belongs_to_one_distribution(installed: Site) -> None:
    installed.install("acme-upto", healthy("upto"), "upto")
    for name, text in {"acme-nameless": "Version: 1.0\n", "acme-bare": "Name: acme-bare\n"}.items():
        (installed.write_metadata(name, "1.0", {name: "acme_upto"}) / "METADATA").write_text(text)
    points = installed.write_metadata("acme-loop", "1.0", {}) / "entry_points.txt"
    points.unlink()
    points.symlink_to(points)
    for name, data in {
        "acme-binary": b"\xff\xfe",
        "acme-garbled": b"[framestream]\nnonsense\n",
        "acme-latin": b"[framestream]\ncaf\xe9 = acme_latin",
        "acme-wide": "[framestream]\nx = acme_wide".encode("utf-16"),
    }.items():
        (installed.write_metadata(name, "1.0", {}) / "entry_points.txt").write_bytes(data)
    installed.scan()
    assert get_framer("upto").name == "upto"
    broken = {Path(it.distribution).name: it.reason for it in plugins if it.state == "failed"}
    garbled = ("garbled", "latin", "loop", "nameless", "wide")
    assert {f"acme_{name}-1.0.dist-info" for name in garbled} == set(broken)
    assert broken["acme_nameless-1.0.dist-info"].endswith(": ValueError: it has no name")
    assert broken["acme_garbled-1.0.dist-info"].endswith("'nonsense' among its entry points is not NAME = MODULE")
    assert "acme-bare" == plugin("acme-bare").title
    assert all(reason.startswith("its metadata cannot be read: ") for reason in broken.values())


# Names that two claim


def test_a_name_that_two_distributions_declare_is_refused_with_both(installed: Site) -> None:
    modules = [installed.install(name, healthy("upto"), "upto") for name in ("acme-upto", "best-upto")]
    assert reason("upto") == (
        "'upto' is claimed by acme-upto 1.0 and best-upto 1.0: write acme-upto/upto or best-upto/upto"
    )
    assert sys.modules.keys().isdisjoint(modules)
    assert get_framer("acme-upto/upto").name == "upto"
    assert len(plugins.problems(plugin("best-upto"))) == 1
    assert "best_upto" not in sys.modules
    listed = [(info.name, info.distribution) for info in available_framers() if "upto" in info.name]
    assert listed == [(f"{name}/upto", name) for name in ("acme-upto", "best-upto")]
    assert type(get_framer("best-upto/upto")).__module__ == "best_upto"
    plugins.disable("acme-upto")
    assert type(get_framer("upto")).__module__ == "best_upto"
    assert plugins.problems(plugin("best-upto")) == []
    plugins.define("upto", "line")
    assert {"upto", "best-upto/upto"} == {info.name for info in available_framers() if "upto" in info.name}


# Selection


def test_the_environment_selects(installed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("upto", "other", "third"):
        installed.install(f"acme-{name}", healthy(name), name)
    monkeypatch.setenv("FRAMESTREAM_PLUGINS", "acme_upto, typo, third")
    monkeypatch.setenv("FRAMESTREAM_DISABLE_PLUGINS", "third")
    installed.scan()
    assert get_framer("upto").name == "upto"
    disabled = "framer {0!r} is not available: plugin acme-{0} 1.0 is disabled: {1}"
    assert reason("other") == disabled.format("other", "FRAMESTREAM_PLUGINS does not name it")
    assert reason("third") == disabled.format("third", "FRAMESTREAM_DISABLE_PLUGINS names it")
    assert {"other", "third"}.isdisjoint(plugins.names())
    plugins.notices().clear()
    assert plugins.notices() == ["no plugin answers to 'typo', which the environment names"]
    plugins.disable("upto", reason="-p no:upto")
    assert reason("upto") == disabled.format("upto", "-p no:upto")
    with pytest.raises(PluginError, match=r"no plugin 'uptoo' is installed; did you mean 'upto'\?"):
        plugins.disable("uptoo")
    monkeypatch.setenv("FRAMESTREAM_PLUGINS", "")
    installed.scan()
    plugins.register(Everything)
    assert ["loaded", "disabled", "disabled", "disabled"] == [plugin.state for plugin in plugins]
    assert get_framer("everything") == Everything()


def test_an_application_requires_plugins_in_versions(installed: Site) -> None:
    installed.install("acme-upto", healthy("upto"), "upto", version="1.4.2")
    installed.install("acme-broken", "import nowhere", "broken")
    installed.install("acme-other", healthy("other"), "other", version="odd")
    installed.install("acme-early", healthy("early"), "early", version="2.0rc1")
    plugins.require("acme-upto", "acme_upto>=1.2,<2", "upto~=1.4", "acme-other", "acme-early>=1")
    for requirement, why in {
        "acme-other>=1": "acme-other>=1 is required, acme-other odd is installed",
        "acme-upto>=2": "acme-upto>=2 is required, acme-upto 1.4.2 is installed",
        "acme-missing": "no plugin 'acme-missing' is installed",
        "acme-broken": "plugin acme-broken 1.0 failed: cannot be imported",
        "acme>=": "'acme>=' is not a requirement such as 'acme-netstring>=1.2,<2'",
    }.items():
        with pytest.raises(PluginError) as caught:
            plugins.require(requirement)
        assert str(caught.value).startswith(why)


def registering(*names: str) -> SimpleNamespace:
    @hookimpl
    def framestream_register_framers(register: Any) -> None:
        for name in names:
            register(name, Everything)

    return SimpleNamespace(framestream_register_framers=framestream_register_framers)


def test_a_program_registers_a_plugin_of_its_own_which_goes_before_what_is_installed(installed: Site) -> None:
    installed.install("acme-everything", healthy("everything"), "everything")
    with plugins.isolated():
        added = plugins.register(Everything)
        assert get_framer("everything") == Everything()
        assert ("everything",) == added.names
        with pytest.raises(PluginError, match=r"^nothing-at-all implements no hook and is not a framer class$"):
            plugins.register(SimpleNamespace(), "nothing-at-all")
        with pytest.raises(PluginError, match=r"^5 implements no hook"):
            plugins.register(SimpleNamespace(name=5))
        with pytest.raises(PluginError, match=r"^cannot be inspected: ZeroDivisionError"):
            plugins.register(type("Odd", (), {"name": property(lambda _: 1 // 0)})())
        assert ("a", "b") == plugins.register(registering("a", "b"), "letters").names
        assert get_framer("b") == Everything()
        with pytest.raises(PluginError, match=r"mute framestream_register_framers does not register anything: it must"):
            plugins.register(registering(), "mute")
    assert get_framer("everything") != Everything()
    plugins.register(Everything)
    installed.scan()
    assert get_framer("everything") == Everything()


def test_isolation_is_undone_also_after_a_failure() -> None:
    before = list(plugins)
    with pytest.raises(PluginError), plugins.isolated(Everything, ModuleType("empty")):
        raise AssertionError("not reached")  # pragma: no cover
    assert before == list(plugins)


# Events


class Listener:
    """A plugin that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    @hookimpl
    def framestream_stream_opened(self, stream: str) -> None:
        self.told.append(stream)

    @hookimpl
    def framestream_frame_received(self, frame: bytes) -> None:
        self.told.append(frame)


class Raiser:
    """A plugin whose hook raises what has no text."""

    @hookimpl
    def framestream_stream_opened(self, stream: str) -> None:
        raise type("Wordless", (BaseException,), {"__str__": lambda self: sys.exit()})


def test_nothing_is_called_while_nobody_listens() -> None:
    with plugins.isolated(Everything):
        assert [None] * len(EVENTS) == [getattr(events, event) for event in EVENTS]
        events.tell("stream_opened", stream="nobody hears")
        assert ["<Plugin registered loaded>"] == [repr(found) for found in plugins]


def test_a_listener_that_raises_has_failed_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    with plugins.isolated(Raiser(), listener):
        assert events.frame_received is not None
        events.frame_received(stream="s", condition="c", frame=b"f")
        begun_before = events.stream_opened
        events.tell("stream_opened", stream="a")
        assert begun_before is not None
        begun_before(stream="b")
        raiser = plugin("Raiser")
        assert [b"f", "a", "b"] == listener.told
        assert raiser.state == "failed"
        told = "raised in framestream_stream_opened: Wordless: Wordless, whose str() raises SystemExit"
        assert raiser.reason == told
        assert raiser.traceback
        plugins.disable("Listener")
        assert (events.stream_opened, events.frame_received) == (None, None)
    assert len(caplog.records) == 1
    assert events.frame_received is None


def test_a_plugin_can_be_loaded_for_its_hooks(installed: Site) -> None:
    installed.install(
        "acme-tap",
        "from framestream import hookimpl\nheard = []\n"
        "@hookimpl\ndef framestream_frame_received(frame): heard.append(frame)",
        "tap",
    )
    assert events.frame_received is None
    plugins.load("tap")
    events.tell("frame_received", stream="s", condition="c", frame=b"f")
    assert sys.modules["acme_tap"].heard == [b"f"]
    assert plugin("tap").hooks == ("framestream_frame_received",)
    assert "no framer named 'tap'" in reason("tap")
