"""The promises, seen from outside: asserted at every instant of every history."""

from __future__ import annotations

from keyturn.api import Bundle
from keyturn.escrow import Escrow
from keyturn.journal import open_journal
from keyturn.model import Traits
from keyturn.testing.rig import Rig


def sealed_values(rig: Rig) -> list[Bundle]:
    """Every version's value that the escrow opens."""
    journal = open_journal(rig.settings, clock=rig.clock, runner="reader", operator="reader")
    try:
        escrow = Escrow(journal, [rig.identity], [], journal.now)
        kept = [one.version_id for one in escrow.listing("app/main") if one.kind == "version"]
        return [bundle for bundle in (escrow.open_version("app/main", id_) for id_ in kept) if bundle]
    finally:
        journal.close()


def raw_answers(rig: Rig) -> list[str]:
    """Every raw answer that the escrow opens."""
    journal = open_journal(rig.settings, clock=rig.clock, runner="reader", operator="reader")
    try:
        escrow = Escrow(journal, [rig.identity], [], journal.now)
        versions = {one.version_id for one in escrow.listing("app/main") if one.kind == "answer"}
        return [raw.reveal() for id_ in versions for _, raw in escrow.open_answers("app/main", id_)]
    finally:
        journal.close()


def never_lost(rig: Rig) -> bool:
    """P1: a value that the vendor accepts is in a sink, in the escrow, or can be had by the recorded next step."""
    served = [Bundle(dict(value)) for value in rig.served() if value]
    if any(rig.vendor.accepted_by(value) for value in (*served, *sealed_values(rig))) or raw_answers(rig):
        return True
    rotation = rig.state().rotation
    return rotation is not None and any(attempt.in_doubt for attempt in rotation.attempts)


def never_broken(rig: Rig) -> bool:
    """P2: what a sink calls current is accepted at every endpoint."""
    return all(rig.vendor.accepted_by(Bundle(dict(v))) == tuple(rig.vendor.endpoints) for v in rig.served() if v)


def values(rig: Rig) -> set[str]:
    """Every sensitive value in play."""
    sensitive = {one.name for one in rig.job(rig.bench()).traits.fields if one.sensitive}
    known = [*(dict(v) for v in rig.served() if v), *(b.reveal() for b in sealed_values(rig))]
    return {text for value in known for name, text in value.items() if name in sensitive}


def no_leak(rig: Rig) -> bool:
    """P4: no value in the journal, or in what was told to people."""
    journal = open_journal(rig.settings, clock=rig.clock, runner="reader", operator="reader")
    try:
        told = repr(journal.events("app/main")) + repr(journal.summaries()) + "".join(rig.lines)
    finally:
        journal.close()
    return not any(value in told for value in values(rig))


def chain_is_whole(rig: Rig) -> bool:
    """P7: the hash chain has no broken link."""
    journal = open_journal(rig.settings, clock=rig.clock, runner="reader", operator="reader")
    try:
        return journal.verify() == []
    finally:
        journal.close()


def no_strays(rig: Rig) -> bool:
    """At rest the vendor accepts nothing of ours but the current version; what only expires it does not list."""
    current = rig.state().current
    assert rig.plugin.traits
    traits = rig.plugin.traits(rig.vendor.account, rig.target)
    if isinstance(traits, Traits) and traits.own_expiry:
        return current is not None and rig.vendor.of("main") == []
    live = {c.handle for c in rig.vendor.of("main") if c.born_at <= rig.clock.now() < c.ends_at}
    return current is not None and live == {current.handle}
