"""What became of a change whose answer was lost: read from the portal, and where it shows nothing, from its proxies.

Contract 6. Nothing is sent again here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from keyturn.api import Bundle, Call, Fields, Settled, SettleRequest, SettleResponse, Verdict, Version
from keyturn_apiportal.flavour import Flavour, Tells
from keyturn_apiportal.portal import Credential, Found, Portal

MARK, HANDLES = "mark", "handles"
"""What a witness keeps: the mark of the credential (of each slot), or the handles of all that were there."""

ASK_S = 5.0
"""How long one proxy may take to answer while the truth is looked for: a dead one must not eat the whole call."""


def marks(flavour: Flavour, found: Found) -> dict[str, str]:
    """What the witness keeps of the credentials. Pure."""
    if flavour.tells in (Tells.CHANGE, Tells.VALUE):
        return {" ".join(filter(None, (MARK, one.slot))): one.mark for one in found.credentials}
    return {HANDLES: ",".join(sorted(one.handle for one in found.credentials))}


def moved(flavour: Flavour, found: Found, witness: Fields, slot: str | None = None) -> bool:
    """Whether the mark (of this slot) is another one than the witness kept. Pure."""
    name = " ".join(filter(None, (MARK, slot)))
    now = marks(flavour, found).get(name)
    return name in witness and now is not None and witness[name] != now


def made(flavour: Flavour, found: Found, new: Version, label: str) -> Credential | None:
    """The credential that a change of ours made, or would have changed. None where there is none. Pure."""
    if flavour.tells is Tells.LABEL:
        mine = [one for one in found.credentials if one.label == label]
    else:
        mine = [one for one in found.credentials if one.slot == new.slot]
    return mine[-1] if mine else None


def heard(portal: Portal, call: Call, bundle: Bundle, now: Callable[[], float]) -> Mapping[str, Verdict]:
    """What each proxy says of this value now."""
    asked = replace(call, deadline_at=min(call.deadline_at, now() + ASK_S))
    return {endpoint: portal.ask(asked, endpoint, bundle).verdict for endpoint in portal.endpoints}


def only_edited(portal: Portal, call: Call, one: Credential, current: Version | None, now: Callable[[], float]) -> bool:
    """Whether a mark that moved told of other fields: long enough ago for every proxy to know, and the old one is good.

    Should the proxies take longer than the account says, then sending our value once more changes nothing.
    """
    if one.fresh or current is None or not current.bundle:
        return not one.fresh  # without an old one nothing of ours is at stake
    said = set(heard(portal, call, current.bundle, now).values())
    return Verdict.ACCEPTED in said and Verdict.REFUSED not in said


class Settling:
    """Finds out what became of all attempts of one version."""

    def __init__(self, portal: Portal, now: Callable[[], float], label: str) -> None:
        self._portal, self._now, self._label = portal, now, label
        self._flavour = portal.flavour

    def settle(self, request: SettleRequest) -> SettleResponse:
        """One look."""
        found = self._portal.find(request.call, values=self._flavour.readable)
        if found.blind:
            return SettleResponse(outcome=Settled.UNKNOWN, note=found.blind.text)
        mine = made(self._flavour, found, request.new, self._label)
        answer = self._by_kind(request, found, mine)
        waits = answer.outcome in (Settled.NOT_APPLIED, Settled.UNKNOWN) and found.pending is not None
        return SettleResponse(outcome=Settled.NOT_APPLIED, waiting=found.pending) if waits else answer

    def _by_kind(self, request: SettleRequest, found: Found, mine: Credential | None) -> SettleResponse:
        if self._flavour.tells is Tells.SEAL:
            return self._by_seal(request, found)
        if mine is None:
            return SettleResponse(outcome=Settled.NOT_APPLIED, note=found.note)
        if self._flavour.tells is Tells.VALUE:
            return self._by_value(request, found, mine)
        if self._flavour.tells is Tells.CHANGE:
            return self._by_change(request, found, mine)
        return self._applied(request, found, mine)

    def _by_seal(self, request: SettleRequest, found: Found) -> SettleResponse:
        """Only a sealed answer says that a credential is ours. Any other new one may be somebody else's: it is left."""
        for raw in reversed(request.raws):
            opened = self._portal.opened(raw, found)
            if opened and opened.value and found.named(opened.handle):
                return SettleResponse(outcome=Settled.APPLIED, handle=opened.handle, bundle=opened.value)
        before = request.witness.get(HANDLES, "").split(",")
        new = sorted(one.handle for one in found.credentials if one.handle not in before)
        note = f"made since, by us or by somebody else, and left alone: {', '.join(new)}" if new else ""
        return SettleResponse(outcome=Settled.NOT_APPLIED, note=note)

    def _by_change(self, request: SettleRequest, found: Found, mine: Credential) -> SettleResponse:
        """The portal made the value: it moved the mark, and where that is not to be relied on the proxies end the old.

        That they still accept the old one proves nothing by itself (contract 6): a look counts when it is the last.
        """
        if moved(self._flavour, found, request.witness, request.new.slot):
            return self._applied(request, found, mine)
        if mine.value is None and self._refused_somewhere(request, request.current):
            return self._applied(request, found, mine)
        return SettleResponse(outcome=Settled.NOT_APPLIED, note=found.note)

    def _applied(self, request: SettleRequest, found: Found, mine: Credential) -> SettleResponse:
        """With the value where the portal shows it, or where the sealed answer is that of this very change."""
        value = mine.value or self._answered(request, found, mine)
        if value is None:
            note = f"{mine.handle} was made or changed, and its value reached nobody"
            return SettleResponse(outcome=Settled.APPLIED_GONE, handle=mine.handle, note=note)
        return SettleResponse(
            outcome=Settled.APPLIED, handle=mine.handle, bundle=value, expires_at=mine.expires_at, note=mine.note
        )

    def _answered(self, request: SettleRequest, found: Found, mine: Credential) -> Bundle | None:
        for raw in reversed(request.raws):
            opened = self._portal.opened(raw, found)
            old = request.current.bundle if request.current else Bundle()
            if opened and opened.value and opened.handle == mine.handle and not _same(opened.value, old):
                return opened.value
        return None

    def _by_value(self, request: SettleRequest, found: Found, mine: Credential) -> SettleResponse:
        """We made the value. Where the portal does not show what it holds, the proxies say which one is in force."""
        ours = request.new.bundle
        if mine.value is not None:
            return self._by_shown(request, found, mine)
        if Verdict.ACCEPTED in heard(self._portal, request.call, ours, self._now).values():
            return SettleResponse(outcome=Settled.APPLIED, handle=mine.handle)
        if not moved(self._flavour, found, request.witness):
            return SettleResponse(outcome=Settled.NOT_APPLIED, note=found.note)
        if self._refused_somewhere(request, request.current):
            return SettleResponse(outcome=Settled.REPLACED, note="the proxies accept neither the old one nor ours")
        if request.final and only_edited(self._portal, request.call, mine, request.current, self._now):
            return SettleResponse(outcome=Settled.NOT_APPLIED, note="the key was edited, its secret left alone")
        note = "the key was changed at the portal, by us or by somebody else, and no proxy shows yet by whom"
        return SettleResponse(outcome=Settled.UNKNOWN, note=note)

    def _by_shown(self, request: SettleRequest, found: Found, mine: Credential) -> SettleResponse:
        if _same(mine.value, request.new.bundle):
            return SettleResponse(outcome=Settled.APPLIED, handle=mine.handle)
        if request.current is None or not request.current.bundle or _same(mine.value, request.current.bundle):
            return SettleResponse(outcome=Settled.NOT_APPLIED, note=found.note)
        return SettleResponse(outcome=Settled.REPLACED, note="the portal shows neither the old secret nor ours")

    def _refused_somewhere(self, request: SettleRequest, version: Version | None) -> bool:
        if version is None or not version.bundle:
            return False
        return Verdict.REFUSED in heard(self._portal, request.call, version.bundle, self._now).values()


def _same(shown: Bundle | None, other: Bundle) -> bool:
    """Whether the portal shows these very values."""
    names = [name for name in shown or () if name in other]
    return bool(names) and all(shown and shown[name].reveal() == other[name].reveal() for name in names)
