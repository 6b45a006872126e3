"""The adapter for WSO2 API Manager in multi-secret mode: several secrets under one consumer key (contract 9)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from keyturn.api import (
    Answer,
    Bundle,
    Call,
    Context,
    Doubt,
    Fields,
    Half,
    NotSent,
    PluginError,
    ProbeResponse,
    Problem,
    Refused,
    Secret,
    Waiting,
)
from keyturn_apiportal import token_probe
from keyturn_apiportal.bearer import Login, Session
from keyturn_apiportal.flavour import Flavour
from keyturn_apiportal.lines import Lines
from keyturn_apiportal.portal import Credential, Found, Order
from keyturn_apiportal.provider import PortalProvider
from keyturn_apiportal.wso2.options import ID, VALUE, Account, Target, flavour, subject

PLACEHOLDER = "keyturn-placeholder-for-"
PLACEHOLDER_S = 86_400
NEWEST = (900919, 900921)
"""The newest secret can not be revoked: with 500 and the first code, in later versions 400 and the second."""
NOT_MULTI = 900916
PROBLEMS = {
    400: ("single-secret-mode", "switch multiple consumer secrets on at the server, then run again"),
    403: ("no-rights", "give keyturn's login the option scope that manages application keys"),
    404: ("no-such-application", "check url and api_path of the account, application and key_mapping of the target"),
}
UNCHANGED = {
    **PROBLEMS,
    400: (
        "request-rejected",
        "where the server allows no more secrets under one key: revoke one that nobody uses, and set secrets_max",
    ),
}
"""How a change is refused, and what to do."""


def provider(context: Context, account: Account) -> PortalProvider:
    """The provider of one account in one run."""
    lines = Lines(context, ca=account.ca, proxy=account.proxy)
    login = Login(
        url=account.login_url or account.url,
        path=account.token_path,
        client_id=account.client_id,
        client_secret=account.client_secret,
        scope=account.scope,
        ca=account.ca,
        proxy=account.proxy,
    )
    session = Session(context, login, api_url=account.url, ca=account.ca, proxy=account.proxy)

    def portal_of(call: Call) -> Wso2Portal:
        return Wso2Portal(account, call.target, session, lines, context.note)

    return PortalProvider(portal_of, context.now)


class Wso2Portal:
    """One consumer key; see `keyturn_apiportal.portal.Portal`. A handle is the id of a secret."""

    def __init__(
        self, account: Account, target: Target, session: Session, lines: Lines, note: Callable[[str, Fields], None]
    ) -> None:
        self._account, self._target, self._note = account, target, note
        self._session, self._lines = session, lines
        self._path = f"{self._account.api_path}/applications/{target.application}/oauth-keys/{target.key_mapping}"
        self._probe = token_probe.TokenProbe(path=self._account.token_path, revoke_path=self._account.revoke_path)

    @property
    def flavour(self) -> Flavour:
        """Several secrets under one id."""
        return flavour(self._account, self._target)

    @property
    def subject(self) -> str:
        """The consumer key."""
        return subject(self._account, self._target)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every token endpoint."""
        return self._account.gateways

    def find(self, call: Call, *, values: bool) -> Found:  # noqa: ARG002 - a value is shown once
        """The consumer key, and the secrets under it."""
        shown = self._ask(call, "GET", "", ok=(200, 403, 404))
        answer = self._ask(call, "GET", "/secrets", ok=(200, *PROBLEMS)) if shown.status not in PROBLEMS else shown
        if answer.status in PROBLEMS:
            return Found(credentials=(), problems=(self._problem(answer),))
        return Found(credentials=tuple(_listed(answer)), problems=tuple(self._other_client(shown)))

    def commit(self, call: Call, order: Order) -> Credential | Waiting:
        """Generate one more secret with our label. The answer is the only copy, and is sealed before it is parsed."""
        answer = self._change(call, "generate-secret", _described(order.label), seal=call.attempt_id)
        made = self.opened(answer.text, order.found)
        if made is None:
            raise Doubt("generate-secret was answered without a secret", code="no-value")
        return made

    def opened(self, raw: Secret, found: Found) -> Credential | None:  # noqa: ARG002 - the id says which one it is
        """The secret in an answer of generate-secret."""
        try:
            body = json.loads(raw.reveal())
        except ValueError:
            return None
        handle, value = (body.get("secretId"), body.get("secretValue")) if isinstance(body, dict) else (None, None)
        if not isinstance(handle, str) or not isinstance(value, str) or not handle or not value:
            return None
        return Credential(handle=handle, value=Bundle({VALUE: value}))

    def end(self, call: Call, ended: Credential, half: Half, successor: str | None) -> None:
        """Revoke this secret. The newest one can not be revoked, so another one is put after it first.

        That placeholder is nobody's: its value is dropped unread. It ends by itself in a day, or when the next secret
        is revoked.
        """
        del half  # there is one
        if ended.handle == successor:
            raise Refused(f"{ended.handle} is the successor itself", code="is-successor")
        if not self._revoked(call, ended.handle):
            self._tidy(call, ended.handle)  # it may take the last room
            self._put_after(call, ended.handle)
            if not self._revoked(call, ended.handle):
                raise Doubt(f"the portal would not revoke {ended.handle}", code="not-revoked")
        self._tidy(call, ended.handle)

    def handle_of(self, found: Found, bundle: Bundle) -> str | None:  # noqa: ARG002 - the seam's shape
        """No value is shown, so that none can be told by it."""
        return None

    def ask(self, call: Call, endpoint: str, bundle: Bundle) -> ProbeResponse:
        """Ask a token endpoint for a token, and drop it."""
        http, client = self._lines.to(endpoint), token_probe.Client(id=bundle[ID], secret=bundle[VALUE])
        answer, token = token_probe.ask(http, self._probe, client, deadline_at=call.deadline_at)
        token_probe.revoke(http, self._probe, client, token, deadline_at=call.deadline_at)
        return ProbeResponse(verdict=answer.verdict, evidence=f"{answer.evidence} from {endpoint}")

    def _revoked(self, call: Call, handle: str) -> bool:
        """Whether it is gone. False where it is the newest one, which the portal keeps."""
        answer = self._change(call, "revoke-secret", {"secretId": handle}, ok=(200, 204, 400, 404, 500))
        if answer.status < 300 or answer.status == 404:  # noqa: PLR2004 - 2xx, and gone
            return True
        code = _code(answer)
        if code in NEWEST:
            return False
        error = Doubt if answer.status == 500 else Refused  # noqa: PLR2004
        raise error(f"revoke-secret was answered {answer.status} with code {code}", code=f"http-{answer.status}")

    def _put_after(self, call: Call, handle: str) -> None:
        """One placeholder for each secret at most: what is there since an earlier try serves."""
        label = f"{PLACEHOLDER}{handle}"
        if any(one.label == label for one in self.find(call, values=False).credentials):
            return
        body = _described(label, expiresIn=PLACEHOLDER_S)
        if self._change(call, "generate-secret", body, ok=(200, 201, 400)).status == 400:  # noqa: PLR2004
            text = f"no placeholder can be made after {handle}, the newest one: revoke one that nobody uses"
            raise Refused(f"{text}, or allow more under one key", code="no-room-for-placeholder")

    def _tidy(self, call: Call, handle: str) -> None:
        """Revoke placeholders of earlier times. They end by themselves: one that stays is no failure."""
        try:
            for one in self.find(call, values=False).credentials:
                if one.label.startswith(PLACEHOLDER) and one.label != f"{PLACEHOLDER}{handle}":
                    self._revoked(call, one.handle)
        except PluginError as error:
            self._note("placeholder-left", {"why": error.why})

    def _change(
        self,
        call: Call,
        path: str,
        body: dict[str, object],
        *,
        ok: tuple[int, ...] = (200, 201),
        seal: str | None = None,
    ) -> Answer:
        where, taken = f"{self._path}/{path}", (*ok, *UNCHANGED)
        answer = self._session.call(
            "POST", where, ok=taken, mutates=True, deadline_at=call.deadline_at, json=body, seal=seal
        )
        if answer.status in ok:
            return answer
        code, hint = UNCHANGED[answer.status]
        raise Refused(f"{path} was answered {answer.status} with code {_code(answer)}", code=code, hint=hint)

    def _ask(self, call: Call, method: str, path: str, *, ok: tuple[int, ...]) -> Answer:
        return self._session.call(method, f"{self._path}{path}", ok=ok, deadline_at=call.deadline_at)

    def _problem(self, answer: Answer) -> Problem:
        code, hint = PROBLEMS[answer.status]
        if answer.status == 400 and _code(answer) != NOT_MULTI:  # noqa: PLR2004
            code, hint = "contract-broken", "check api_path and the version of the server"
        text = f"the developer portal answered {answer.status} about the key {self._target.key_mapping}"
        return Problem(code=code, text=text, hint=hint)

    def _other_client(self, shown: Answer) -> Iterable[Problem]:
        key = shown.json.get("consumerKey") if isinstance(shown.json, dict) else None
        if key != self._target.client_id:
            text = f"the key mapping {self._target.key_mapping} is of another consumer key than client_id says"
            yield Problem(code="other-client", text=text, hint="correct client_id or key_mapping of the target")


def _listed(answer: Answer) -> Iterable[Credential]:
    entries = answer.json.get("list") if isinstance(answer.json, dict) else None
    if not isinstance(entries, list) or not all(isinstance(one, dict) and one.get("secretId") for one in entries):
        raise NotSent("expected a list of secrets with their ids", code="contract-broken")
    for one in entries:
        more = one.get("additionalProperties")
        label = str(more.get("description") or "") if isinstance(more, dict) else ""
        note = "nobody has its value" if label.startswith(PLACEHOLDER) else label
        yield Credential(handle=str(one["secretId"]), label=label, note=note)


def _described(label: str, **more: object) -> dict[str, object]:
    return {"additionalProperties": {"description": label, **more}}


def _code(answer: Answer) -> object:
    return answer.json.get("code") if isinstance(answer.json, dict) else None
