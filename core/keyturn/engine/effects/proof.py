"""What a break-glass rotation proves its right by: an artefact of the version that is lost, from wherever one is.

It belongs to that version and to no other: it is kept apart from what is handed in for the new one, and a process that
died with it looks for it again. What came on the command line alone is then gone: nothing was sent, and the rotation
turns back. Sealing it would keep a second copy of what an operator chose to keep elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyturn.engine.effects.driver import Driver
from keyturn.engine.job import Job
from keyturn.engine.plan import recovery_by_file
from keyturn.engine.record import events as ev
from keyturn.errors import UsageError
from keyturn.model import Field, Problem
from keyturn.plugins.sink import ReadRequest
from keyturn.secret import Bundle, Secret

SUPPLIED, ESCROW = "what was supplied", "the escrow"


def kept_at(job: Job) -> tuple[str, ...]:
    """The places that keep what the secret is reset by."""
    return tuple(sink.key for sink in job.sinks if set(sink.fields.values()) & set(job.traits.reset_by))


def take_proof(driver: Driver, supplied: Bundle) -> tuple[Problem, ...]:
    """Have at hand what the reset is proven by: supplied, sealed with the current version, or served by its place.

    What refuses the rotation is returned. Where a person acts at the vendor it is his to bring.
    Raises UsageError `not-an-artefact`.
    """
    unknown = sorted(set(supplied) - set(driver.job.traits.reset_by))
    if unknown:
        message = f"{unknown[0]} is nothing that {driver.job.name} is reset by"
        hint = f"one of: {', '.join(driver.job.traits.reset_by) or 'none'}"
        raise UsageError("not-an-artefact", message, hint=hint, place=driver.job.name)
    if driver.job.traits.attended:
        return ()
    wrong = tuple(problem for name, text in supplied.items() for problem in _wrong(driver, name, text))
    return wrong or _taken(driver, supplied)


def has_proof(driver: Driver) -> bool:
    """Whether the reset can be sent; else the rotation turns back, since nothing has taken effect."""
    if driver.job.traits.attended or driver.proof:
        return True
    lacking = take_proof(driver, driver.supplied.only(driver.job.traits.reset_by))
    if lacking:
        driver.append(ev.Undoing(code=lacking[0].code, reason=lacking[0].text))
    return not lacking


def _taken(driver: Driver, supplied: Bundle) -> tuple[Problem, ...]:
    names = driver.job.traits.reset_by
    found = {name: next(_candidates(driver, name, supplied), None) for name in names}
    missing = [name for name, one in found.items() if one is None]
    if missing:
        return tuple(_needed(driver, name) for name in missing)
    taken = {name: one for name, one in found.items() if one}
    driver.proof = Bundle({name: text for name, (text, _) in taken.items()})
    driver.proof_from = ", ".join(dict.fromkeys(where for _, where in taken.values()))
    return ()


def _candidates(driver: Driver, name: str, supplied: Bundle) -> Iterator[tuple[Secret, str]]:
    """The one to try first: what an operator names, then what surely belongs to the current version."""
    if name in supplied:
        yield supplied[name], SUPPLIED
        return
    current = driver.state.current
    sealed = (driver.readable(current.id) if current else None) or Bundle()
    if name in sealed:
        yield sealed[name], ESCROW
    served = [(text, key) for text, key in _served(driver, name) if not any(_wrong(driver, name, text))]
    ours = current.fingerprints.get(name) if current else None
    yield from sorted(served, key=lambda one: driver.bench.escrow.fingerprint(one[0].reveal()) != ours)


def _served(driver: Driver, name: str) -> Iterator[tuple[Secret, str]]:
    for sink in driver.job.sinks:
        stored = [field for field, source in sink.fields.items() if source == name]
        if not stored:
            continue
        result = driver.ask([driver.ask_sink(sink, "read", ReadRequest(call=driver.sink_call(sink)))])[0]
        bundle: Bundle = (result.answer.bundle if result.done else None) or Bundle()
        if stored[0] in bundle:
            yield bundle[stored[0]], sink.key


def _wrong(driver: Driver, name: str, text: Secret) -> Iterator[Problem]:
    """Why this can not be it: by its form, or since it is the secret itself."""
    field: Field = next(one for one in driver.job.traits.fields if one.name == name)
    if not text or (field.pattern and not re.fullmatch(field.pattern, text.reveal())):
        yield Problem(code="artefact-malformed", text=f"this does not have the form of a {name}", hint="check the file")
        return
    print_ = driver.bench.escrow.fingerprint(text.reveal())
    for version in driver.state.versions.values():
        names = [known for known, other in version.fingerprints.items() if other == print_]
        if names and name not in names:
            what = f"this is the {names[0]} of version {version.number}, not its {name}"
            yield Problem(code="artefact-wrong", text=what, hint=f"supply the {name} that the vendor gave out")


def _needed(driver: Driver, name: str) -> Problem:
    looked = ", ".join((ESCROW, *kept_at(driver.job)))
    return Problem(
        code="recovery-file-needed",
        text=f"no {name} was found to reset the secret by (looked in: {looked})",
        hint=recovery_by_file(driver.job.name, driver.job.traits),
    )
