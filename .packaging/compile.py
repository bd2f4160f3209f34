"""Build hook: compile what every frame passes through to C, if ``FRAMESTREAM_COMPILE=1`` says so.

The modules stay what they are, typed Python; mypyc makes extension modules of them, and a wheel then has
both. Nothing is left behind in the source tree, where an extension would hide later changes to its module.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What runs for every frame or every chunk. What users may subclass is not among it: a compiled class cannot
# be subclassed by one in Python.
_COMPILED = ("framestream/buffer.py", "framestream/decoder.py")


class CompileHook(BuildHookInterface[Any]):
    """Add extension modules to a wheel."""

    PLUGIN_NAME = "custom"

    @property
    def _wanted(self) -> bool:
        return self.target_name == "wheel" and os.environ.get("FRAMESTREAM_COMPILE", "0") not in ("", "0")

    def dependencies(self) -> list[str]:
        """Return what compiling needs, and nothing for a build that does not compile."""
        if not self._wanted:
            return []
        # Mypy looks at everything that is imported, so that must be there.
        return ["mypy[mypyc]>=1.18", "setuptools>=77", *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and hand the extension modules to the builder."""
        if not self._wanted or version == "editable":
            return
        folder = TemporaryDirectory(prefix="framestream-")
        self._folder = folder  # until the builder has packed them
        for extension in _compile(Path(self.root), Path(folder.name)):
            inside = extension.relative_to(folder.name).as_posix()
            build_data["force_include"][str(extension)] = inside
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled: the wheel has it."""
        if self._wanted and version != "editable":
            self._folder.cleanup()


def _compile(root: Path, target: Path) -> list[Path]:
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    before = Path.cwd()
    os.chdir(root)  # where the configuration of mypy is, and what the modules' names begin from
    try:
        # The rest of the package may import what only its extras need, and what is not there has no types.
        options = ["--cache-dir", os.devnull, "--follow-imports", "silent"]
        extensions = mypycify([*options, *_COMPILED], group_name="framestream", target_dir=str(target / "c"))
        command = build_ext(Distribution({"name": "framestream", "ext_modules": extensions}))
        command.build_lib = str(target)
        command.build_temp = str(target / "o")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    return [Path(output) for output in command.get_outputs()]
