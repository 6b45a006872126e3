"""`keyturn escrow`: what is sealed, and how a person gets a value out when nothing else helps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from keyturn.cli.acting.shared import known
from keyturn.cli.app import Report
from keyturn.cli.estate import Estate
from keyturn.clock import iso
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.leases import holding
from keyturn.engine.operator import WAIT_S
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.errors import RefusedError, UsageError
from keyturn.escrow import Kept
from keyturn.files import write_private
from keyturn.secret import Bundle


def listing(estate: Estate) -> Report:
    """The answer of `escrow list`: what is kept, never a value."""
    kept = estate.bench.escrow.listing()
    numbers = {id_: number for name in {one.secret for one in kept} for id_, number in _numbers(estate, name)}
    recipients = estate.bench.escrow.recipients
    entries = [
        {
            "secret": one.secret,
            "kind": one.kind,
            "key": one.key,
            "version_id": one.version_id,
            "version": numbers.get(one.version_id),
            "fields": list(one.fields),
            "at": iso(one.at),
        }
        for one in kept
    ]
    lines = [_line(one, numbers.get(one.version_id)) for one in kept] or ["nothing is kept"]
    return Report(
        data={"recipients": list(recipients), "sealed": entries},
        text="\n".join([*lines, *(f"opens with the identity of {recipient}" for recipient in recipients)]),
    )


def _numbers(estate: Estate, name: str) -> Iterator[tuple[str, int]]:
    """Every version of a secret, also those that were given up or replaced and stand in no summary any more."""
    for event in estate.journal.events(name):
        if "version" in event.data and "number" in event.data:
            yield event.data["version"], event.data["number"]


def _line(one: Kept, number: int | None) -> str:
    which = f"version {number}" if number is not None else f"version id {one.version_id}"
    what = "raw answer of an attempt" if one.kind == "answer" else ", ".join(one.fields)
    return f"{iso(one.at)}  {one.secret}  {which}  {what}"


def open_(estate: Estate, name: str, *, number: int | None, out: Path, field: str | None, reason: str) -> Report:
    """The answer of `escrow open`: journals who opened what and why, then writes the value to a new 0600 file.

    With `field` that field's text and nothing else, as a vendor takes it. Raises UsageError (`file-exists`,
    `version-unknown`, `field-unknown`), RefusedError `escrow-empty`, StuckError `escrow-closed`.
    """
    if out.exists() or out.is_symlink():
        raise UsageError("file-exists", "something stands there already", hint="name a new file", place=str(out))
    job = estate.job(known(estate, name))
    with holding(estate.bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(estate.bench, job, held)
        version = _version(driver, number)
        bundle = driver.bundle(version.id)
        if bundle is None:
            raise _empty(name, version.number)
        bundle = bundle.only([field]) if field else bundle
        if not bundle:
            raise _no_field(name, version, field)
        fields = {"version": version.id, "number": str(version.number), "reason": reason, "to": str(out)}
        driver.append(ev.Noted(event="escrow-opened", fields=fields))
        _write(out, bundle, field)
    return Report(
        data={"secret": name, "version": version.number, "fields": sorted(bundle), "out": str(out)},
        text=f"written: {out}, version {version.number} of {name} in clear, recorded in the journal\n"
        f"  next: use it, then remove it: shred -u {out}",
    )


def _version(driver: Driver, number: int | None) -> VersionState:
    current = driver.state.current
    if number is None and current:
        return current
    for version in driver.state.versions.values():
        if version.number == number:
            return version
    known = ", ".join(str(version.number) for version in driver.state.versions.values()) or "none"
    asked = "current version" if number is None else f"version {number}"
    raise UsageError("version-unknown", f"there is no {asked}", hint=f"known: {known}", place=driver.job.name)


def _empty(name: str, number: int) -> RefusedError:
    return RefusedError(
        "escrow-empty",
        f"the escrow does not keep version {number}: it keeps values in flight only",
        hint="keyturn escrow list shows what it keeps; keyturn status shows which sinks serve it",
        place=name,
    )


def _no_field(name: str, version: VersionState, field: str | None) -> UsageError:
    known = ", ".join(sorted(version.fingerprints)) or "none"
    text = f"version {version.number} has no field {field} in the escrow"
    return UsageError("field-unknown", text, hint=f"made with it: {known}", place=name)


def _write(out: Path, bundle: Bundle, field: str | None) -> None:
    text = bundle[field].reveal() if field else json.dumps(bundle.reveal(), indent=2) + "\n"
    write_private(out, text.encode(), new=True)
