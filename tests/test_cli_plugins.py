"""``framestream framers``, ``check`` and ``plugins``."""

import re
import sys
import tomllib
from pathlib import Path

import command_line
import faulty_framers as faulty
import pytest
from distributions import healthy, site

from framestream import UnknownFramerError, get_framer, plugins
from framestream.cli.framers import draw
from framestream.registry.manager import FIRST_PARTY

framestream = command_line.framestream

ROOT = Path(__file__).parents[1]

UPTO = healthy("upto") + "    Upto.examples = {b'a;b;': [b'a', b'b']}\n"


@pytest.fixture
def installed(tmp_path):
    directory = tmp_path / "site"
    directory.mkdir()
    with site(directory) as place:
        yield place


# framers


def test_the_framers_are_listed_and_every_built_in_is_explained(framestream):
    rows = framestream("framers").out.splitlines()
    assert not any(row.endswith(" ") for row in rows)
    assert {row.split()[0] for row in rows} == set(plugins.names())
    for name in plugins.names():
        printed = framestream("framers", name)
        assert (0, True) == (printed.status, printed.out.startswith(f"{name}\n  "))
    out = framestream("framers", "fixed-length").out
    assert re.search(r'\n      FixedLength\(3\): +b"abcdef" +->', out)  # a drawing keeps its lines
    assert "\nOptions:\n  size  Size of every record. Bytes.  [whole number; required]\n" in out


def test_a_framer_of_a_plugin_is_explained_with_a_drawing_of_its_examples(framestream, installed):
    installed.install("acme-upto", UPTO, "upto")
    plugins.register(faulty.Checked, "checked")
    assert framestream("framers", "checked").out == "checked\n  Two bytes and an exclamation mark.\n"
    assert framestream("framers", "upto").out.endswith("""
         +------+------+
INPUT    | a;   | b;   |
         +------+------+
DECODED  | b'a' | b'b' |
         +------+------+
""")
    assert "\nupto           Read up to a semicolon. (acme-upto)\n" in framestream("framers").out


def test_a_drawing_shows_what_was_refused_and_is_a_list_if_it_is_wide():
    assert "frame of 65 bytes exceeds the limit 9" in draw(get_framer("length-prefix:1,max=9"), b"Abcdef")
    assert "PayloadError" in draw(get_framer("line"), b"\xff\nok\n", width=200)
    assert draw(get_framer("line"), b"abc\nde\n", width=10) == (
        "INPUT    abc\\n\nDECODED  'abc'\nINPUT    de\\n\nDECODED  'de'"
    )


def test_a_framer_of_a_plugin_of_this_project_that_is_missing_names_what_to_install(framestream):
    projects = [tomllib.loads(path.read_text())["project"] for path in ROOT.glob("plugins/*/pyproject.toml")]
    missing = {
        framer: project["name"]
        for project in projects
        for framer in project.get("entry-points", {"framestream": ()})["framestream"]
        if framer != "opentelemetry"  # it has hooks and no framer
    }
    assert missing == FIRST_PARTY
    told = "no framer named 'resp'; it comes with framestream-resp: pip install framestream-resp"
    printed = framestream("cut", "resp")
    assert (2, b"", f"framestream: {told}\n  resp\n  ^\n") == (*printed[:2], printed.err.partition("hint: ")[0])
    with pytest.raises(UnknownFramerError, match=told) as caught:
        get_framer("resp")
    assert "framestream-resp" == caught.value.distribution


@pytest.mark.parametrize("arguments", [
    "cut loud -o text",
    "check loud",
    "framers",
    "framers loud",
    "plugins",
    "plugins check",
    "-p loud cut line",
    "connect exec:cat -f loud",
    "connect exec:cat -f line --send-framer loud",
    "serve nowhere -f loud",
])  # fmt: skip
def test_what_a_plugin_prints_while_it_is_imported_is_no_output(framestream, installed, arguments):
    installed.install("acme-loud", "print('hello')\n" + healthy("loud"), "loud")
    printed = framestream(*arguments.split(), stdin=b"")
    assert (0, 1) == (printed.out.count("hello"), printed.err.count("hello"))


def test_a_framer_that_cannot_be_described_is_the_plugins_fault(framestream, installed):
    odd = "class Odd(Upto):\n    examples = property(lambda self: 1)\n"
    installed.install("acme-odd", healthy("odd").replace("Upto)", "Odd)") + odd, "odd")
    found = framestream("framers", "odd")
    assert found.status == 1
    assert "odd cannot be described: TypeError: 'property' object is not iterable" in found.err


def test_a_named_framer_is_explained_by_what_it_stands_for(framestream, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.framestream.framers]\nacme = 'delimiter:;'\n")
    (tmp_path / "other.toml").write_text("[framers]\nother = 'delimiter:x'\n")
    told = f"acme = 'delimiter:;', from {tmp_path / 'pyproject.toml'}\nIn full: delimiter:;\n"
    assert (0, told.encode(), "") == framestream("framers", "acme")
    assert framestream("cut", "acme", stdin=b"a;b;").frames == ["a", "b"]
    assert framestream("--config", "other.toml", "cut", "other", stdin=b"axbx").frames == ["a", "b"]


@pytest.mark.parametrize("command", ["new", "cut", "plugins", "plugins check"])
@pytest.mark.parametrize("written", ["[tool.framestream.framers]\nacme = ", "[tool.framestream]\nframer = 1\n"])
def test_the_help_of_a_command_needs_no_configuration(framestream, tmp_path, command, written):
    (tmp_path / "pyproject.toml").write_text(written)
    for flag in ("--help", "-h"):
        printed = framestream(*command.split(), flag)
        assert (0, "") == (printed.status, printed.err)
        assert printed.out.startswith(f"Usage: framestream {command} ")
    assert framestream().status == 0
    for config in ((), ("--config", "missing.toml"), ("--config", tmp_path)):
        assert framestream(*config, "cut", "line", "-h").status == 0
        refused = framestream(*config, "cut", "line")
        assert (True, False) == (refused.status in (1, 2), "hint: " in refused.err)


# check

CHECKED = """
from faulty_framers import Lines, leaving

examples = {b"a\\r\\n": [b"a"]}
malformed = []

class Bad(Lines):
    examples = {b"ab\\r\\n": [b"ab"]}

    def decode(self, payload):
        return payload[:1]

class Raising(Lines):
    def find(self, window):
        return window.data[99]

class Loud(Lines):
    def find(self, window):
        print("hello")
        return super().find(window)

class Odd(Lines):
    examples = 5

class Wrong(Lines):
    def find(self, window):
        return 0, 9, 3

class Needy(Lines):
    def __init__(self, size): ...

good, leaving, number = Lines(), leaving("decode"), 42
def make(): return print('hello') or number
"""


@pytest.fixture
def checked(tmp_path, monkeypatch):
    (tmp_path / "checked.py").write_text(CHECKED)
    yield
    sys.modules.pop("checked", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


@pytest.mark.usefixtures("checked")
def test_the_kit_checks_a_framer_of_a_module_with_its_examples_or_a_spec_string(framestream):
    printed = framestream("check", "checked:Lines")
    assert printed.status == 0
    assert "  ok      chunking " in printed.out
    assert "  -       malformed " in printed.out
    assert re.match(r"checked:Lines: level 2 of 4 .* 0 broken\Z", printed.out.splitlines()[-1])
    printed = framestream("check", "-q", "checked:good", "available:max=4")
    assert (0, 2) == (printed.status, len(printed.out.splitlines()))
    assert "available:max=4: level 1 of 4 (the next takes examples, malformed), " in printed.out  # it cannot write
    printed = framestream("check", "-q", "checked:Bad", "checked:Raising")
    assert (1, False) == (printed.status, "  ok " in printed.out)
    assert "  BROKEN  examples " in printed.out
    assert printed.out.count("find raises IndexError") == 1
    assert "at:       checked.py, line 15, in find: return window.data[99]" in printed.out
    assert re.search(r"  BROKEN  purity +Raising\(\): the same as in answers\n", printed.out)
    printed = framestream("check", "-q", "checked:Wrong")
    assert re.search(r"  BROKEN  final +Wrong\(\): the same as in answers\n", printed.out)


@pytest.mark.usefixtures("checked")
def test_what_a_framer_prints_is_no_output_and_one_that_cannot_be_tried_is_told(framestream):
    printed = framestream("check", "-q", "checked:Loud", "checked:Odd")
    assert re.fullmatch(r"checked:Loud: level .* 0 broken\n", printed.out)
    told = r"(hello\n)+framestream: checked:Odd cannot be tried: TypeError: 'int' object is not iterable\n"
    assert re.fullmatch(told, printed.err), printed.err[-300:]
    assert 1 == printed.status


@pytest.mark.usefixtures("checked")
def test_a_framer_that_would_end_the_command_is_told_and_is_a_failure(framestream, installed):
    printed = framestream("check", "-q", "checked:leaving", "checked:good")
    told = "decode raises SystemExit: 7"
    assert (1, True) == (printed.status, told in printed.out)
    assert "checked:good: " in printed.out
    source = healthy("leaving").replace("        return window.start", "        raise SystemExit(0)")
    installed.install("acme-leaving", source.replace(", end, end + 1", ""), "leaving")
    told = "framestream: leaving: find raised SystemExit: 0\n"
    assert (1, b"", told) == framestream("cut", "leaving", stdin=b"a;")


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(("attribute", "message"), [
    ("number", "checked:number gives 42, which is not a framer"),
    ("Needy", "missing 1 required positional argument: 'size'"),
    ("make", "checked:make gives 42, which is not a framer"),
    ("none", "has no attribute 'none'"),
])  # fmt: skip
def test_what_is_no_framer_cannot_be_checked(framestream, attribute, message):
    printed = framestream("check", f"checked:{attribute}")
    assert (2, "", True) == (printed.status, printed.out, message in printed.err)


# plugins


def test_a_name_that_two_plugins_claim_is_told_once_and_is_no_fault_of_either_framer(framestream, installed):
    for name in ("acme-upto", "best-upto"):
        installed.install(name, healthy("upto"), "upto")
    printed = framestream("plugins", "check", "best-upto")
    assert (1, "1 plugin, 1 wrong") == (printed.status, printed.out.splitlines()[-1])
    assert printed.out.count("is claimed by") == 1
    assert re.search(r"^  upto: level 1 of 4 .* 0 broken$", printed.out, re.MULTILINE)


def test_plugins_are_listed_with_what_is_wrong(framestream, installed):
    assert framestream("plugins").out == "no plugin is installed\n"
    installed.install("acme-upto", UPTO, "upto", version="1.2")
    installed.install("acme-broken", "import nowhere", "broken")
    broken, upto, wrong = framestream("plugins").out.splitlines()
    assert "acme-broken 1.0  failed: broken" == broken
    assert "acme-upto 1.2    loaded: upto" == upto
    reason = "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
    assert f"acme-broken 1.0: {reason}" == wrong
    source = "from framestream import hookimpl\n@hookimpl\ndef framestream_stream_opened(stream): ...\n"
    installed.install("acme-listens", source, "listens")
    assert "acme-listens 1.0  loaded: no framer" in framestream("plugins").out.splitlines()


COMPLETE = """
    malformed, peers, synchronises, lookbehind = {}, ('acmed 1.0',), 'exact', 1

    def split(self, window):
        *frames, rest = bytes(window.data[window.start :]).split(b";")
        return frames, len(window.data) - len(rest)

    def find_start(self, window):
        if not window.taken:
            return window.start
        end = window.data.find(b";", window.start - 1)
        if end < 0:
            return len(window.data) if window.eof else NeedMore(resume=len(window.data))
        return end + 1
"""
SETTLES = "resume=len(window.data)", "resume=len(window.data), settled=len(window.data)"
STEPS = {
    "broken": (UPTO.replace("[b'a', b'b']", "[b'c']"), 0, " (the next takes kept promises)"),
    "sound": (healthy("upto"), 1, " (the next takes examples, malformed)"),
    "tested": (UPTO + "    Upto.malformed = {}\n", 2, " (the next takes peers)"),
    "proven": (
        UPTO + "    Upto.malformed = {}\n    Upto.peers = ('acmed 1.0',)\n",
        3,
        " (the next takes split, streaming, find_start)",
    ),
    "complete": (UPTO.replace("    keep: bool = False\n", COMPLETE).replace(*SETTLES), 4, ""),
}


def test_each_framer_has_a_level_and_is_told_what_the_next_takes(framestream, installed, tmp_path):
    for name, (source, _, _) in STEPS.items():
        installed.install(f"acme-{name}", source.replace("upto", name), name)
    printed = framestream("plugins", "check", *list(STEPS)[1:], "--badge", "level.svg")
    assert printed.status == 0
    for name, (_, level, lacking) in STEPS.items():
        assert name == "broken" or f"  {name}: level {level} of 4{lacking}, " in printed.out
    assert "framestream: level 1 of 4" in (tmp_path / "level.svg").read_text()
    printed = framestream("plugins", "check", "broken", "--badge", "nowhere/level.svg")
    assert f"  broken: level 0 of 4{STEPS['broken'][2]}, " in printed.out
    assert (1, "framestream: nowhere/level.svg: no such file or directory\n") == (printed.status, printed.err)


def test_a_framer_that_cannot_be_rated_or_needs_an_option_is_told_and_has_no_level(framestream, installed):
    odd = UPTO.replace("upto", "odd") + "    Upto.malformed, Upto.peers = {}, property(lambda self: 1 / 0)\n"
    installed.install("acme-odd", odd, "odd")
    needy = UPTO.replace("upto", "needy").replace("keep: bool = False", "end: bytes")
    installed.install("acme-needy", needy, "needy")
    installed.install("acme-upto", "print('hello')\n" + UPTO, "upto")
    told = needy.replace("needy", "told") + "    Upto.example_spec = 'told:x'\n"
    installed.install("acme-told", told, "told")
    for name in ("acme-both", "best-both"):  # a name that two claim
        installed.install(name, healthy("both"), "both")
    printed = framestream("framers", "--levels")
    assert (0, 1) == (printed.out.count("hello"), printed.err.count("hello"))
    listed = dict(line.split(maxsplit=1) for line in printed.out.splitlines())
    expected = {
        "line": "level 1: Lines",
        "odd": "no level (cannot be tried: ZeroDivisionError",
        "needy": "no level (it needs end): ",
        "told": "level 1: ",
        "acme-both/both": "level 1: ",
        "best-both/both": "level 1: ",
    }
    assert [name for name, text in expected.items() if not listed[name].startswith(text)] == []
    assert "  wrong: odd: cannot be tried: ZeroDivisionError" in framestream("plugins", "check", "odd").out
    assert framestream("plugins", "check", "needy")[:2] == (
        0,
        b"acme-needy 1.0 (acme_needy): loaded\n"
        b"  needy: not tried, it needs end; its class may say example_spec\n1 plugin, 0 wrong\n",
    )
    printed = framestream("plugins", "check", "told").out
    assert "  told: level 1 of 4" in printed


def test_everything_that_is_wrong_with_plugins_is_named(framestream, installed, monkeypatch):
    installed.install("acme-broken", "import nowhere", "broken")
    installed.install("acme-line", healthy("line"), "line")
    installed.install("acme-wrong", UPTO.replace("[b'a', b'b']", "[b'c']").replace("upto", "wrong"), "wrong")
    installed.install("acme-upto", UPTO + "    Upto.name = 'up_to'\n", "upto")
    leaves = healthy("leaves") + "    register('leave', leave)\ndef leave(): raise SystemExit(7)\n"
    installed.install("acme-leaves", leaves, "leaves", "leave")
    monkeypatch.setenv("FRAMESTREAM_DISABLE_PLUGINS", "typo")
    installed.scan()
    printed = framestream("plugins", "check")
    assert printed.status == 1
    for told in (
        "  wrong: cannot be imported: ModuleNotFoundError",
        "  wrong: 'line' is built in; write acme-line/line for this one",
        "check:    examples",
        "  wrong: upto: its class calls itself 'up_to', a name that its plugin does not register\n",
        "wrong: no plugin answers to 'typo', which the environment names",
        "wrong: leave: 'acme-leaves/leave' of acme-leaves 1.0 makes no framer: SystemExit: 7",
        "  leaves: level 1 of 4",
        "\n5 plugins, 7 wrong\n",
    ):
        assert told in printed.out
    assert framestream("plugins", "check", "acme-line").status == 1
    assert "no plugin answers to 'typo'" in framestream("plugins").err


def test_one_plugin_is_shown_with_its_traceback_disabled_and_loaded_by_argument(framestream, installed):
    installed.install("acme-broken", "def fall(): raise OSError\nfall()", "broken")
    installed.install("acme-upto", UPTO, "upto")
    assert "in fall" in framestream("plugins", "show", "broken").out
    shown = framestream("plugins", "show", "upto").out
    assert re.match(r"acme-upto 1.0 \(acme_upto\): loaded\nnames +upto\nframers +upto\n", shown)
    assert "Traceback" not in shown
    assert framestream("-p", "upto", "cut", "upto", stdin=b"a;").frames == ["a"]
    printed = framestream("-p", "no:upto", "cut", "upto", stdin=b"a;")
    assert printed.status == 1
    assert "plugin acme-upto 1.0 is disabled: -p no:upto" in printed.err
