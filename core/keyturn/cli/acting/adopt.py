"""`keyturn adopt` and `keyturn repair`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from keyturn.cli.acting.flight import standard_input, text_of
from keyturn.cli.acting.shared import on_one
from keyturn.cli.app import Report, Session
from keyturn.cli.estate import Estate
from keyturn.engine.adoption import Adoption, adopt, repair
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.errors import UsageError
from keyturn.model import Maker
from keyturn.secret import Bundle, Secret


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the value is to be taken from, as typed."""

    sink: str | None = None
    vendor: bool = False
    escrow: bool = False
    stdin: bool = False


def adopt_one(session: Session, name: str, source: Source, handle: str | None, slot: str | None) -> Report:
    """Take a value over from exactly one place."""
    if sum(map(bool, astuple(source))) != 1:
        raise UsageError(
            "adopt-from",
            "expected one of --from-sink, --from-vendor, --from-escrow and --from-stdin",
            hint=f"keyturn adopt {name} --from-sink SINK",
        )
    raw = text_of(standard_input(), "standard input") if source.stdin else None

    def do(estate: Estate, job: Job) -> Outcome:
        _check_sink(job, source.sink)
        bundle = _bundle(job, raw) if raw else None
        adoption = Adoption(
            sink=source.sink,
            from_vendor=source.vendor,
            from_escrow=source.escrow,
            bundle=bundle,
            handle=handle,
            slot=slot,
        )
        return adopt(estate.bench, job, adoption)

    return on_one(session, name, do)


def repair_one(session: Session, name: str, sink: str | None) -> Report:
    """Bring sinks back to the current version."""

    def do(estate: Estate, job: Job) -> Outcome:
        _check_sink(job, sink)
        return repair(estate.bench, job, sink=sink)

    return on_one(session, name, do)


def _check_sink(job: Job, sink: str | None) -> None:
    known = sorted({one.sink for one in job.sinks})
    if sink and sink not in known:
        raise UsageError("sink-unknown", f"{sink} is no sink of {job.name}", hint=f"one of: {', '.join(known)}")


def _bundle(job: Job, raw: Secret) -> Bundle:
    """A JSON object of fields, or the bare value of the only one needed. Fixed ones and artefacts may be given too."""
    fixed = {field.name: field.value for field in job.traits.made_by(Maker.FIXED)}
    wanted = [field.name for field in job.traits.fields if not field.artefact and field.name not in fixed]
    found = _fields(raw)
    if found is None and len(wanted) == 1:
        return Bundle({wanted[0]: raw})
    wrong = _wrong(found, fixed, wanted, job.traits.artefacts)
    if found is None or wrong:
        hint = f"keyturn adopt {job.name} --from-stdin < FILE"
        raise UsageError("adopt-fields", wrong, hint=hint, place=job.name)
    return Bundle(found)


def _wrong(
    found: Mapping[str, str] | None, fixed: Mapping[str, str], wanted: Sequence[str], artefacts: Sequence[str]
) -> str:
    """What is not as expected, empty where all is; a name that is not ours is not said, it may be a value."""
    expected = f"expected a JSON object with the text fields {', '.join(wanted)}"
    if found is None:
        return expected
    others = [name for name in fixed if found.get(name, fixed[name]) != fixed[name]]
    if others:
        return f"{', '.join(others)} differs from the configured one"
    return "" if set(found) - set(fixed) - set(artefacts) == set(wanted) else expected


def _fields(raw: Secret) -> dict[str, str] | None:
    try:
        data = json.loads(raw.reveal())
    except ValueError:
        return None
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        return None
    return data
