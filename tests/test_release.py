"""What a release relies on: versions in one place, and other files that agree with pyproject.toml."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLUGINS = {path.parent.name: tomllib.loads(path.read_text()) for path in ROOT.glob("plugins/*/pyproject.toml")}
PYTHONS = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))


def test_the_changelog_begins_with_the_version_that_is_installed():
    newest, *_ = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert PROJECT["project"]["version"] == version("framestream") == newest


def test_plugins_are_named_after_their_folders_and_say_which_framestream_they_need():
    for folder, plugin in PLUGINS.items():
        project = plugin["project"]
        # Spark looks for data sources in modules of this name.
        assert project["name"] == ("pyspark-framestream" if folder == "spark" else f"framestream-{folder}")
        assert {"framestream>=0.1", "framestream[archives,arrow]>=0.1"}.intersection(project["dependencies"])
        assert PROJECT["project"]["requires-python"] == project["requires-python"]


def test_wheels_are_compiled_and_tested_for_every_python_that_is_supported():
    minors = PROJECT["tool"]["cibuildwheel"]["build"]
    assert f"cp31[{PYTHONS[0][-1]}-{PYTHONS[-1][-1]}]-*" == minors
    workflow = (ROOT / ".github/workflows/release.yml").read_text()
    (tested,) = re.findall(r"python: \[(.*)\]", workflow)
    assert PYTHONS == re.findall(r"3\.\d+", tested)
