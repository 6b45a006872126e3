"""A plugin's own command on one secret: it is given the current version, and touches nothing of ours."""

from __future__ import annotations

from keyturn.engine.bench import Bench
from keyturn.engine.effects.driver import Driver
from keyturn.engine.job import Job
from keyturn.engine.preflight import current_value
from keyturn.errors import RefusedError, UnfinishedError
from keyturn.plugins.provider import CommandRequest, CommandResponse


def command(bench: Bench, job: Job, name: str) -> CommandResponse:
    """Carry it out. Without a lease: it only reads, and scripts that use it must not hold up a rotation.

    Raises RefusedError, or UnfinishedError where nobody knows whether it was carried out.
    """
    driver = Driver(bench, job, held=None)
    current, value = driver.state.current, current_value(driver)
    if current and value:
        driver.remember(current.id, value)
    within_s = bench.limits.call_s
    request = CommandRequest(
        call=driver.call(within_s=within_s), name=name, current=driver.version(current) if current else None
    )
    result = driver.ask([driver.ask_provider("command", request, within_s)])[0]
    if result.done:
        answer: CommandResponse = result.answer
        return answer
    kind = UnfinishedError if result.outcome == "doubt" else RefusedError
    raise kind(result.code, result.why, hint=result.hint or f"keyturn check --online {job.name}", place=job.name)
