"""The provider that all portals share: locate, commit, read back, verify, retire. What differs is in the flavour."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from keyturn.api import (
    Bundle,
    Call,
    Fields,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Mode,
    ProbeRequest,
    ProbeResponse,
    Problem,
    Refused,
    RetireRequest,
    RetireResponse,
    Revoke,
    Seen,
    SettleRequest,
    SettleResponse,
    Verdict,
    Version,
    Waiting,
)
from keyturn_apiportal.flavour import Tells
from keyturn_apiportal.portal import UNREAD, Credential, Found, Order, Portal
from keyturn_apiportal.settling import Settling, heard, made, marks, moved, only_edited

LABEL_PREFIX = "keyturn-"


def label_of(version: Version) -> str:
    """What a version is called at a portal that takes a name: contract 6, "put the rotation id in `name`"."""
    return f"{LABEL_PREFIX}{version.id}"


class PortalProvider:
    """One account in one run. `portal_of` gives the adapter of the secret that a call is about."""

    def __init__(self, portal_of: Callable[[Call], Portal], now: Callable[[], float]) -> None:
        self._portal_of, self._now = portal_of, now

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """Read the credentials of this secret and what stands against a change; change nothing.

        Repeat: always. Target gone: a fatal problem. Raises: NotSent, Refused (the portal's login). After a crash in
        the middle: nothing changed.
        """
        portal = self._portal_of(request.call)
        found = portal.find(request.call, values=request.want_value)
        shown = found.named(request.current.handle if request.current else None)
        shown = shown or found.named(found.first)
        value = shown.value if shown and request.want_value and portal.flavour.readable else None
        return InspectResponse(
            subject=portal.subject,
            endpoints=portal.endpoints,
            seen=tuple(Seen(handle=c.handle, slot=c.slot, enabled=c.enabled, note=c.note) for c in found.credentials),
            bundle=value,
            problems=(
                *found.problems,
                *_changed_outside(portal, found, request),
                *_in_use(portal, found, request, told=value is not None),
            ),
            expires_at=shown.expires_at if shown else None,
            witness={**found.facts, **marks(portal.flavour, found)},
            vendor_now=found.vendor_now,
            named=portal.handle_of(found, request.current.bundle) if request.current else None,
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """Look once more, send the one change, read back.

        Repeat: as the flavour says, and only after `settle`. Target gone: Refused. Raises: NotSent, Refused, Doubt.
        After a crash in the middle: `settle` finds out.
        """
        portal, new = self._portal_of(request.call), request.new
        found = portal.find(request.call, values=portal.flavour.readable)
        order = Order(new=new, label=label_of(new), found=found, current=request.current, witness=dict(request.witness))
        before = self._sent_before(portal, request, found)
        if before:
            return IssueResponse(handle=before.handle, expires_at=before.expires_at)
        _refuse_unless_as_seen(portal, found, self._expected(portal, request, found))
        answer = portal.commit(request.call, order)
        if isinstance(answer, Waiting):
            return IssueResponse(waiting=answer)
        return IssueResponse(handle=answer.handle, bundle=answer.value or Bundle(), expires_at=answer.expires_at)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """Find out what became of the attempts, from what the portal shows and, where it shows nothing, its proxies.

        Repeat: always. Target gone: `not_applied`. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """
        return Settling(self._portal_of(request.call), self._now, label_of(request.new)).settle(request)

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """Ask one proxy whether it accepts this value now.

        Repeat: yes. Target gone: `refused`. Raises: Refused for an endpoint that is not configured. After a crash in
        the middle: what the traits say a probe leaves behind.
        """
        portal = self._portal_of(request.call)
        if request.endpoint not in portal.endpoints:
            raise Refused(f"{request.endpoint} is not among the proxies", code="unknown-endpoint")
        return portal.ask(request.call, request.endpoint, request.bundle)

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """Make the portal refuse, or remove, exactly this credential.

        Repeat: always; it looks first. Target gone: done, if its parent is visible. Raises: NotSent, Refused, Doubt.
        After a crash in the middle: call it again.
        """
        portal = self._portal_of(request.call)
        if portal.flavour.revoke is Revoke.NONE:
            raise Refused("a secret that is replaced in place is not retired by itself", code="not-retirable")
        found = portal.find(request.call, values=False)
        _refuse_blind(found)
        ended = found.named(request.handle)
        if ended is None or (not ended.enabled and request.half.value == "refuse"):
            return RetireResponse(already=True)
        portal.end(request.call, ended, request.half, request.successor)
        return RetireResponse()

    def _expected(self, portal: Portal, request: IssueRequest, found: Found) -> Fields:
        """The witness; with the mark of now, where our value may be sent although somebody edited the key meanwhile."""
        flavour = portal.flavour
        mine = made(flavour, found, request.new, label_of(request.new)) if flavour.tells is Tells.VALUE else None
        if mine is None or mine.value is not None or not moved(flavour, found, request.witness):
            return request.witness
        edited = only_edited(portal, request.call, mine, request.current, self._now)
        return {**request.witness, **marks(flavour, found)} if edited else request.witness

    def _sent_before(self, portal: Portal, request: IssueRequest, found: Found) -> Credential | None:
        """The credential with our value, where it is there already. Refused where one of ours bears the name."""
        flavour, new = portal.flavour, request.new
        mine = made(flavour, found, new, label_of(new))
        if mine and flavour.tells is Tells.LABEL:
            raise Refused("the portal has a credential of this version's name already", code="name-taken")
        if mine is None or flavour.tells is not Tells.VALUE or not moved(flavour, found, request.witness):
            return None
        return mine if Verdict.ACCEPTED in heard(portal, request.call, new.bundle, self._now).values() else None


def _refuse_blind(found: Found) -> None:
    """What is absent counts as gone only where the portal showed what it would be in."""
    if found.blind:
        raise Refused(found.blind.text, code=found.blind.code, hint=found.blind.hint)


def _changed_outside(portal: Portal, found: Found, request: InspectRequest) -> Iterable[Problem]:
    """In place, the handle of what is in force says when it was changed: by one of ours, or by somebody else.

    Whether that made another secret the proxies show once they have heard of it: what they accept then is in force.
    """
    ours, current = set(request.known), request.current.handle if request.current else None
    for one in found.credentials if portal.flavour.in_place and ours else ():
        if one.handle in ours:
            continue
        text = f"{one.handle} is none of ours: somebody else changed the key{one.note and f' ({one.note})'}"
        if UNREAD in (current or ""):
            text = f"{one.handle} is ours or somebody else's: after our own change the key could not be read back"
        if one.fresh:
            text += ", so short a time ago that the proxies may not have heard of it"
            hint = "wait until they have heard of it (sync), then try again: they show whether it has another secret"
            yield Problem(code="changed-outside", text=text, passing=True, hint=hint)
        else:
            hint = "where the proxies accept our secret still, only other fields were edited: nothing is to be done"
            yield Problem(code="changed-outside", text=text, fatal=False, hint=hint)


def _in_use(portal: Portal, found: Found, request: InspectRequest, *, told: bool) -> Iterable[Problem]:
    """In place, and in a slot, a first version ends a value that somebody may use.

    `told`: the engine is shown that value, and says so itself where there is one only.
    """
    flavour = portal.flavour
    ends = bool(flavour.slots) or (flavour.in_place and not told)
    if request.mode is not Mode.FIRST or not ends or not found.credentials:
        return
    name = request.call.secret
    adopts = "--from-vendor" if told or flavour.slots else "--from-stdin < FILE"
    yield Problem(
        code="vendor-has-one",
        text="the vendor holds a value already, and making another one would end it",
        fatal=not request.knowing,
        hint=f"keyturn adopt {name} {adopts}; if nobody uses it: keyturn rotate {name} --first --force --reason TEXT",
    )


def _refuse_unless_as_seen(portal: Portal, found: Found, witness: Fields) -> None:
    """What was decided on must still be so: nobody changed the credential, the policy or its state in between."""
    fatal = next((one for one in found.problems if one.fatal), None)
    if fatal:
        raise Refused(fatal.text, code=fatal.code, hint=fatal.hint)
    now = {**found.facts, **(marks(portal.flavour, found) if portal.flavour.in_place else {})}
    differs = sorted(name for name, text in now.items() if name in witness and witness[name] != text)
    if differs:
        text = f"changed at the portal since it was looked at: {', '.join(differs)}"
        raise Refused(text, code="changed-outside")
