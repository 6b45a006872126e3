"""Renewing a derived secret from within the rotation of its source: the bridge over the end of the source's old value.

The source's runner holds the source's lease and takes the derived one's. Nobody does it the other way round: whoever
rotates a derived secret only reads its source, so that two runners never wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable

from keyturn.engine.bench import Bench
from keyturn.engine.effects.renew import RenewRequest
from keyturn.engine.entry import Ask, resume, rotate
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.engine.record.fold import fold
from keyturn.engine.record.state import SecretState
from keyturn.errors import KeyturnError, NotSent
from keyturn.steps import Step

WAIT_S = 60.0
"""How long to wait for another runner that works on the derived secret."""


class Renewer:
    """Rotates derived secrets; `job` gives one by name. Both are looked up when they are needed."""

    def __init__(self, bench: Callable[[], Bench], job: Callable[[str], Job]) -> None:
        self._bench, self._job = bench, job

    def renew(self, request: RenewRequest, /) -> None:
        """Carry on with what is in flight there, then rotate unless that was it.

        Repeat: always; what is fresh is not made again. Target gone: NotSent. Raises: NotSent, naming why it is not
        published. After a crash in the middle: the next call finishes it.
        """
        bench = self._bench()
        try:
            outcome = _rotated(bench, self._job(request.secret), request)
        except KeyturnError as error:
            raise NotSent(str(error), code=error.code) from error
        if not _renewed(_state(bench, request), request):
            raise NotSent(outcome.text, code=outcome.code or "not-published")


def _rotated(bench: Bench, job: Job, request: RenewRequest) -> Outcome:
    carried = resume(bench, job, wait_s=WAIT_S)
    rotation = _state(bench, request).rotation
    stays = rotation is not None and rotation.open and rotation.published_at is None
    return carried if stays else rotate(bench, job, _ask(request))


def _state(bench: Bench, request: RenewRequest) -> SecretState:
    return fold(request.secret, bench.journal.events(request.secret))


def _ask(request: RenewRequest) -> Ask:
    return Ask(reason=_reason(request), force=True, wanted=lambda state: not _renewed(state, request))


def _reason(request: RenewRequest) -> str:
    return f"bridge for {request.source}, rotation {request.rotation}"


def _renewed(state: SecretState, request: RenewRequest) -> bool:
    """Whether every sink serves one that was made for this rotation, and not long ago."""
    rotation = state.rotation
    if rotation is None or rotation.reason != _reason(request) or rotation.issued_at is None:
        return False
    return Step.PUBLISH in rotation.done and rotation.issued_at >= request.since
