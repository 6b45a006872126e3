"""The five verbs of the AWS Secrets Manager sink."""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.api import (
    Context,
    DiscardRequest,
    DiscardResponse,
    Fields,
    Held,
    PluginError,
    Problem,
    PromoteRequest,
    ReadRequest,
    ReadResponse,
    Refused,
    SinkCall,
    SinkInspectRequest,
    SinkInspectResponse,
    StageRequest,
    WriteResponse,
)
from keyturn_aws.client import SecretsManager
from keyturn_aws.failures import Said
from keyturn_aws.labels import CURRENT, LABELS_FULL, LABELS_MAX, PENDING, Labelled, held, mark_of
from keyturn_aws.options import LIKE_AN_ARN, Account, subject
from keyturn_aws.remote import Remote, Stored
from keyturn_aws.writing import New, promote, stage, tidy

PREVIOUS_MAX = 10


class AwsSink:
    """One account in one region in one run, for any number of threads. `api` is made here unless given."""

    def __init__(self, context: Context, account: Account, api: SecretsManager | None = None) -> None:
        self._context = context
        self._account = account
        self._api = api or SecretsManager(context, account)
        self._staged: dict[tuple[str, str], Fields] = {}

    def inspect(self, request: SinkInspectRequest, /) -> SinkInspectResponse:
        """Look at the secret; change nothing.

        Repeat: always. Target gone: all fields empty. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """
        remote = self._remote(request.call)
        seen = remote.look()
        place = subject(self._account, request.call.place)
        problems = tuple(_problems(seen, remote.name, request.call.journal_id))
        if seen.deleted:
            return SinkInspectResponse(place=place, problems=problems, sink_now=seen.now)
        current = remote.value(seen.current) if seen.current else None
        return SinkInspectResponse(
            place=place,
            current=self._held(current, seen.current, seen),
            pending=self._held(remote.value(seen.pending), seen.pending, seen) if seen.pending else None,
            previous=tuple(self._previous(remote, seen)),
            problems=(*problems, *_form(current, remote.name)),
            meta=seen.meta,
            sink_now=seen.now,
        )

    def stage(self, request: StageRequest, /) -> WriteResponse:
        """Write a version with the label AWSPENDING, which no consumer asks for.

        Repeat: yes; same id and same value is done, same id and another value is Conflict. Target gone: Refused, as
        AWS makes the first version current. Raises: NotSent, Refused, Conflict (somebody else's pending), Doubt. After
        a crash in the middle: call it again.
        """
        new = New.of(request)
        remote = self._remote(request.call)
        already = stage(remote, new)
        self._staged[remote.name, new.id] = self._fingerprints(new)
        return WriteResponse(already=already)

    def promote(self, request: PromoteRequest, /) -> WriteResponse:
        """Move AWSCURRENT to the version by compare-and-set; the first version is created.

        Repeat: yes; already current is done. Target gone: created when `expects` is None, else Conflict. Raises:
        NotSent, Refused, Conflict, Doubt. After a crash in the middle: consumers read old or new, never a mixture.
        """
        new = New.of(request)
        remote = self._remote(request.call)
        already = not self._at_once(remote, new, request.expects) and promote(remote, new, request.expects)
        own = request.call.place.keep_previous
        try:
            tidy(remote, new, request.keep_previous if own is None else own)
        except PluginError as error:
            # Consumers read the new version; what is left over is tidied by the next promote.
            self._context.note("aws-untidy", {"secret": request.call.secret, "code": error.code, "why": error.why})
        return WriteResponse(already=already)

    def read(self, request: ReadRequest, /) -> ReadResponse:
        """Read one of our versions by its id, or what consumers read.

        Repeat: always. Target gone: an empty answer. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """
        found = self._remote(request.call).value(request.version_id)
        if found is None or not _counts(found):
            return ReadResponse(bundle=None, held=None)
        if found.bundle is None:
            raise Refused("the secret is binary: Keyturn keeps texts", code="aws-binary")
        return ReadResponse(bundle=found.bundle, held=self._held(found, found.version_id))

    def discard(self, request: DiscardRequest, /) -> DiscardResponse:
        """Take the labels off a pending or previous version: AWS then forgets it.

        Repeat: yes. Target gone: done. Raises: NotSent, Refused (it is current, or not this journal's), Doubt. After a
        crash in the middle: call it again.
        """
        remote = self._remote(request.call)
        seen = remote.look()
        remote.refuse_deleted(seen)
        labels = seen.labels.get(request.version_id, frozenset())
        if CURRENT in labels:
            raise Refused("this version is what consumers read: promote another one first", code="is-current")
        mark = mark_of(labels)
        if mark is None and PENDING not in labels:
            return DiscardResponse(already=True)
        if mark is None or mark.journal_id != request.call.journal_id:
            raise Refused("this version was not written by this journal", code="foreign-version")
        self._staged.pop((remote.name, request.version_id), None)
        remote.drop(request.version_id, seen, previous=True)
        return DiscardResponse()

    def _at_once(self, remote: Remote, new: New, expects: Held | None) -> bool:
        """Switch without a look where this instance staged this very value: one round trip until consumers have it."""
        staged = self._staged.pop((remote.name, new.id), None)
        if expects is None or expects.revision == new.id or staged != self._fingerprints(new):
            return False
        try:
            remote.switch(new.id, expects.revision)
        except Said:
            return False
        return True

    def _previous(self, remote: Remote, seen: Labelled) -> Iterator[Held]:
        for version_id in seen.previous[:PREVIOUS_MAX]:
            found = self._held(remote.value(version_id), version_id, seen)
            if found:
                yield found

    def _held(self, found: Stored | None, version_id: str | None, seen: Labelled | None = None) -> Held | None:
        """A version as the engine sees it; without fingerprints where it has no value, or a binary one."""
        if version_id is None:
            return None
        bundle = found.bundle if found else None
        mark = seen.mark(version_id) if seen else mark_of(found.labels if found else ())
        return held(version_id, mark, bundle.fingerprints(self._context.fingerprint) if bundle is not None else {})

    def _fingerprints(self, new: New) -> Fields:
        return new.bundle.fingerprints(self._context.fingerprint)

    def _remote(self, call: SinkCall) -> Remote:
        return Remote(self._api, call.place, call.deadline_at)


def _counts(found: Stored) -> bool:
    """A version that lost its labels was dropped, also while AWS still has it (contract 2.13)."""
    return bool(found.labels & {CURRENT, PENDING} or mark_of(found.labels))


def _form(current: Stored | None, name: str) -> Iterator[Problem]:
    if current and current.reshaped:
        text = f"{name} is no JSON object of texts: Keyturn would write it as one, which its readers may not understand"
        hint = "let its readers take a JSON object, put one there by hand, then adopt it; or name another secret"
        yield Problem(code="aws-other-form", text=text, hint=hint)
    if current and current.bundle is None:
        text = "the secret is binary, which Keyturn could not put back"
        yield Problem(code="aws-binary", text=text, hint="name another secret, or replace its value by a text")


def _foreign_pending(seen: Labelled, name: str, journal_id: str) -> Iterator[Problem]:
    """A put would take the label from it."""
    mark = seen.mark(seen.pending) if seen.pending else None
    if seen.pending is None or (mark and mark.journal_id == journal_id):
        return
    drop = (
        f"aws secretsmanager update-secret-version-stage --secret-id {name} --version-stage {PENDING} "
        f"--remove-from-version-id {seen.pending}"
    )
    if mark:
        text = f"{name} holds a pending version of another journal ({mark.journal_id})"
        hint = f"let that journal's rotation end; if there is none any more: {drop}"
        yield Problem(code="sink-pending-foreign", text=text, hint=hint)
    else:
        text = f"{name} has a version with the label {PENDING} that Keyturn did not write: {seen.pending}"
        yield Problem(code="pending-foreign", text=text, hint=f"let who wrote it end their work, or: {drop}")


def _problems(seen: Labelled, name: str, journal_id: str) -> Iterator[Problem]:
    if seen.deleted:
        hint = f"aws secretsmanager restore-secret --secret-id {name}, or name another secret"
        yield Problem(code="aws-scheduled-for-deletion", text=f"{name} is scheduled for deletion", hint=hint)
    if seen.rotates:
        hint = f"aws secretsmanager cancel-rotate-secret --secret-id {name}"
        yield Problem(code="aws-rotation-enabled", text=f"{name} is rotated by AWS itself", hint=hint)
    yield from _foreign_pending(seen, name, journal_id)
    if LIKE_AN_ARN.fullmatch(name):
        text = f"{name} ends in a hyphen and six characters, as ARNs do: a part of an ARN may mean another secret"
        hint = "nothing to do for Keyturn, which uses the whole name; prefer another ending for new secrets"
        yield Problem(code="aws-name-like-arn", text=text, fatal=False, hint=hint)
    if seen.count > LABELS_FULL:
        text = f"{name} has {seen.count} of {LABELS_MAX} labels"
        hint = "take labels that nobody uses off with aws secretsmanager update-secret-version-stage"
        yield Problem(code="aws-labels-nearly-full", text=text, fatal=False, hint=hint)
    if seen.behind:
        text = f"replicas of {name} are not in step: {', '.join(seen.behind)}"
        hint = "wait, or look at ReplicationStatus of aws secretsmanager describe-secret"
        yield Problem(code="aws-replica-behind", text=text, fatal=False, passing=True, hint=hint)
