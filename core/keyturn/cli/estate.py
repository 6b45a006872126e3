"""The composition root: from a configuration to journal, escrow, plugins and jobs; handed down from here."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from keyturn.clock import Clock, SystemClock
from keyturn.config import Account, Configuration, ManagedSecret, load, locate, read
from keyturn.config.model import Binding
from keyturn.config.places import place_of
from keyturn.config.problems import suggestion
from keyturn.context import PluginContext, sweep
from keyturn.engine.bench import Answers, Bench
from keyturn.engine.effects.driver import REMARKS
from keyturn.engine.effects.notify import Notifier
from keyturn.engine.effects.runner import runner_id
from keyturn.engine.fence import Ask, Fence, Result
from keyturn.engine.job import BoundSink, Job
from keyturn.engine.limits import Limits
from keyturn.engine.record import events as ev
from keyturn.engine.renewing import Renewer
from keyturn.errors import NotSent, UsageError
from keyturn.escrow import Escrow
from keyturn.files import private_folder
from keyturn.journal import JournalSettings, open_journal
from keyturn.journal.store import Journal, Summary
from keyturn.model import Traits
from keyturn.plugins.hookspecs import Kind
from keyturn.plugins.registry import Listed, Registry
from keyturn.plugins.sink import ReadRequest, SinkCall, SinkTraits
from keyturn.references import Resolver
from keyturn.secret import Bundle, Secret
from keyturn.traits import validate_traits


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What a test may put in between: a journal in front of the journal, faults in the fence, other limits, a clock."""

    clock: Clock | None = None
    journal: Callable[[Journal], Journal] = lambda journal: journal
    inject: Callable[[str, str, str], None] | None = None
    limits: Limits | None = None


@dataclass
class Estate:
    """One configuration with everything it names, opened on first use. Close it when done."""

    configuration: Configuration
    registry: Registry
    operator: str
    wiring: Wiring = field(default_factory=Wiring)
    clock: Clock = field(default_factory=SystemClock)
    tell: Callable[[str, ev.Body], None] = lambda *_: None
    _open: ExitStack = field(default_factory=ExitStack)
    _made: dict[tuple[Kind, str], Any] = field(default_factory=dict)
    _values: set[str] = field(default_factory=set, repr=False)

    @cached_property
    def journal(self) -> Journal:
        """The journal, opened. Raises UsageError, or JournalError where it can not be used now."""
        settings = self.configuration.journal
        url = self._resolver_of_the_bench.resolve(settings.url_ref).reveal() if settings.url_ref else None
        journal = open_journal(
            JournalSettings(kind=settings.kind, path=settings.path, url=url),
            clock=self.clock,
            runner=runner_id(),
            operator=self.operator,
        )
        self._open.callback(journal.close)
        return self.wiring.journal(journal)

    @cached_property
    def resolver(self) -> Resolver:
        """References as configured."""
        return Resolver(self.configuration.folder, self._read_field)

    @cached_property
    def _resolver_of_the_bench(self) -> Resolver:
        """For journal and escrow, which are opened before any sink can be."""
        return Resolver(self.configuration.folder)

    def _resolve(self, reference: str) -> Secret:
        """The value behind a reference, for a plugin or a consumer; the fence takes it out of every message."""
        found = self.resolver.resolve(reference)
        self._values.add(found.reveal())
        return found

    def _read_field(self, sink: str, path: str, field: str) -> Secret:
        """One field of what a sink serves, for `SINK:PATH#FIELD`. Raises NotSent."""
        account = self.configuration.sinks.get(sink)
        if account is None:
            raise NotSent(f"sink {sink} is not configured, or its configuration is wrong", code="unknown-sink")
        call = SinkCall(
            secret=f"{sink}:{path}",
            place=place_of(account, path),
            deadline_at=self.journal.now() + self.bench.limits.call_s,
            journal_id=self.journal.id,
        )
        found = self.bench.fence.call(
            Ask(
                plugin=sink,
                target=self._plugin(Kind.SINK, account),
                verb="read",
                request=ReadRequest(call=call),
                within_s=self.bench.limits.call_s,
            )
        )
        return _field_of(found, sink, path, field)

    @cached_property
    def bench(self) -> Bench:
        """What all secrets share."""
        escrow = self.configuration.escrow
        answers = Answers()
        bench = Bench(
            journal=self.journal,
            escrow=Escrow(
                self.journal,
                [self._resolver_of_the_bench.resolve(reference) for reference in escrow.identities],
                escrow.recipients,
                self.journal.now,
            ),
            clock=self.clock,
            fence=Fence(lambda: tuple(self._values), self.wiring.inject),
            resolve=self._resolve,
            notifier=Notifier(self._resolve),
            renewer=Renewer(lambda: self.bench, self.job),
            runner=runner_id(),
            operator=self.operator,
            entropy=os.urandom,
            answers=answers,
            values=self._values,
            limits=self.wiring.limits or self._limits(),
            tell=self.tell,
        )
        answers.keep_in(bench.escrow)
        return bench

    def _limits(self) -> Limits:
        configured = self.configuration.limits
        return Limits(call_s=configured.call_s, lease_s=configured.lease_s, patience_s=configured.patience_s)

    def job(self, name: str) -> Job:
        """A configured secret with its plugins. Raises UsageError where it, or what it uses, is broken."""
        self.configuration.require([name])
        secret = self.configuration.secrets[name]
        account = self.configuration.providers[secret.provider]
        traits = self.traits(secret)
        wrong = validate_traits(traits)
        if wrong:
            raise UsageError(
                "traits-wrong",
                f"plugin {account.kind} declares what can not be: {'; '.join(wrong)}",
                hint="tell the plugin's author; check the account's options",
                place=name,
            )
        return Job(
            secret=secret,
            account=account,
            provider=self._plugin(Kind.PROVIDER, account),
            traits=traits,
            sinks=self._sinks(secret, frozenset(traits.artefacts)),
            overlaps=self.registry.overlap,
            options=_digest(account.options, secret.target),
            plugins=self._versions(account, secret),
        )

    def traits(self, secret: ManagedSecret) -> Traits:
        """What its provider declares of a secret. Pure: the plugin's implementation is not loaded."""
        account = self.configuration.providers[secret.provider]
        return cast("Traits", account.plugin.traits(account.options, secret.target))  # type: ignore[misc]

    def _versions(self, account: Account, secret: ManagedSecret) -> dict[str, str]:
        """Which plugin of which distribution serves what, for the record."""
        used = {(Kind.PROVIDER, account.kind)}
        used |= {(Kind.SINK, self.configuration.sinks[binding.sink].kind) for binding in secret.sinks}
        listed = {(one.kind, one.name): one.owner for one in self._listed}
        return {f"{kind} {name}": listed.get((kind, name), "") for kind, name in sorted(used)}

    @cached_property
    def _listed(self) -> list[Listed]:
        return self.registry.listed()

    def _sinks(self, secret: ManagedSecret, artefacts: frozenset[str]) -> tuple[BoundSink, ...]:
        return tuple(self._sink(secret, binding, artefacts) for binding in secret.sinks)

    def _sink(self, secret: ManagedSecret, binding: Binding, artefacts: frozenset[str]) -> BoundSink:
        account = self.configuration.sinks[binding.sink]
        ask = account.plugin.traits
        traits = cast("SinkTraits", ask(account.options, binding.place)) if ask else SinkTraits()
        return BoundSink(
            key=f"{binding.sink}:{binding.subject}",
            sink=binding.sink,
            plugin=account.kind,
            target=self._plugin(Kind.SINK, account),
            place=binding.place,
            fields=binding.fields,
            artefact=bool(artefacts & set(binding.fields.values())),
            stages_empty=traits.stages_empty,
            keep_previous=secret.rotate.keep_previous,
        )

    def _plugin(self, kind: Kind, account: Account) -> Any:
        """One instance per account in one run.

        Made without a lock: a reference may ask for a sink from a thread of the fence, on behalf of a plugin that is
        just being made. Of two made at once the first one stays.
        """
        if (kind, account.name) not in self._made:
            self._made.setdefault((kind, account.name), self._make(account))
        return self._made[kind, account.name]

    def _make(self, account: Account) -> Any:
        context = PluginContext(
            resolver=self._resolve,
            now=self.bench.journal.now,
            wait=self.clock.wait,
            fingerprint=self.bench.escrow.fingerprint,
            seal=self.bench.answers.seal,
            note=_remark,
            scratch=self._scratch,
        )
        self._open.callback(context.close)
        return self.registry.load(account.plugin)(context, account.options)

    @cached_property
    def _scratch(self) -> Path:
        base = os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm"  # noqa: S108 - memory, never disk; the folder is private
        folder = Path(base) / f"keyturn-{os.getuid()}"
        if folder.exists():  # who needs it makes it: most runs write nothing at all
            sweep(private_folder(folder))
        return folder

    def names(self, globs: Iterable[str] = ()) -> list[str]:
        """The configured secrets (broken ones too) that match; all without a glob. Raises UsageError `no-match`."""
        known = sorted({*self.configuration.secrets, *self.configuration.broken})
        wanted = list(globs)
        for glob in wanted:
            if not any(fnmatchcase(name, glob) for name in known):
                raise UsageError(
                    "no-match",
                    f"{glob} matches no secret",
                    hint=suggestion(glob, known) or f"known: {', '.join(known[:10]) or 'none'}",
                )
        return [name for name in known if not wanted or any(fnmatchcase(name, glob) for glob in wanted)]

    def summaries(self) -> Mapping[str, Summary]:
        """The journal's summary rows, by secret."""
        return self.journal.summaries()

    def close(self) -> None:
        """Give everything back."""
        self._open.close()


def _field_of(found: Result, sink: str, path: str, field: str) -> Secret:
    """Raises NotSent where the sink did not answer, serves nothing there, or has no such field."""
    if not found.done:
        raise NotSent(found.why, code=found.code)
    bundle: Bundle | None = found.answer.bundle
    if bundle is None:
        raise NotSent(f"{sink} serves nothing at {path}", code="reference-empty")
    if field not in bundle:
        known = ", ".join(sorted(bundle)) or "none"
        raise NotSent(f"{path} in {sink} has no field {field}; it has: {known}", code="reference-no-field")
    return bundle[field]


def _digest(*options: Any) -> str:
    """A digest of validated options; they hold references, never values."""
    text = json.dumps([one.model_dump(mode="json") if one is not None else None for one in options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _remark(event: str, fields: Mapping[str, str]) -> None:
    remarks = REMARKS.get()
    if remarks is not None:
        remarks.append(ev.Noted(event=event, fields=dict(fields)))


def open_estate(
    config: str | None,
    *,
    operator: str | None = None,
    wiring: Wiring | None = None,
    tell: Callable[..., None] | None = None,
) -> Estate:
    """Read the configuration and make ready. Raises UsageError where it can not be used at all."""
    source = read(locate(config))
    registry = Registry(source.plugins)
    configuration = load(source, registry.find)
    configuration.require_usable()
    return Estate(
        configuration=configuration,
        registry=registry,
        operator=operator or _operator(),
        wiring=wiring or Wiring(),
        clock=(wiring.clock if wiring else None) or SystemClock(),
        tell=tell or (lambda *_: None),
    )


def _operator() -> str:
    """Who acts: the person behind sudo where there is one, at this host."""
    user = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME")
    return f"{user or _user()}@{socket.gethostname()}"


def _user() -> str:
    """A container's user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
