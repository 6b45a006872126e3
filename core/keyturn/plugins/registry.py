"""Finds plugins: lists them before anything is imported, then imports only the one that is asked for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from keyturn.errors import UsageError
from keyturn.plugins import hookspecs
from keyturn.plugins.hookspecs import API, Kind, Plugin
from keyturn.plugins.overlap import Overlap
from keyturn.plugins.single_file import import_file

BUILT_IN = "keyturn"
"""The distribution whose names nobody else can take."""


@dataclass(frozen=True, kw_only=True, order=True)
class Listed:
    """One claim to a name. `source` is the module (entry points) or the path (single files, no distribution)."""

    kind: Kind
    name: str
    distribution: str
    version: str
    source: str

    @property
    def owner(self) -> str:
        """Who makes the claim, as people know it."""
        return f"{self.distribution} {self.version}" if self.distribution else self.source


class Registry:
    """The plugins of this interpreter and of configured files. Made in `main`, passed down; caches what it loads.

    Every method may raise UsageError: `plugin-unknown`, `plugin-clash`, `plugin-api`, `plugin-broken`, `plugin-mode`.
    A broken plugin is an error only for those that ask for it.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self._files = tuple(files)
        self._claims: list[Listed] | None = None
        self._broken: dict[str, UsageError] = {}
        self._plugins: dict[tuple[Kind, str], Plugin] = {}
        self._factories: dict[tuple[Kind, str], Callable[..., Any]] = {}
        self._from_files: dict[str, Plugin] = {}

    def listed(self) -> list[Listed]:
        """All claims, sorted. Distributions are listed without being imported; configured files have to be run."""
        if self._claims is None:
            self._claims = sorted({*self._entry_points(), *self._file_claims()})
        return list(self._claims)

    def broken(self) -> dict[str, UsageError]:
        """Configured files that did not load and distributions that can not be listed, with the reasons."""
        self.listed()
        return dict(self._broken)

    def find(self, kind: Kind, name: str) -> Plugin:
        """The registration of one plugin; imports its hook module and nothing else."""
        if (kind, name) not in self._plugins:
            self._plugins[kind, name] = self._register(self._claim(kind, name))
        return self._plugins[kind, name]

    def load(self, plugin: Plugin) -> Callable[..., Any]:
        """The plugin's factory; imports its implementation, once."""
        key = (plugin.kind, plugin.name)
        if key not in self._factories:
            self._factories[key] = _factory(plugin)
        return self._factories[key]

    def overlap(self, name: str) -> Overlap:
        """The overlap of this name, ready to be asked."""
        made: Overlap = self.load(self.find(Kind.OVERLAP, name))()
        return made

    def _claim(self, kind: Kind, name: str) -> Listed:
        claims = [claim for claim in self.listed() if claim.kind is kind and claim.name == name]
        if not claims:
            raise self._unknown(kind, name)
        if len(claims) > 1:
            raise _clash(claims)
        return claims[0]

    def _unknown(self, kind: Kind, name: str) -> UsageError:
        # A file that did not load may well be the one that is meant: its own error says more.
        for path in self._files:
            if str(path) in self._broken:
                return self._broken[str(path)]
        names = sorted({claim.name for claim in self.listed() if claim.kind is kind})
        close = difflib.get_close_matches(name, names, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        return UsageError(
            "plugin-unknown",
            f"there is no {kind} called {name!r}",
            hint=f"{guess}known {kind}s: {', '.join(names) or 'none'}; see them all with: keyturn plugins",
        )

    def _register(self, claim: Listed) -> Plugin:
        if not claim.distribution:
            return self._from_files[claim.source]
        plugin = _ask(_import(claim), claim.source)
        if (plugin.kind, plugin.name) != (claim.kind, claim.name):
            raise _broken(claim.source, f"expected {claim.kind} {claim.name}, it registers {plugin.kind} {plugin.name}")
        return plugin

    def _entry_points(self) -> Iterator[Listed]:
        seen: set[tuple[Kind, str, str, str]] = set()
        for distribution in metadata.distributions():
            for claim in self._readable_claims(distribution):
                # One distribution found twice on the path (an editable install) makes one claim, at its first place.
                key = (claim.kind, claim.name, claim.distribution, claim.source)
                if key not in seen:
                    seen.add(key)
                    yield claim

    def _readable_claims(self, distribution: metadata.Distribution) -> list[Listed]:
        try:
            return list(_claims_of(distribution))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one package must not stop the others
            name = str(distribution.name)
            self._broken[name] = _broken(name, f"its entry points can not be read: {_as_text(error)}")
            return []

    def _file_claims(self) -> Iterator[Listed]:
        for path in self._files:
            try:
                plugin = _ask(import_file(path), str(path))
            except UsageError as error:
                self._broken[str(path)] = error
            else:
                self._from_files[str(path)] = plugin
                yield Listed(kind=plugin.kind, name=plugin.name, distribution="", version="", source=str(path))


def _claims_of(distribution: metadata.Distribution) -> Iterator[Listed]:
    kinds = {kind.group: kind for kind in Kind}
    for point in distribution.entry_points:
        if point.group in kinds:
            yield Listed(
                kind=kinds[point.group],
                name=point.name,
                distribution=re.sub(r"[-_.]+", "-", str(distribution.name)).lower(),
                version=str(distribution.version),
                source=point.value,
            )


def _clash(claims: Sequence[Listed]) -> UsageError:
    owners = [claim.owner for claim in claims]
    name = f"the {claims[0].kind} {claims[0].name!r}"
    if any(claim.distribution == BUILT_IN for claim in claims):
        others = [claim.owner for claim in claims if claim.distribution != BUILT_IN] or owners
        message = f"{name} is built into keyturn and can not be replaced by {' or '.join(others)}"
        hint = f"remove {' and '.join(others)}, or have it take another name"
    else:
        message = f"{name} is claimed by {' and by '.join(owners)}"
        hint = "remove all but one of them: pip uninstall, or the file's line in the configuration"
    return UsageError("plugin-clash", message, hint=hint, fields={"claimed_by": ", ".join(owners)})


def _import(claim: Listed) -> object:
    try:
        return metadata.EntryPoint(claim.name, claim.source, claim.kind.group).load()
    except (Exception, SystemExit) as error:
        raise _broken(claim.source, f"its import failed: {_as_text(error)}") from error


def _ask(module: object, source: str) -> Plugin:
    """What the module's one hook registers. The manager is fresh: no other plugin can wrap the hook."""
    manager = pluggy.PluginManager("keyturn")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module)
        answers: list[object] = manager.hook.keyturn_plugin()
    except (Exception, SystemExit) as error:
        raise _broken(source, f"its registration failed: {_as_text(error)}") from error
    if len(answers) != 1 or not isinstance(answers[0], Plugin):
        raise _broken(source, "expected one keyturn_plugin marked with hookimpl that returns a Plugin")
    return _same_api(answers[0], source)


def _same_api(plugin: Plugin, source: str) -> Plugin:
    if plugin.api != API:
        raise UsageError(
            "plugin-api",
            f"the {plugin.kind} {plugin.name!r} was written for plugin api {plugin.api}, expected {API}",
            hint=f"install a release of {source} made for plugin api {API}",
        )
    return plugin


def _factory(plugin: Plugin) -> Callable[..., Any]:
    shown = f"{plugin.kind} {plugin.name}"
    try:
        factory = plugin.load()
    except ModuleNotFoundError as error:
        if not plugin.requires:
            raise _broken(shown, f"its implementation did not load: {_as_text(error)}") from error
        raise UsageError(
            "extra-missing",
            f"the {shown} needs more packages: {error.name} is missing",
            hint=f"pip install '{plugin.requires}'",
        ) from error
    except (Exception, SystemExit) as error:
        raise _broken(shown, f"its implementation did not load: {_as_text(error)}") from error
    if not callable(factory):
        raise _broken(shown, f"expected load to return a factory, it returns {type(factory).__name__}")
    return factory


def _as_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _broken(source: str, why: str) -> UsageError:
    return UsageError(
        "plugin-broken",
        f"the plugin {source} is broken: {why}",
        hint="repair or reinstall it; secrets that do not use it are not affected",
    )
