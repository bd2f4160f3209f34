"""Project: what a new plugin is called, and the files that make it one."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Final

import framestream
from framestream.framers import BUILT_IN

# Where each template goes. Templates do not carry these names: tools would take them for their own.
_FILES: Final = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "CHANGELOG.md": "CHANGELOG.md.txt",
    "LICENSE": "LICENSE.txt",
    ".gitignore": "gitignore.txt",
    ".github/workflows/ci.yml": "ci.yml.txt",
    ".github/workflows/publish.yml": "publish.yml.txt",
    "{{module}}/__init__.py": "init.py.txt",
    "{{module}}/_framer.py": "framer.py.txt",
    "tests/test_{{module}}.py": "test_framer.py.txt",
}

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_DISTRIBUTION: Final = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")
# Names as long as these still leave the lines of the templates within their limit.
_LONGEST_NAME: Final = 32
_LONGEST_DISTRIBUTION: Final = 44
_PREFIX: Final = "framestream-"


@dataclass(frozen=True)
class Project:
    """A plugin to be.

    Attributes:
        name: its framer's name.
        distribution: what pip will install.
        author: whose it is.
        year: for the licence.
    """

    name: str
    distribution: str
    author: str
    year: int

    @property
    def module(self) -> str:
        """The package to import."""
        return re.sub(r"[-.]+", "_", self.distribution).lower()

    @property
    def class_name(self) -> str:
        """The framer's class."""
        name = "".join(word.capitalize() for word in self.name.split("-"))
        taken = name in framestream.__all__ or keyword.iskeyword(name)
        return f"{name}Framing" if taken else name

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the path and the text of each file."""
        templates = files("framestream.cli") / "templates"
        for path, template in _FILES.items():
            yield self._filled_in(path), self._filled_in((templates / template).read_text("utf-8"))
        yield f"{self.module}/py.typed", ""

    def _filled_in(self, text: str) -> str:
        values = {
            "author": self.author,
            "class": self.class_name,
            "distribution": self.distribution,
            "module": self.module,
            "name": self.name,
            "version": ".".join(version("framestream").split(".")[:2]),
            "year": str(self.year),
        }
        return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def framer_name(name: str) -> str:
    """Return the framer's name that was meant, without the prefix of distributions.

    Raises:
        ValueError: no plugin can have a framer of this name.
    """
    name = name.removeprefix(_PREFIX)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no framer name: lower-case words and digits, joined by hyphens")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"framer name of {len(name)} characters, limit {_LONGEST_NAME}")
    if name in BUILT_IN:
        raise ValueError(f"{name!r} is built in, and stays so whatever a plugin says")
    return name


def distribution_name(name: str, framer: str) -> str:
    """Return the distribution's name; of the framer's unless one was given.

    Raises:
        ValueError: no distribution can have this name.
    """
    if not name:
        return f"{_PREFIX}{framer}"
    if not _DISTRIBUTION.fullmatch(name):
        raise ValueError(f"{name!r} is no distribution name: letters, digits and hyphens, from a letter on")
    if len(name) > _LONGEST_DISTRIBUTION:
        raise ValueError(f"distribution name of {len(name)} characters, limit {_LONGEST_DISTRIBUTION}")
    if name.lower() == "framestream":
        raise ValueError("framestream is taken")
    return name
