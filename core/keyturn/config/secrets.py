"""Secrets: what stands under `secrets:`, with the defaults below it, checked by Keyturn's and the plugins' types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from keyturn.config.accounts import NoOptions, Work
from keyturn.config.model import Account, Binding, Consumer, ManagedSecret, Notify
from keyturn.config.problems import AS_SCHEMA, RENAME, Path, suggestion
from keyturn.config.sections import (
    ConsumerSection,
    NotifySection,
    OverlapSection,
    RotateSection,
    SecretSection,
    Share,
)
from keyturn.config.sections import (
    name as checked_name,
)
from keyturn.errors import UsageError
from keyturn.model import Field, Traits
from keyturn.plugins.hookspecs import Kind
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.schedule import RotatePolicy

OWN_BINDING_KEYS = frozenset({"to", "fields"})
CALENDARS = {"every": ("cron",), "cron": ("every", "from")}
"""What a secret's own calendar puts aside of the defaults' calendar."""


def read_secret(work: Work, name: str, data: dict[str, Any]) -> ManagedSecret | None:
    """One secret, or None with what is wrong with it, or with an account of its, among the problems."""
    path: Path = ("secrets", name)
    before = len(work.problems.found)
    try:
        checked_name(name)
    except ValueError as error:
        work.problems.add("bad-name", str(error), path, hint=RENAME)
    merged = with_defaults(data, work.source.data.get("defaults", {}))
    work.note_references(SecretSection, merged, path)
    section = work.problems.validate(SecretSection, merged, path)
    _check_strategy(work, merged, path)
    account = _account(work, "providers", data.get("provider"), (*path, "provider"))
    target = _target(work, data, path)
    traits = _traits(work, account, target, path)
    source = _source(work, account, target, name, path)
    bindings = list(_bindings(work, data, traits, path))
    if section is None or account is None or traits is None or len(work.problems.found) > before:
        return None
    if len(bindings) < len(section.sinks):
        return None
    _check_published(work, traits, bindings, path)
    _check_bridge(work, traits, section.overlap, path)
    return ManagedSecret(
        name=name,
        provider=section.provider,
        target=target,
        rotate=rotate_policy(section.rotate, source),
        overlap=overlap_policy(section.overlap),
        sinks=tuple(bindings),
        consumers=tuple(consumer(one, work.source.folder) for one in section.consumers),
        subject=_subject(work, account, target, name, path),
        source=source,
    )


def with_defaults(data: Mapping[str, Any], defaults: Any) -> dict[str, Any]:
    """A secret with the defaults below it; a calendar of its own replaces that of the defaults."""
    merged = dict(data)
    for key in ("rotate", "overlap"):
        own, common = data.get(key, {}), defaults.get(key, {}) if isinstance(defaults, dict) else {}
        if isinstance(own, dict) and isinstance(common, dict):
            dropped = {name for calendar, names in CALENDARS.items() if calendar in own for name in names}
            merged[key] = {**{name: value for name, value in common.items() if name not in dropped}, **own}
    return merged


def rotate_policy(section: RotateSection, source: str | None = None) -> RotatePolicy:
    """The schedule as plain data. What is derived from `source` comes after it, whether that is written or not."""
    lead = section.before_expiry
    return RotatePolicy(
        every_s=section.every,
        from_date=section.from_,
        cron=section.cron,
        timezone=section.timezone,
        window=section.window,
        before_expiry_s=None if isinstance(lead, Share) else lead,
        before_expiry_share=lead.part if isinstance(lead, Share) else None,
        after=tuple(dict.fromkeys((*section.after, *([source] if source else [])))),
        jitter_s=section.jitter,
        min_age_s=section.min_age,
        keep_previous=section.keep_previous,
    )


def overlap_policy(section: OverlapSection) -> OverlapPolicy:
    """The overlap as plain data."""
    return OverlapPolicy(
        strategy=section.strategy,
        hold_s=section.hold,
        hold_max_s=section.hold_max,
        retire_window=section.retire_window.text if section.retire_window else None,
        accept_outage_s=section.accept_outage,
        bridge=section.bridge,
    )


def consumer(section: ConsumerSection, folder: FilePath) -> Consumer:
    """A consumer as plain data."""
    return Consumer(
        name=section.name,
        acknowledge=section.acknowledge == "required",
        announce=_notify(section.announce, folder),
        quiesce=_notify(section.quiesce, folder),
        must_drain=section.drain == "required",
        release=_notify(section.release, folder),
    )


def _notify(section: NotifySection | None, folder: FilePath) -> Notify | None:
    if section is None:
        return None
    return Notify(
        exec=argv(section.exec, folder),
        url=section.url,
        stdin=section.stdin,
        env=dict(section.env),
        timeout_s=section.timeout,
    )


def argv(words: tuple[str, ...] | None, folder: FilePath) -> tuple[str, ...] | None:
    """A command whose program, where it is a relative path, starts at the configuration's folder."""
    if words is None or "/" not in words[0]:
        return words
    return (str(folder / words[0]), *words[1:])


def _check_strategy(work: Work, merged: Mapping[str, Any], path: Path) -> None:
    overlap = merged.get("overlap")
    strategy = overlap.get("strategy", "auto") if isinstance(overlap, dict) else "auto"
    if not isinstance(strategy, str) or strategy == "auto":
        return
    try:
        work.find(Kind.OVERLAP, strategy)
    except UsageError as error:
        work.problems.add(error.code, error.message, (*path, "overlap", "strategy"), hint=error.hint)


def _account(work: Work, section: str, name: Any, path: Path) -> Account | None:
    """The account of this name; a problem where none is written (one that is written but wrong has its own)."""
    if not isinstance(name, str):
        return None
    if name not in work.source.data.get(section, {}):
        kind = section.removesuffix("s")
        hint = suggestion(name, work.section(section))
        work.problems.add(f"unknown-{kind}", f"{kind} {name} is not configured", path, hint=hint)
    return work.accounts.get((section, name))


def _target(work: Work, data: Mapping[str, Any], path: Path) -> Any:
    plugin = work.plugins.get(("providers", str(data.get("provider"))))
    if plugin is None:
        return None
    where = (*path, "target")
    model = plugin.target or NoOptions
    own = data.get("target", {})
    work.note_references(model, own, where)
    return work.problems.validate(model, own, where)


def _traits(work: Work, account: Account | None, target: Any, path: Path) -> Traits | None:
    if account is None or target is None or account.plugin.traits is None:
        return None
    ask = account.plugin.traits
    traits = work.ask_pure(account.plugin, "traits", lambda: ask(account.options, target), (*path, "target"))
    return traits if isinstance(traits, Traits) else None


def _subject(work: Work, account: Account, target: Any, name: str, path: Path) -> str:
    ask = account.plugin.subject
    if ask is None:
        return f"{account.kind}:{account.name}:{name}"
    where = (*path, "target")
    return str(work.ask_pure(account.plugin, "subject", lambda: ask(account.options, target), where) or where)


def _source(work: Work, account: Account | None, target: Any, name: str, path: Path) -> str | None:
    """The secret that this one's value is derived from."""
    if account is None or target is None or account.plugin.source is None:
        return None
    ask, where = account.plugin.source, (*path, "target")
    source = work.ask_pure(account.plugin, "source", lambda: ask(account.options, target), where)
    if not isinstance(source, str):
        return None
    others = [other for other in work.section("secrets") if other != name]
    place, hint = source_path(work, source, where), suggestion(source, others)
    if source == name:
        work.problems.add("source-itself", "it is derived from itself", place, hint=hint)
    elif source not in others:
        text = f"its value comes from secret {source}, which is not configured"
        work.problems.add("unknown-secret", text, place, hint=hint)
    return source


def source_path(work: Work, source: str, target: Path) -> Path:
    """Where the target names the secret that it is derived from: its key, where exactly one holds that name."""
    data = work.section("secrets")[str(target[1])].get("target")
    keys = [key for key, value in data.items() if value == source] if isinstance(data, dict) else []
    return (*target, keys[0]) if len(keys) == 1 else target


def _bindings(work: Work, data: Mapping[str, Any], traits: Traits | None, path: Path) -> Iterator[Binding]:
    listed = data.get("sinks", [])
    for position, one in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(one, dict):
            binding = _binding(work, one, traits, (*path, "sinks", position))
            if binding is not None:
                yield binding


def _binding(work: Work, data: Mapping[str, Any], traits: Traits | None, path: Path) -> Binding | None:
    if not isinstance(data.get("to"), str):
        work.problems.add("missing-key", "to is missing", path, hint="add to: and the name of a sink")
        return None
    account = _account(work, "sinks", data["to"], (*path, "to"))
    fields = _fields(work, data.get("fields"), traits, (*path, "fields"))
    plugin = work.plugins.get(("sinks", data["to"]))
    if plugin is None:
        return None
    own = {key: value for key, value in data.items() if key not in OWN_BINDING_KEYS}
    model = plugin.target or NoOptions
    work.note_references(model, own, path)
    place = work.problems.validate(model, own, path)
    if account is None or place is None:
        return None
    return Binding(
        sink=account.name, place=place, fields=fields, subject=_place_subject(work, account, place, own, path)
    )


def _place_subject(work: Work, account: Account, place: Any, own: Mapping[str, Any], path: Path) -> str:
    ask = account.plugin.subject
    if ask is None:
        return f"{account.kind}:{account.name}:{sorted(own.items())}"
    return str(work.ask_pure(account.plugin, "subject", lambda: ask(account.options, place), path) or path)


def _fields(work: Work, written: Any, traits: Traits | None, path: Path) -> dict[str, str]:
    """The sink's field names to the bundle's. Unless written: every field but the artefacts."""
    if written is None:
        return {one.name: one.name for one in traits.fields if not one.artefact} if traits else {}
    if isinstance(written, list):
        pairs = {one if isinstance(one, str) else "": (position, one) for position, one in enumerate(written)}
    elif isinstance(written, dict):
        pairs = {ours: (ours, theirs) for ours, theirs in written.items()}
    else:
        pairs = {}
    if not pairs or (isinstance(written, list) and len(pairs) < len(written)):
        message = "expected a list of different fields, or a map of sink field: bundle field"
        work.problems.add("bad-value", message, path, hint="name each field once, or leave fields out for all of them")
    for step, theirs in pairs.values():
        _check_field(work, theirs, traits, (*path, step))
    _check_apart(work, traits, {str(theirs) for _, theirs in pairs.values()}, path)
    return {ours: str(theirs) for ours, (_, theirs) in pairs.items()}


def _check_field(work: Work, name: Any, traits: Traits | None, path: Path) -> None:
    if not isinstance(name, str):
        work.problems.add("bad-value", "expected the name of a field", path, hint=AS_SCHEMA)
    elif traits is not None and name not in (known := [one.name for one in traits.fields]):
        work.problems.add("unknown-field", f"the secret has no field {name}", path, hint=suggestion(name, known))


def _check_apart(work: Work, traits: Traits | None, names: set[str], path: Path) -> None:
    """A place has artefacts or values: who reads a value must not wait for an artefact, nor be able to read it."""
    fields = [one for one in traits.fields if one.name in names] if traits else []
    values = [one.name for one in fields if one.sensitive and not one.artefact]
    artefacts = ", ".join(one.name for one in fields if one.artefact)
    if values and artefacts:
        message = f"{artefacts} in one place with {', '.join(values)}, which it can replace"
        work.problems.add(
            "artefact-not-apart", message, path, hint=f"list another place for it, with fields: [{artefacts}]"
        )


def _check_published(work: Work, traits: Traits, bindings: list[Binding], path: Path) -> None:
    """Every sensitive field is published somewhere: one that is not would be lost."""
    published = {name for binding in bindings for name in binding.fields.values()}
    for one in traits.fields:
        if one.sensitive and one.name not in published:
            work.problems.add(
                "unpublished-field",
                f"{_noun(one)} {one.name} is published nowhere",
                (*path, "sinks"),
                hint=(f"add a sink with fields: [{one.name}]"),
            )


def _check_bridge(work: Work, traits: Traits, overlap: OverlapSection, path: Path) -> None:
    """What is bridged is the end of the old value by issue; elsewhere old and new live side by side."""
    if overlap.bridge and not traits.dies_by_issue:
        message = "nothing to bridge: old and new are accepted side by side"
        work.problems.add("bridge-needless", message, (*path, "overlap", "bridge"), hint="leave bridge: out")


def _noun(one: Field) -> str:
    return "artefact field" if one.artefact else "field"
