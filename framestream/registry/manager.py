"""The plugin manager: finds plugins, looks framers up by name, and passes events to hooks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from framestream._events import EVENTS, Listener, events
from framestream.errors import PluginError, UnknownFramerError, blame, did_you_mean, nearest
from framestream.framers import BUILT_IN

if TYPE_CHECKING:
    from framestream.registry.plugin import Factory, Plugin

# Patterns are compiled on first use, and what few programs need is imported where it is used: every program
# that asks for a framer by name imports this module.

LOAD_LIMIT = 2.0
"""Seconds a plugin may take to import and register, unless ``FRAMESTREAM_LOAD_LIMIT`` is set."""

# The plugins of this project, each with its framers, and those whose only framer has the plugin's name.
_SEVERAL: Final = {
    "cobs": "cobs cobs-r",
    "erlang": "ber erlang-packet fastcgi giop record-marking tpkt",
    "http": "http-chunk http-chunked http-request http-response",
    "json": "json-array json-concat json-lines json-seq",
    "marked": "fix nmea ubx",
    "records": "journal-export pcapng tfrecord warc",
}
_ONE: Final = "fstrm lsp mqtt netstring protobuf proxy resp slip syslog websocket"
FIRST_PARTY: Final = {framer: f"framestream-{framer}" for framer in _ONE.split()} | {
    framer: f"framestream-{plugin}" for plugin, framers in _SEVERAL.items() for framer in framers.split()
}
"""The distributions of this project that bring framers, by framer: what to install if one is missing."""


class NamedFramer(NamedTuple):
    """A spec string with a name.

    Attributes:
        name: the name.
        text: the spec string it stands for.
        source: where the name was given, for messages.
    """

    name: str
    text: str
    source: str


class PluginManager:
    """All plugins; use the instance ``framestream.plugins``.

    Iterating gives a `Plugin` for each that is installed or registered, those that are disabled or have
    failed included. Nothing is imported before its name is asked for or `load` is called, and no plugin
    can break the manager or another plugin: see `Plugin`.

    The environment selects. ``FRAMESTREAM_PLUGINS`` names the only plugins allowed (empty: none),
    ``FRAMESTREAM_DISABLE_PLUGINS`` those that are not. Both take names of entry points and of
    distributions, separated by commas.

    Attributes:
        generation: the number of changes so far; results of earlier look-ups may be out of date.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._plugins: list[Plugin] | None = None
        self._owners: tuple[int, dict[str, list[Plugin]]] = (-1, {})
        self._notices: list[str] = []
        self._named: dict[str, NamedFramer] = {}

    def __iter__(self) -> Iterator[Plugin]:
        if self._plugins is None:
            self.rescan()
        return iter(list(self._plugins or ()))

    # For applications

    def matching(self, name: str) -> list[Plugin]:
        """Return the plugins of the distribution or entry point of this name; `PluginError` without one."""
        found = [plugin for plugin in self if plugin.answers_to(name)]
        if not found:
            known = {known for plugin in self for known in (normalised(plugin.distribution), *plugin.names)}
            raise PluginError(f"no plugin {name!r} is installed{did_you_mean(name, known)}", plugin=name)
        return found

    def load(self, *names: str) -> None:
        """Import these plugins, so that their event hooks are called.

        Without names, every plugin, in a thread and each for no longer than the load limit: one that hangs
        does not keep the others from it. Naming one that is missing, disabled or has failed raises `PluginError`.
        """
        for name in names:
            for plugin in self.matching(name):
                self._ready(plugin)
        if not names:
            limit = _load_limit()
            for plugin in self:
                plugin.load_aside(limit)
            self._changed()

    def disable(self, *names: str, reason: str = "disabled by the program") -> None:
        """Take plugins out of use; `PluginError` if no plugin has a name."""
        for name in names:
            for plugin in self.matching(name):
                plugin.disable(reason)
        self._changed()

    def register(self, plugin: object, name: str = "") -> Plugin:
        """Use a module, an object with hooks or a framer class of the program itself as a plugin.

        If anything is wrong with it, raise `PluginError` and do not keep it.
        """
        # A built-in name needs no plugin: it costs neither pluggy nor the reading of metadata.
        from framestream.registry.plugin import Plugin  # noqa: PLC0415

        with blame("cannot be inspected"):
            known = name or str(getattr(plugin, "name", "") or getattr(plugin, "__name__", type(plugin).__name__))
        added = Plugin("registered", "", known, {known: lambda: plugin}, own=True)
        added.load(float("inf"))
        if added.state == "failed":
            raise PluginError(f"{known} {added.reason}", plugin=known) from added.error
        added.names = tuple(added.framers) or added.names
        self._plugins = [added, *self]
        self._changed()
        return added

    def rescan(self, path: Sequence[str] | None = None) -> None:
        """Look again for installed plugins, in these directories or on ``sys.path``, and at the environment.

        Modules that are imported stay imported.
        """
        from framestream.registry.plugin import installed_plugins  # noqa: PLC0415  # as above

        own = [plugin for plugin in self._plugins or () if plugin.own]
        installed = sorted(installed_plugins(path), key=lambda plugin: normalised(plugin.distribution))
        self._plugins, self._notices = own + installed, _select(installed)
        self._changed()

    def require(self, *requirements: str) -> None:
        """Check that plugins are installed in a suitable version, and work: ``acme-netstring>=1.2``.

        Raise `PluginError` for the first that is not, with the reason.
        """
        # Few programs require versions, and every one that asks for a framer by name imports this module.
        from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415

        for text in requirements:
            try:
                requirement = Requirement(text)
            except InvalidRequirement as error:
                reason = f"{text!r} is not a requirement such as 'acme-netstring>=1.2,<2'"
                raise PluginError(reason) from error
            for plugin in self.matching(requirement.name):
                allowed = not requirement.specifier
                with suppress(ValueError):  # older releases of packaging raise it for what is no version
                    allowed = requirement.specifier.contains(plugin.version, prereleases=True)
                if not allowed:
                    raise PluginError(f"{text} is required, {plugin.title} is installed", plugin=text)
                self._ready(plugin)

    def define(self, name: str, spec: str) -> None:
        """Give a spec string a name that can be used like any other, even in other spec strings, without options."""
        from framestream.registry.specs import named_framer  # noqa: PLC0415 - built-in names do not need it

        self._named[name] = named_framer(name, spec, "the program")
        self._changed()

    def load_config(self, path: str | os.PathLike[str]) -> None:
        """Define every named framer of a TOML file, in its table ``tool.framestream.framers`` or ``framers``.

        Raise `SpecError` naming the entry that is wrong; then none of the file is used. Whether a spec makes a
        framer shows when its name is asked for.
        """
        from framestream.registry.specs import read_config  # noqa: PLC0415 - as above

        self._named |= read_config(path)
        self._changed()

    @contextmanager
    def isolated(self, *plugins: object) -> Iterator[PluginManager]:
        """Use only these plugins (modules, objects or framer classes) until the block ends; for tests.

        Named framers and the environment's settings are ignored as well.
        """
        kept = self._plugins, self._notices, self._named
        self._plugins, self._notices, self._named = [], [], {}
        try:
            self._changed()
            for plugin in plugins:
                self.register(plugin)
            yield self
        finally:
            self._plugins, self._notices, self._named = kept
            self._changed()

    # Look-ups

    def find(self, name: str) -> tuple[Factory | NamedFramer, Plugin | None]:
        """Return the factory of the framer of this name, and the plugin that brings it, if one does.

        Import no more than the plugin that declares the name. Raise `UnknownFramerError`, or `PluginError` if
        that plugin is out of use or two distributions claim the name. ``distribution/name`` settles that.
        """
        distribution, _, short = name.rpartition("/")
        if distribution and normalised(distribution) != "framestream":
            wanted = normalised(distribution)
            matching = [plugin for plugin in self.matching(distribution) if short in plugin.names]
            providers = [plugin for plugin in matching if normalised(plugin.distribution) == wanted]
        elif short in BUILT_IN:
            return getattr(import_module("framestream.framers"), BUILT_IN[short]), None
        elif short in self._named:
            return self._named[short], None
        else:
            providers = self._providers(short)
        if len(providers) > 1:
            raise PluginError(_claimed(short, providers))
        for plugin in providers:
            self._ready(plugin, f"framer {short!r} is not available: ")
            if short in plugin.framers:
                return plugin.framers[short], plugin
        names = self.names()
        raise UnknownFramerError(
            name,
            available=names,
            suggestion=nearest(short, names),
            distribution=FIRST_PARTY.get(name),
        )

    def names(self) -> tuple[str, ...]:
        """Return every name that can be asked for, as far as is known without importing anything."""
        found = {*BUILT_IN, *self._named}
        for plugin in self:
            if plugin.state not in ("disabled", "failed"):
                found.update(plugin.framers if plugin.state == "loaded" else plugin.names)
        return tuple(sorted(found))

    def problems(self, plugin: Plugin) -> list[str]:
        """Return the problems of a plugin's names: claimed twice, or built in."""
        problems = []
        for name in plugin.names:
            others = [other for other in self._providers(name) if other is not plugin]
            if name in BUILT_IN:
                problems.append(f"{name!r} is built in; write {plugin.distribution}/{name} for this one")
            elif others:
                problems.append(_claimed(name, [plugin, *others]))
        return problems

    def notices(self) -> list[str]:
        """Return the problems of the selection: names in the environment that no plugin has."""
        list(self)  # which looks for plugins, unless that was done
        return list(self._notices)

    # Inside

    def _providers(self, name: str) -> list[Plugin]:
        """Return the plugins that declare this name; one out of use only if no other does.

        Plugins that the program registered itself come before installed ones.
        """
        known = list(self)
        if self._owners[0] != self.generation:  # or listing many plugins would take time in the square of them
            owners: dict[str, list[Plugin]] = {}
            for plugin in known:
                for owned in plugin.names:
                    owners.setdefault(owned, []).append(plugin)
            self._owners = self.generation, owners
        found = self._owners[1].get(name, [])
        enabled = [plugin for plugin in found if plugin.state != "disabled"]
        own = [plugin for plugin in enabled if plugin.own]
        return own or enabled or found[:1]

    def _ready(self, plugin: Plugin, prefix: str = "") -> None:
        """Load a plugin; raise PluginError if it is not in use after that."""
        if plugin.state in ("installed", "loading"):  # then it is, or will be, once the thread that loads it is done
            plugin.load(_load_limit())
            self._changed()
        if plugin.state != "loaded":
            state = "is disabled" if plugin.state == "disabled" else plugin.state
            what = "is being imported at this moment" if state == "loading" else f"{state}: {plugin.reason}"
            reason = f"{prefix}plugin {plugin.title} {what}"
            raise PluginError(reason, plugin=plugin.names[0]) from plugin.error

    def _changed(self) -> None:
        """Drop results of earlier plugins, and connect events to the present ones.

        An event calls only the plugins in use that implement its hook: while there is none,
        its slot is empty, and streams do not even build the arguments.
        """
        self.generation += 1
        for event in EVENTS:
            hook = f"framestream_{event}"
            hearers = [it for it in self._plugins or () if it.state == "loaded" and hook in it.hooks]
            setattr(events, event, self._listener(hook, hearers) if hearers else None)

    def _listener(self, hook: str, hearers: Sequence[Plugin]) -> Listener:
        def tell(**arguments: Any) -> None:
            for plugin in hearers:
                plugin.call(hook, **arguments)
            if any(plugin.state != "loaded" for plugin in hearers):
                self._changed()

        return tell


def _claimed(name: str, plugins: Sequence[Plugin]) -> str:
    titles = " and ".join(plugin.title for plugin in plugins)
    ways = " or ".join(f"{plugin.distribution}/{name}" for plugin in plugins)
    return f"{name!r} is claimed by {titles}: write {ways}"


# Names of framers and of distributions ----------------------------------------------------------


def is_name(text: str) -> bool:
    """Tell whether a text can be a framer's name. ASCII only: letters of other alphabets can imitate a trusted name."""
    return re.fullmatch(r"(?a)[A-Za-z][\w.-]*", text) is not None


def normalised(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


# The environment -------------------------------------------------------------------------------


def _load_limit() -> float:
    value = os.environ.get("FRAMESTREAM_LOAD_LIMIT", LOAD_LIMIT)
    with suppress(ValueError):
        if (limit := float(value)) >= 0:  # and a number
            return limit
    raise PluginError(f"FRAMESTREAM_LOAD_LIMIT is {value!r}; it must be a number of seconds")


def _select(plugins: Sequence[Plugin]) -> list[str]:
    """Disable plugins that the environment does not allow; return complaints about unknown names."""
    allowed = _names_in("FRAMESTREAM_PLUGINS")
    forbidden = _names_in("FRAMESTREAM_DISABLE_PLUGINS") or []
    for plugin in plugins:
        if allowed is not None and not any(map(plugin.answers_to, allowed)):
            plugin.disable("FRAMESTREAM_PLUGINS does not name it")
        if any(map(plugin.answers_to, forbidden)):
            plugin.disable("FRAMESTREAM_DISABLE_PLUGINS names it")
    return [
        f"no plugin answers to {name!r}, which the environment names"
        for name in (allowed or []) + forbidden
        if not any(plugin.answers_to(name) for plugin in plugins)
    ]


def _names_in(variable: str) -> list[str] | None:
    """Return the names in an environment variable, or None if it is not set."""
    value = os.environ.get(variable)
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]
