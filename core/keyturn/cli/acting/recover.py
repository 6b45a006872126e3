"""`keyturn recover`: plan, approval, and one recovery."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from keyturn.cli.acting.flight import read_supplied
from keyturn.cli.acting.rotate import Asked, approved, plan_of
from keyturn.cli.acting.shared import attempt, known, report, required_reason
from keyturn.cli.app import Report, Session
from keyturn.engine.entry import Ask, recover
from keyturn.model import Mode


def recover_one(session: Session, asked: Asked, supply: Sequence[str]) -> Report:
    """Recover one secret, once its plan is approved."""
    more = "".join(f" --supply {shlex.quote(pair)}" for pair in supply)
    asked = replace(asked, command="recover", mode=Mode.BREAK_GLASS.value, more=more).checked()
    required_reason(asked.reason, "recover")
    files = read_supplied(supply)
    with session.estate() as estate:
        job = estate.job(known(estate, asked.names[0]))
        digests = approved(session, asked, [plan_of(estate, job, asked)])
        ask = Ask(
            reason=asked.reason,
            digest=digests[job.name],
            force=asked.force,
            compromised=asked.compromised,
            supplied=files,
        )
        return report(session, estate, [attempt(job.name, lambda: recover(estate.bench, job, ask))])
