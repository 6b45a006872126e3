"""From a configuration as written to one that can be used, with everything that is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as FilePath

from keyturn.config import cross
from keyturn.config.accounts import KINDS, Find, Work, read_account, refuse_non_maps
from keyturn.config.files import Source
from keyturn.config.model import (
    AlertSettings,
    Configuration,
    EscrowSettings,
    JournalSettings,
    Limits,
    ManagedSecret,
)
from keyturn.config.problems import SECTIONS, ConfigProblem
from keyturn.config.secrets import argv, read_secret
from keyturn.config.sections import OverlapSection, RootSection, RotateSection

UNUSABLE = JournalSettings(kind="unusable")
"""Stands where a problem that stops everything left no settings."""


def load(source: Source, find: Find) -> Configuration:
    """Check everything at once. `find` gives plugins by kind and name, or raises UsageError.

    Never raises for what is wrong in the configuration: see `Configuration.problems` and `require_usable`.
    """
    work = Work(source, find, replace(source.problems, found=list(source.problems.found)))
    refuse_non_maps(work)
    root = _root(work)
    for section in KINDS:
        for name, data in work.section(section).items():
            read_account(work, section, name, data)
    read = [read_secret(work, name, data) for name, data in work.section("secrets").items()]
    managed = [secret for secret in read if secret is not None]
    cross.check_subjects(work, managed)
    cross.check_places(work, managed)
    cross.check_after(work, managed)
    cross.check_sources(work, managed)
    cross.check_bridges(work, managed)
    cross.check_references(work)
    cross.check_credentials(work, managed)
    return _configuration(work, root, managed)


def _root(work: Work) -> RootSection | None:
    """The top level. Entries that are no maps have a problem of their own and stop nothing else."""
    data = {**work.source.data}
    for section in SECTIONS:
        if section in data:
            data[section] = work.section(section)
    root = work.problems.validate(RootSection, data, ())
    work.note_references(RootSection, data, ())
    defaults = data.get("defaults")
    for key, model in (("rotate", RotateSection), ("overlap", OverlapSection)):
        if isinstance(defaults, dict) and isinstance(defaults.get(key), dict):
            work.problems.validate(model, defaults[key], ("defaults", key))
    return root


def _limits(root: RootSection | None) -> Limits:
    if root is None:
        return Limits()
    limits = root.limits
    return Limits(
        rotations_per_run=limits.rotations_per_run,
        call_s=limits.call,
        lease_s=limits.lease,
        patience_s=limits.patience,
    )


def _configuration(work: Work, root: RootSection | None, managed: list[ManagedSecret]) -> Configuration:
    broken = _broken(work)
    return Configuration(
        path=work.source.path,
        folder=work.source.folder,
        journal=_journal(root, work.source.folder),
        escrow=EscrowSettings(identities=root.escrow.identities, recipients=root.escrow.recipients)
        if root
        else EscrowSettings(),
        alerts=tuple(AlertSettings(exec=argv(one.exec, work.source.folder), url=one.url) for one in root.alerts)
        if root
        else (),
        limits=_limits(root),
        plugins=work.source.plugins,
        providers={name: account for (section, name), account in work.accounts.items() if section == "providers"},
        sinks={name: account for (section, name), account in work.accounts.items() if section == "sinks"},
        secrets={secret.name: secret for secret in managed if secret.name not in broken},
        broken=broken,
        references=tuple(work.references),
        problems=tuple(work.problems.found),
    )


def _journal(root: RootSection | None, folder: FilePath) -> JournalSettings:
    if root is None:
        return UNUSABLE
    path = folder / root.journal.path if root.journal.path else None
    return JournalSettings(kind=root.journal.kind, path=path, url_ref=root.journal.url)


def _broken(work: Work) -> dict[str, tuple[ConfigProblem, ...]]:
    """Each secret that may not be used, with what stops it: its own problems, and those of its accounts."""
    found: dict[str, list[ConfigProblem]] = {}
    for problem in work.problems.found:
        found.setdefault(problem.scope, []).append(problem)
    broken = {}
    for name in work.source.data.get("secrets", {}):
        scopes = (f"secret:{name}", *_account_scopes(work, name))
        stopping = tuple(problem for scope in scopes for problem in found.get(scope, ()))
        if stopping:
            broken[name] = stopping
    return broken


def _account_scopes(work: Work, name: str) -> list[str]:
    data = work.section("secrets").get(name, {})
    listed = data.get("sinks", [])
    sinks = [one.get("to") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [f"provider:{data.get('provider')}", *dict.fromkeys(f"sink:{sink}" for sink in sinks)]
