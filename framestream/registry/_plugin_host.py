"""The plugin host: which plugins there are, which of them answers to a name, and which hear of events."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from framestream.errors import PluginError, SpecError, UnknownFramerError
from framestream.net._listeners import connect
from framestream.registry._environment import load_limit, select
from framestream.registry._grammar import NAME
from framestream.registry._named_framers import NamedFramer, named_framer, read_config, refuse_cycles
from framestream.registry._plugin import Factory, Plugin, normalised
from framestream.registry._spelling import did_you_mean, nearest
from framestream.registry._versions import Requirement


class PluginHost:
    """Every plugin, and the one place that answers for them; use the instance ``framestream.plugins``.

    Iterating gives a `Plugin` for each that is installed or registered, those that are disabled or
    quarantined included. Nothing is imported before its name is asked for or `load` is called, and no
    plugin can break the host or another plugin: see `Plugin`.

    The environment selects. ``FRAMESTREAM_PLUGINS`` names the only plugins allowed (empty: none),
    ``FRAMESTREAM_DISABLE_PLUGINS`` those that are not. Both take names of entry points and of
    distributions, separated by commas.
    """

    def __init__(self, built_in: Plugin) -> None:
        self.built_in = built_in
        self.generation = 0
        self._installed: list[Plugin] | None = None
        self._registered: list[Plugin] = []
        self._notices: list[str] = []
        self._named: dict[str, NamedFramer] = {}

    def __iter__(self) -> Iterator[Plugin]:
        if self._installed is None:
            self.rescan()
        return iter(self._known())

    # What an application asks for

    def matching(self, name: str) -> list[Plugin]:
        """Return the plugins of the distribution or entry point of this name; `PluginError` if none is."""
        found = [plugin for plugin in self if plugin.answers_to(name)]
        if not found:
            known = {known for plugin in self for known in (plugin.distribution, *plugin.names)}
            raise PluginError(f"no plugin {name!r} is installed{did_you_mean(name, known)}", plugin=name)
        return found

    def load(self, *names: str) -> None:
        """Import these plugins, so that their event hooks are called; without names, every plugin.

        Naming one that is missing, disabled or quarantined raises `PluginError`.
        """
        if not names:
            for plugin in self:
                self._load(plugin)
        for name in names:
            for plugin in self.matching(name):
                self._ready(plugin)

    def disable(self, *names: str, reason: str = "disabled by the program") -> None:
        """Take plugins out of use; `PluginError` if no plugin answers to a name."""
        for name in names:
            for plugin in self.matching(name):
                plugin.disable(reason)
        self._changed()

    def register(self, plugin: object, name: str = "") -> Plugin:
        """Use a module, an object with hooks or a framer class of the program itself as a plugin.

        Raise `PluginError` instead of putting it in quarantine.
        """
        known = name or getattr(plugin, "name", "") or getattr(plugin, "__name__", type(plugin).__name__)
        added = Plugin("registered", "", known, {known: lambda: plugin})
        added.load(float("inf"))
        if added.state == "quarantined":
            raise PluginError(f"{known} {added.reason}", plugin=known) from added.error
        added.names = tuple(added.framers) or added.names
        self._registered.append(added)
        self._changed()
        return added

    def rescan(self, path: Sequence[str] | None = None) -> None:
        """Look anew for installed plugins, in these directories or on ``sys.path``, and at the environment.

        Modules that are imported stay imported.
        """
        # Built-in names need no plugin, and reading metadata takes as long as importing the rest of us.
        from framestream.registry._discovery import installed_plugins  # noqa: PLC0415

        found = installed_plugins(path)
        self._installed = sorted(found, key=lambda plugin: normalised(plugin.distribution))
        self._notices = select(self._installed)
        self._changed()

    def require(self, *requirements: str) -> None:
        """Make sure that plugins are installed in a version that will do, and work: ``acme-netstring>=1.2``.

        Raise `PluginError` that says what is wrong with the first that is not so.
        """
        for text in requirements:
            requirement = Requirement(text)
            for plugin in self.matching(requirement.name):
                if not requirement.allows(plugin.version):
                    raise PluginError(f"{text} is required, {plugin.title} is installed", plugin=plugin.name)
                self._ready(plugin)

    def define(self, name: str, spec: str) -> None:
        """Give a spec string a name that can be used like any other, in other spec strings, too."""
        self._define({name: named_framer(name, spec, "the program")})

    def load_config(self, path: str | os.PathLike[str]) -> None:
        """Define every named framer of a TOML file, in its table ``tool.framestream.framers`` or ``framers``.

        Raise `SpecError` naming the entry that is wrong; then none of the file is used. What the specs
        mean is looked at when a name is asked for.
        """
        self._define(read_config(path))

    @contextmanager
    def isolated(self, *plugins: object) -> Iterator[PluginHost]:
        """See no plugin but these (modules, objects or framer classes) until the block ends; for tests.

        Named framers and what the environment says are put aside as well.
        """
        kept = self._installed, self._registered, self._notices, self._named
        self._installed, self._registered, self._notices, self._named = [], [], [], {}
        try:
            self._changed()
            for plugin in plugins:
                self.register(plugin)
            yield self
        finally:
            self._installed, self._registered, self._notices, self._named = kept
            self._changed()

    # Who answers to a name

    def factory(self, name: str) -> Factory | NamedFramer:
        """Return what makes the framer of this name, importing no more than the plugin that declares it.

        Raise `UnknownFramerError`, or `PluginError` if the plugin it belongs to is out of use or two
        distributions claim the name. ``distribution/name`` settles that.
        """
        distribution, _, short = name.rpartition("/")
        if distribution:
            return self._qualified(distribution, short)
        self.built_in.load(float("inf"))
        if name in self.built_in.framers:
            return self.built_in.factory(name)
        if name in self._named:
            return self._named[name]
        claimants = self.claimants(name)
        if not claimants:
            # Last resort: a plugin may register a name that it does not declare as an entry point.
            self.load()
            claimants = [plugin for plugin in self if name in plugin.framers and plugin.state == "loaded"]
        if len(claimants) > 1:
            raise PluginError(self._contested(name, claimants))
        for plugin in claimants:
            self._ready(plugin, f"framer {name!r} is not available: ")
            if name in plugin.framers:
                return self._factory_of(plugin, name)
        raise self._unknown(name)

    def claimants(self, name: str) -> list[Plugin]:
        """Return the plugins in use that declare this name as an entry point, loaded or not.

        What the program registered itself goes before what is installed.
        """
        declared = [plugin for plugin in self if name in plugin.names]
        enabled = [plugin for plugin in declared if plugin.state != "disabled"]
        own = [plugin for plugin in enabled if plugin in self._registered]
        return own or enabled or declared[:1]

    def names(self) -> tuple[str, ...]:
        """Return every name that can be asked for, as far as is known without importing anything."""
        self.built_in.load(float("inf"))
        found = {*self.built_in.framers, *self._named}
        for plugin in self:
            if plugin.state == "loaded":
                found.update(plugin.framers)
            elif plugin.state == "installed":
                found.update(plugin.names)
        return tuple(sorted(found))

    def problems(self, plugin: Plugin) -> list[str]:
        """Return what is wrong with a plugin's names: contested, hidden by a built-in, or not declared."""
        problems = []
        for name in dict.fromkeys((*plugin.names, *plugin.framers)):
            others = [other for other in self._rivals(plugin, name) if other is not plugin]
            if name in self.built_in.framers:
                problems.append(f"{name!r} is built in; write {plugin.distribution}/{name} for this one")
            elif others:
                problems.append(self._contested(name, [plugin, *others]))
            elif not NAME.fullmatch(name):
                problems.append(f"{name!r} is no name that a spec string can hold")
            elif name not in plugin.names:
                problems.append(f"{name!r} is no entry point: asking for it imports every plugin")
        return problems

    def notices(self) -> list[str]:
        """Return what is wrong with the selection: names in the environment that no plugin answers to."""
        self.names()
        return list(self._notices)

    # Inside

    def _define(self, added: dict[str, NamedFramer]) -> None:
        self.built_in.load(float("inf"))
        for name, framer in added.items():
            if name in self.built_in.framers:
                raise SpecError(f"{framer.source}: {name!r} is the name of a built-in framer")
        named = {**self._named, **added}
        refuse_cycles(named)
        self._named = named
        self._changed()

    def _rivals(self, plugin: Plugin, name: str) -> list[Plugin]:
        if name in plugin.names:
            return self.claimants(name)
        return [other for other in self if name in other.framers and other.state != "disabled"]

    def _contested(self, name: str, plugins: Iterable[Plugin]) -> str:
        titles = " and ".join(plugin.title for plugin in plugins)
        ways = " or ".join(f"{plugin.distribution}/{name}" for plugin in plugins)
        return f"{name!r} is claimed by {titles}: write {ways}"

    def _qualified(self, distribution: str, name: str) -> Factory | NamedFramer:
        if normalised(distribution) == "framestream":
            return self.factory(name)
        owned = [plugin for plugin in self if normalised(plugin.distribution) == normalised(distribution)]
        if not owned:
            known = {normalised(plugin.distribution) for plugin in self}
            hint = did_you_mean(normalised(distribution), known)
            raise PluginError(f"no plugin of a distribution {distribution!r} is installed{hint}")
        for plugin in sorted(owned, key=lambda plugin: name not in plugin.names):
            self._ready(plugin, f"framer {name!r} is not available: ")
            if name in plugin.framers:
                return self._factory_of(plugin, name)
        names = tuple(sorted(name for plugin in owned for name in plugin.framers))
        raise UnknownFramerError(f"{distribution}/{name}", available=names, suggestion=nearest(name, names))

    def _factory_of(self, plugin: Plugin, name: str) -> Factory:
        try:
            return plugin.factory(name)
        except PluginError as error:
            plugin.quarantine(str(error), error.__cause__)
            self._changed()
            raise

    def _unknown(self, name: str) -> UnknownFramerError:
        names = self.names()
        broken = [plugin.distribution for plugin in self if plugin.state == "quarantined"]
        note = f"; quarantined: {', '.join(broken)} (framestream plugins tells why)" if broken else ""
        return UnknownFramerError(name, available=names, suggestion=nearest(name, names), note=note)

    def _ready(self, plugin: Plugin, prefix: str = "") -> None:
        """Load a plugin; raise PluginError if it is not in use after that."""
        self._load(plugin)
        if plugin.state != "loaded":
            what = f"{plugin.state}: {plugin.reason}" if plugin.reason else "being imported at this moment"
            why = f"{prefix}plugin {plugin.title} is {what}"
            raise PluginError(why, plugin=plugin.name) from plugin.error

    def _load(self, plugin: Plugin) -> None:
        if plugin.state == "installed":
            plugin.load(load_limit())
            self._changed()

    def _known(self) -> list[Plugin]:
        return [*self._registered, *(self._installed or ())]

    def _changed(self) -> None:
        """Forget what was made by earlier plugins, and let events call the present ones."""
        self.generation += 1
        connect(self._known(), self._changed)
