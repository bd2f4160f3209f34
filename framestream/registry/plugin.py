"""One plugin: where it is found, how it is loaded, what it brings, and why it is not in use."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from threading import TIMEOUT_MAX, RLock, Thread, current_thread, main_thread
from time import perf_counter
from traceback import format_exception
from typing import Any, Literal, TypeAlias

import pluggy

from framestream.errors import PluginError, blame, did_you_mean, printable
from framestream.framer import ReadCondition
from framestream.registry import hookspecs
from framestream.registry.manager import is_name, normalised

State: TypeAlias = Literal["installed", "loading", "loaded", "disabled", "failed"]
Factory: TypeAlias = Callable[..., ReadCondition[Any]]

GROUP = "framestream"
"""The group of entry points that plugins declare."""

CONTRACT = 1
"""The version of the contract this core knows; a plugin says ``framestream_contract = 1``."""

_logger = logging.getLogger("framestream.plugins")

_REGISTER = "framestream_register_framers"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("framestream_"))


@dataclass(eq=False, repr=False)
class Plugin:
    """One plugin: a module of one distribution, with everything in it that entry points refer to.

    It cannot break another: it has its own pluggy manager, and any error while it
    loads or in one of its hooks takes it out of use, with the reason and the traceback.

    Attributes:
        distribution: the distribution it belongs to.
        version: that distribution's version.
        module: the module that its entry points refer to, such as ``acme_netstring``.
        points: what its entry points refer to, by name, to be imported by a call.
        own: True if the program registered it: then it declares no names.
        names: the entry-point names, which are the framer names it declares.
        state: installed (not imported so far), loading, loaded, disabled or failed.
        reason: why it is disabled or has failed.
        error: the exception with which it failed, if there was one.
        framers: what it registered, by name.
        hooks: the hooks it implements.
    """

    distribution: str
    version: str
    module: str
    points: Mapping[str, Callable[[], Any]]
    own: bool = False
    names: tuple[str, ...] = ()
    state: State = "installed"
    reason: str = ""
    error: BaseException | None = None
    framers: dict[str, Factory] = field(default_factory=dict)
    hooks: tuple[str, ...] = ()
    _lock: RLock = field(default_factory=RLock)
    _manager: pluggy.PluginManager = field(init=False)

    def __post_init__(self) -> None:
        # Anything in the metadata must be printable, and letters that look alike must differ.
        told = self.distribution, self.version, self.module, *self.points
        self.distribution, self.version, self.module, *names = map(_plain, told)
        self.names = tuple(names)

    def __repr__(self) -> str:
        return f"<Plugin {self.title} {self.state}>"

    @property
    def title(self) -> str:
        """The distribution with its version, for messages."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def traceback(self) -> str:
        """The traceback of `error`, or nothing."""
        return "" if self.error is None else "".join(format_exception(self.error))

    def answers_to(self, name: str) -> bool:
        """Tell whether this is its distribution's name or one of its entry-point names."""
        return name in self.names or normalised(name) == normalised(self.distribution)

    def load(self, limit: float) -> None:
        """Import it and let it register, unless that was done; it ends up loaded or failed."""
        with self._lock:
            if self.state != "installed":  # or it asks for its own name while it is imported
                return
            self.state, started = "loading", perf_counter()
            try:
                with blame("cannot be inspected"):
                    self._load()
            except PluginError as error:
                self.fail(str(error), error.__cause__ or error)
            except KeyboardInterrupt as error:
                if current_thread() is main_thread():  # then it is the user's, who may come back to it
                    self.state = "installed"
                    raise
                self.fail("raised KeyboardInterrupt while loading", error)
            if self.state == "loading":  # it may have failed meanwhile
                self.state = "loaded"
                if (taken := perf_counter() - started) > limit:
                    self.fail(f"took {taken:.2f} s to load, limit {limit:g} s")

    def load_aside(self, limit: float) -> None:
        """Load it in a thread; if that does not end in time, it has failed.

        It keeps its thread then, because nothing can end what that waits for.
        """
        if self.state != "installed":
            return
        thread = Thread(target=self.load, args=(limit,), name=f"load {self.title}", daemon=True)
        thread.start()
        thread.join(min(limit, TIMEOUT_MAX))
        if thread.is_alive():
            self.fail(f"does not finish loading, limit {limit:g} s")

    def fail(self, reason: str, error: BaseException | None = None) -> None:
        """Take it out of use, store the reason, and log it once."""
        self.state, self.reason, self.error = "failed", reason, error
        _logger.warning("plugin %s (%s) failed: %s", self.title, self.module, reason)

    def disable(self, reason: str) -> None:
        """Take it out of use on request."""
        self.state, self.reason = "disabled", reason

    def call(self, hook: str, **arguments: Any) -> None:
        """Call its implementation of a hook, if it is in use; if that raises, it has failed."""
        if self.state != "loaded":
            return
        try:
            with blame(f"raised in {hook}"):
                getattr(self._manager.hook, hook)(**arguments)
        except PluginError as error:
            self.fail(str(error), error.__cause__)

    def _load(self) -> None:
        # Before its manager, which costs much more than an import that fails.
        with blame("cannot be imported"):
            points = [(name, find()) for name, find in zip(self.names, self.points.values(), strict=True)]
        self._manager = pluggy.PluginManager("framestream")
        self._manager.add_hookspecs(hookspecs)
        for name, found in points:
            _check_contract(found)
            if _is_framer_class(found):
                self._register(name, found)
                continue
            with blame("has hooks that do not fit"):
                if not self._manager.is_registered(found):
                    _check_hooks(found)
                    self._manager.register(found)
        self.hooks = tuple(hook for hook in HOOKS if getattr(self._manager.hook, hook).get_hookimpls())
        if not self.hooks and not self.framers:
            raise PluginError("implements no hook and is not a framer class")
        with blame(f"raised in {_REGISTER}"):
            self._manager.hook.framestream_register_framers(register=self._register)
        missing = [repr(name) for name in self.names if name not in self.framers and not self.own]
        if _REGISTER in self.hooks and (missing or not self.framers):
            how = "it must call register(name, factory) for each entry point"
            raise PluginError(f"{_REGISTER} does not register {' and '.join(missing) or 'anything'}: {how}")

    def _register(self, name: Any, factory: Any) -> None:
        if not isinstance(name, str) or not is_name(name):
            raise PluginError(f"registers {name!a}, which is not a name for a framer")
        name = str.__str__(name)  # a subclass may compare and hash in its own way
        if name not in self.names and not self.own:
            line = f'{name} = "{self.module}" to [project.entry-points.{GROUP}]'
            raise PluginError(f"registers {name!r}, no entry point: add {line} in pyproject.toml and install it again")
        if name in self.framers:
            raise PluginError(f"registers {name!r} twice")
        if not callable(factory) or (isinstance(factory, type) and not _is_framer_class(factory)):
            raise PluginError(f"registers {name!r} as {factory!r}, which is not a framer class")
        self.framers[name] = factory


def _is_framer_class(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, ReadCondition)


def _check_contract(found: object) -> None:
    module = sys.modules.get(getattr(found, "__module__", ""))
    contract = getattr(found, "framestream_contract", getattr(module, "framestream_contract", CONTRACT))
    if type(contract) is not int or contract < 1:
        raise PluginError(f"framestream_contract is {contract!r}; it must be a number such as {CONTRACT}")
    if contract > CONTRACT:
        known = f"this framestream knows {CONTRACT}: upgrade it"
        raise PluginError(f"is written for contract version {contract}, {known}")


def _check_hooks(found: object) -> None:
    """Refuse hooks that pluggy would silently ignore: misspelt, unmarked and asynchronous ones."""
    for name in dir(found):
        value = getattr(found, name, None)
        marked = hasattr(value, "framestream_impl")
        if not marked and not (name.startswith("framestream_") and inspect.isroutine(value)):
            continue
        if name not in HOOKS:
            raise PluginError(f"there is no hook {name}{did_you_mean(name, HOOKS)}")
        if not marked:
            raise PluginError(f"{name} is not marked with @hookimpl")
        if inspect.iscoroutinefunction(value):
            raise PluginError(f"{name} is a coroutine function; hooks are plain functions")


def installed_plugins(path: Sequence[str] | None = None) -> Iterator[Plugin]:
    """Yield a plugin for each module that entry points of the group refer to, on `path` or ``sys.path``.

    No module is imported. Several entry points of a distribution that refer to the same module are one plugin
    with several names. A distribution whose entry points cannot be read yields a plugin that has failed.
    """
    where: dict[str, Any] = {} if path is None else {"path": list(path)}
    seen: set[str] = set()
    for distribution in metadata.distributions(**where):
        found: list[Plugin] = []
        try:
            # Broken metadata of any kind belongs to one distribution.
            with blame("its metadata cannot be read"):
                if not (text := _declarations(distribution)):
                    continue
                told: Any = distribution.metadata  # from Python 3.14 on, an item that is missing is a KeyError
                name = told.get("Name")
                if not name:
                    raise ValueError("it has no name")
                # Only the copy that comes first on the path can be imported; another may be there because the
                # directory is on the path twice, or because an older release was left behind.
                first = next(iter(metadata.distributions(name=name, **where)), distribution)
                if normalised(name) not in seen and _place_of(first) == _place_of(distribution):
                    seen.add(normalised(name))
                    found = _plugins_of(name, told.get("Version") or "", text)
        except PluginError as error:
            place = str(getattr(distribution, "_path", "a distribution"))
            found = [Plugin(place, "", "entry_points.txt", {place: lambda: None})]
            found[0].fail(str(error), error.__cause__)
        yield from found


def _place_of(distribution: metadata.Distribution) -> str:
    """Return the directory or the zip file that a distribution is in, or nothing if it is in none."""
    # As text: before Python 3.12, no two places in zip files are equal.
    try:
        return str(distribution.locate_file(""))
    except Exception:  # noqa: BLE001 - what a program has within itself need not be a file
        return ""


def _declarations(distribution: metadata.Distribution) -> str:
    """Return the entry points of a distribution as text, or nothing if none is of the group."""
    # metadata.entry_points() parses every distribution, and a broken one breaks it:
    # looking for the group in the text first costs a tenth, and lets each fail alone.
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except UnicodeDecodeError as error:
        # NULs stand between the letters of UTF-16.
        if f"[{GROUP}]".encode() in error.object.replace(b"\0", b""):
            raise
        return ""
    return text if f"[{GROUP}]" in text else ""


def _plugins_of(name: str, version: str, declarations: str) -> list[Plugin]:
    by_module: dict[str, dict[str, Callable[[], Any]]] = {}
    for point, value in _entry_points(declarations):
        by_module.setdefault(value.partition(":")[0].strip(), {})[point] = partial(_found_at, point, value)
    plugins = []
    for module, points in by_module.items():
        plugin = Plugin(name, version, module, points)
        if wrong := [name for name in plugin.names if not is_name(name)]:
            plugin.fail(f"its entry point '{wrong[0]}' is not a name for a framer: letters and digits of ASCII")
        plugins.append(plugin)
    return plugins


def _entry_points(text: str) -> Iterator[tuple[str, str]]:
    # `Distribution.entry_points` needs all of them to be well formed from Python 3.15 on, those of other groups, too.
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[]")
        elif group == GROUP and line and not line.startswith("#"):
            name, is_pair, value = map(str.strip, line.partition("="))
            if not is_pair:
                raise ValueError(f"{line!a} among its entry points is not NAME = MODULE")
            yield name, value


def _found_at(name: str, value: str) -> Any:
    # Not when it is listed: who asks for another framer, or has disabled this plugin, does not want to read of it.
    if not metadata.EntryPoint.pattern.match(value):
        told = f"its entry point '{_plain(name)}' is '{_plain(value)}'"
        raise PluginError(f"{told}; it must be MODULE or MODULE:ATTRIBUTE")
    return metadata.EntryPoint(name, value, GROUP).load()


def _plain(text: str) -> str:
    return printable(text.encode("ascii", "backslashreplace").decode())
