"""The adapter for Azure API Management: two slots under one subscription, used in turn (contract 9).

A handle is a slot with the keyed fingerprint of what it holds, so that the name of an old version never means a newer
value: what was regenerated since, by whomever, has another name.
"""

from __future__ import annotations

from collections.abc import Callable

from keyturn.api import (
    Answer,
    Bundle,
    Call,
    Context,
    Doubt,
    Half,
    NotSent,
    ProbeResponse,
    Problem,
    Refused,
    Secret,
    Verdict,
    Waiting,
)
from keyturn_apiportal.azure.options import FLAVOUR, VALUE, Account, Target, subject
from keyturn_apiportal.bearer import Login, Session
from keyturn_apiportal.flavour import Flavour
from keyturn_apiportal.lines import Lines
from keyturn_apiportal.portal import Credential, Found, Order
from keyturn_apiportal.provider import PortalProvider

ANY_STATUS = tuple(range(200, 600))
UNAUTHORISED, NOT_FOUND, BUSY = 401, 404, 409
PROBLEMS = {
    404: ("no-such-subscription", "check subscription, resource_group and service of the account, name of the target"),
    403: ("no-rights", "give the application the role API Management Service Contributor, or one with listSecrets"),
}


def provider(context: Context, account: Account) -> PortalProvider:
    """The provider of one account in one run."""
    lines = Lines(context, ca=account.ca, proxy=account.proxy)
    login = Login(
        url=account.login_url,
        path=f"/{account.tenant}/oauth2/v2.0/token",
        client_id=account.client_id,
        client_secret=account.client_secret,
        scope=account.scope,
        basic=False,
        ca=account.ca,
        proxy=account.proxy,
    )
    manager = Session(context, login, api_url=account.url, ca=account.ca, proxy=account.proxy)

    def portal_of(call: Call) -> AzurePortal:
        return AzurePortal(account, call.target, manager, lines, context.fingerprint)

    return PortalProvider(portal_of, context.now)


class AzurePortal:
    """One subscription; see `keyturn_apiportal.portal.Portal`."""

    def __init__(
        self, account: Account, target: Target, manager: Session, lines: Lines, fingerprint: Callable[[str], str]
    ) -> None:
        self._account, self._target, self._fingerprint = account, target, fingerprint
        self._manager, self._lines = manager, lines
        self._path = (
            f"/subscriptions/{self._account.subscription}/resourceGroups/{self._account.resource_group}"
            f"/providers/Microsoft.ApiManagement/service/{self._account.service}/subscriptions/{target.name}"
        )

    @property
    def flavour(self) -> Flavour:
        """Two slots."""
        return FLAVOUR

    @property
    def subject(self) -> str:
        """The pair of keys."""
        return subject(self._account, self._target)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every gateway."""
        return self._account.gateways

    def find(self, call: Call, *, values: bool) -> Found:
        """The state of the subscription, and what its slots hold."""
        shown = self._ask(call, "GET", "", ok=(200, *PROBLEMS))
        answer = self._ask(call, "POST", "/listSecrets", ok=(200, *PROBLEMS)) if shown.status not in PROBLEMS else shown
        if answer.status in PROBLEMS:
            code, hint = PROBLEMS[answer.status]
            text = f"the resource manager answered {answer.status} about the subscription {self._target.name}"
            return Found(credentials=(), problems=(Problem(code=code, text=text, hint=hint),))
        slots = self._slots(answer, values=values)
        first = next((one.handle for one in slots if one.slot == self._target.in_use), None)
        return Found(credentials=slots, first=first, problems=self._problems(shown))

    def commit(self, call: Call, order: Order) -> Credential | Waiting:
        """Regenerate the new version's slot. The answer is empty (contract 9), so the key is read back."""
        slot = order.new.slot or ""
        before = next((one for one in order.found.credentials if one.slot == slot), None)
        if before is None:
            raise Refused(f"expected a slot of the subscription, found {slot!r}", code="no-such-slot")
        self._regenerate(call, slot)
        try:
            now = self.find(call, values=True)
        except (NotSent, Refused) as error:
            why = error.why
        else:
            made = next((one for one in now.credentials if one.slot == slot), before)
            if made.mark != before.mark:
                return made
            why = "the resource manager still shows the key from before"
        raise Doubt(f"the {slot} key was regenerated and could not be read back: {why}", code="not-read-back")

    def opened(self, raw: Secret, found: Found) -> Credential | None:  # noqa: ARG002 - the seam's shape
        """An answer holds no value: it is read from the slot."""
        return None

    def end(self, call: Call, ended: Credential, half: Half, successor: str | None) -> None:  # noqa: ARG002 - one half
        """Regenerate the slot, whose value nobody takes: that is how Azure ends a key."""
        slot = ended.slot or ""
        if successor and successor.startswith(f"{slot}-"):
            raise Refused(f"the {slot} slot is the successor's", code="slot-of-successor")
        self._regenerate(call, slot)

    def handle_of(self, found: Found, bundle: Bundle) -> str | None:
        """The slot that holds this key."""
        mark = self._fingerprint(bundle[VALUE].reveal()) if VALUE in bundle else ""
        return next((one.handle for one in found.credentials if one.mark == mark), None)

    def ask(self, call: Call, endpoint: str, bundle: Bundle) -> ProbeResponse:
        """One harmless call of the API behind this gateway."""
        try:
            answer = self._lines.to(endpoint).call(
                "GET",
                self._target.probe_path,
                ok=ANY_STATUS,
                mutates=False,
                deadline_at=call.deadline_at,
                headers={self._target.header: bundle[VALUE].reveal()},
            )
        except (NotSent, Refused) as error:
            return ProbeResponse(verdict=Verdict.UNKNOWN, evidence=error.why)
        verdict, why = judged(answer)
        return ProbeResponse(verdict=verdict, evidence=f"{answer.status} from {endpoint}: {why}")

    def _regenerate(self, call: Call, slot: str) -> None:
        path = f"/regenerate{slot.capitalize()}Key"
        if self._ask(call, "POST", path, ok=(200, 204, BUSY), mutates=True).status == BUSY:
            raise NotSent("the service is busy with another change", code="busy")

    def _ask(self, call: Call, method: str, path: str, *, ok: tuple[int, ...], mutates: bool = False) -> Answer:
        return self._manager.call(
            method,
            f"{self._path}{path}",
            ok=ok,
            mutates=mutates,
            deadline_at=call.deadline_at,
            params={"api-version": self._account.api_version},
        )

    def _slots(self, answer: Answer, *, values: bool) -> tuple[Credential, ...]:
        return tuple(self._slot(answer, slot, values=values) for slot in FLAVOUR.slots)

    def _slot(self, answer: Answer, slot: str, *, values: bool) -> Credential:
        key = answer.json.get(f"{slot}Key") if isinstance(answer.json, dict) else None
        if not isinstance(key, str) or not key:
            raise NotSent(f"expected a {slot} key from listSecrets, found none", code="contract-broken")
        mark = self._fingerprint(key)
        value = Bundle({VALUE: key}) if values else None
        return Credential(handle=f"{slot}-{mark}", slot=slot, mark=mark, value=value)

    def _problems(self, shown: Answer) -> tuple[Problem, ...]:
        """Only an active subscription opens a gateway."""
        properties = shown.json.get("properties") if isinstance(shown.json, dict) else None
        state = properties.get("state") if isinstance(properties, dict) else None
        if state == "active":
            return ()
        text = f"the subscription {self._target.name} is not active: its state is {state}"
        hint = "activate it in Azure (az apim subscription update --state active), then run again"
        return (Problem(code="subscription-inactive", text=text, hint=hint),)


def judged(answer: Answer) -> tuple[Verdict, str]:
    """What a gateway's answer says of the key. Pure.

    The operation is looked for before the key, and an API may answer 401 itself: only the gateway's own words count.
    """
    message = answer.json.get("message") if isinstance(answer.json, dict) else None
    if 200 <= answer.status < 300:  # noqa: PLR2004 - 2xx
        return Verdict.ACCEPTED, "the API answered"
    if answer.status == UNAUTHORISED and isinstance(message, str) and "invalid subscription key" in message:
        return Verdict.REFUSED, "invalid subscription key"
    if answer.status == NOT_FOUND:
        return Verdict.UNKNOWN, "proves nothing of the key: let probe_path be a GET that is answered 2xx"
    if answer.status == UNAUTHORISED:
        return Verdict.UNKNOWN, "proves nothing of the key: is header the one that the API reads it from?"
    return Verdict.UNKNOWN, "proves nothing of the key"
