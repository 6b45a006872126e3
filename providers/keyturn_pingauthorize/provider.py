"""The provider: old and new names live side by side in the extension's list, on every server.

All five verbs look first and send only what is missing, so that each may be repeated (contract 8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keyturn.api import (
    Context,
    Doubt,
    Half,
    Http,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    NotSent,
    ProbeRequest,
    ProbeResponse,
    Refused,
    RetireRequest,
    RetireResponse,
    Settled,
    SettleRequest,
    SettleResponse,
    Verdict,
    Version,
)
from keyturn_pingauthorize.client import ConfigApi, Wire
from keyturn_pingauthorize.look import describe, look
from keyturn_pingauthorize.options import VALUE, Account, Target, name_for, prefix, subject
from keyturn_pingauthorize.sideband import ask, judge

NO_SUCH_SECRET = ("http-400", "http-404", "http-409", "http-422")
"""How a server may refuse a name it does not see yet, until mirrored (contract 4), or a repeated change."""


class PingAuthorize:
    """One cluster in one run. A handle is the name of a secret object."""

    def __init__(self, context: Context, account: Account) -> None:
        self._context = context
        self._account = account
        self._wire = Wire(
            extension=account.extension,
            dialect=account.dialect,
            urn_prefix=account.urn_prefix,
            apply_change_to=account.apply_change_to,
        )
        self._clients: dict[tuple[str, str], Http] = {}
        self._headers: dict[str, str] = {}

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """Read the extension, its names and our objects on every server; change nothing.

        Repeat: always. Target gone: a fatal problem. Raises: NotSent (credentials do not resolve). After a crash in
        the middle: nothing changed.
        """
        ours = prefix(self._account, request.call.target)
        looks = [look(api, ours) for api in self._servers(request.call.deadline_at)]
        self._headers.update({seen.server: seen.extension.header for seen in looks if seen.extension})
        return describe(
            looks,
            subject=subject(self._account, request.call.target),
            ours=ours,
            header=self._account.header,
            known=frozenset(request.known),
            now=self._context.now(),
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """Create the object once, wait until every server sees it, then add its name to every list.

        Repeat: always; it looks first. Target gone: Refused. Raises: NotSent and Refused while nothing of ours exists,
        Doubt from then on. After a crash in the middle: `settle` finds out, or call it again.
        """
        name = self._name(request.new, request.call.target)
        servers = self._servers(request.call.deadline_at)
        for api in servers:
            _refuse_unguarded(api)
        if not servers[0].has(name):
            self._create(servers[0], request.new, name, request.call.attempt_id)
        with _unsure(begun=True):
            self._until_mirrored(servers, name)
            for api in servers:
                self._until_listed(api, name)
        return IssueResponse(handle=name)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """Look for the object and its name on every server; change nothing.

        Repeat: always. Target gone: `not_applied`. Raises: nothing that matters; a server that can not be asked makes
        the outcome `unknown`. After a crash in the middle: nothing changed.
        """
        name = self._name(request.new, request.call.target)
        try:
            signs = [
                sign
                for api in self._servers(request.call.deadline_at)
                for sign in (api.has(name), name in api.extension().names)
            ]
        except (NotSent, Refused) as error:
            return SettleResponse(outcome=Settled.UNKNOWN, note=error.why)
        if all(signs):
            return SettleResponse(outcome=Settled.APPLIED, handle=name)
        if any(signs):
            return SettleResponse(outcome=Settled.PARTLY, handle=name, note="on some servers, or not listed yet")
        return SettleResponse(outcome=Settled.NOT_APPLIED)

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """Ask one server for a policy decision with this value; a denial is an answer as good as any (contract 5).

        Repeat: yes. Target gone: `refused`. Raises: Refused for an endpoint that is not configured. After a crash in
        the middle: a policy decision and a line in the decision log.
        """
        if request.endpoint not in self._account.servers:
            raise Refused(f"{request.endpoint} is not among the servers", code="unknown-endpoint")
        try:
            answer = ask(
                self._http(self._account.sideband_of(request.endpoint), login=False),
                header=self._header(request.endpoint, request.call.deadline_at),
                value=request.bundle[VALUE],
                url=self._account.probe_url,
                label=request.call.attempt_id,
                deadline_at=request.call.deadline_at,
            )
        except (NotSent, Refused) as error:
            return ProbeResponse(verdict=Verdict.UNKNOWN, evidence=error.why)
        verdict, why = judge(answer, lenient=self._account.treat_4xx_as_accepted)
        return ProbeResponse(verdict=verdict, evidence=f"{answer.status} from {request.endpoint}: {why}")

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """Take the name out of every list (`refuse`), or delete the object that no list names (`remove`).

        Repeat: always; it looks first. Target gone: done, if every extension was visible. Raises: NotSent and Refused
        while nothing changed, Doubt from then on. After a crash in the middle: call it again.
        """
        servers = self._servers(request.call.deadline_at)
        if request.half is Half.REFUSE:
            return self._refuse(servers, request.handle)
        return self._remove(servers, request.handle)

    # issue

    def _create(self, api: ConfigApi, new: Version, name: str, attempt: str) -> None:
        try:
            actions = api.create(name, new.bundle[VALUE], attempt=attempt)
        except Refused as refusal:
            if refusal.code != "http-409":
                raise
            # Contract 8: the name is unique, so it is ours; an earlier attempt landed, and is being mirrored.
            actions = ()
        self._warn(api, actions)

    def _until_mirrored(self, servers: list[ConfigApi], name: str) -> None:
        missing = list(servers)

        def all_see_it() -> bool:
            missing[:] = [api for api in missing if not _sees(api, name)]
            return not missing

        if not self._wait(all_see_it, servers[0].deadline_at):
            where = ", ".join(api.server for api in missing)
            raise Doubt(f"{name} is not mirrored to {where}", code="not-mirrored")

    def _until_listed(self, api: ConfigApi, name: str) -> None:
        refusals: list[Refused] = []

        def listed() -> bool:
            if name in api.extension().names:
                return True
            try:
                after = api.add(name)
            except Refused as refusal:
                if refusal.code not in NO_SUCH_SECRET:
                    raise
                refusals.append(refusal)
                return False
            self._warn(api, after.actions)
            return name in after.names

        if not self._wait(listed, api.deadline_at):
            why = refusals[-1].why if refusals else f"{api.server} does not list it"
            raise Doubt(f"{name} could not be added: {why}", code="not-listed")

    # retire

    def _refuse(self, servers: list[ConfigApi], name: str) -> RetireResponse:
        # All lists are read before one is changed: half a retirement must not end at an emptied list.
        listing = [api for api in servers if _lists_another_too(api, name)]
        for index, api in enumerate(listing):
            with _unsure(begun=index > 0):
                self._take_out(api, name)
        with _unsure(begun=bool(listing)):
            for api in listing:
                if name in api.extension().names:
                    raise Doubt(f"{api.server} still lists {name}", code="still-listed")
        return RetireResponse(already=not listing)

    def _take_out(self, api: ConfigApi, name: str) -> None:
        if not _lists_another_too(api, name):
            return
        try:
            after = api.remove(name)
        except Refused:
            # Somebody else was faster: removing an absent name may be an error (contract 8).
            if name in api.extension().names:
                raise
            return
        self._warn(api, after.actions)
        if not after.names:
            raise Doubt(f"the list of {api.server} is empty now: it asks for no secret", code="authentication-off")

    def _remove(self, servers: list[ConfigApi], name: str) -> RetireResponse:
        for api in servers:
            if name in api.extension().names:
                raise Refused(f"{api.server} still lists {name}", code="still-referenced")
        having = [api for api in servers if api.has(name)]
        if not having:
            return RetireResponse(already=True)
        try:
            having[0].delete(name)
        except Refused as refusal:
            if refusal.code != "http-409":
                raise
            where = ", ".join(api.server for api in servers if name in api.extension().names) or "a server not known"
            raise Refused(f"{name} is still referenced by {where}", code="still-referenced") from None
        with _unsure(begun=True):
            if not self._wait(lambda: not any(api.has(name) for api in having), having[0].deadline_at):
                raise Doubt(f"the removal of {name} is not mirrored everywhere", code="not-mirrored")
        return RetireResponse()

    # shared

    def _servers(self, deadline_at: float) -> list[ConfigApi]:
        return [
            ConfigApi(
                server=server, http=self._http(f"{server}/config", login=True), wire=self._wire, deadline_at=deadline_at
            )
            for server in self._account.servers
        ]

    def _http(self, base_url: str, *, login: bool) -> Http:
        """One client per base URL. The administrator's password is for the Configuration API only."""
        key = (base_url, "login" if login else "")
        if key not in self._clients:
            self._clients[key] = self._context.http(
                base_url,
                username=self._context.resolve(self._account.username) if login else None,
                password=self._context.resolve(self._account.password) if login else None,
                ca=self._account.ca,
                proxy=self._account.proxy,
            )
        return self._clients[key]

    def _header(self, server: str, deadline_at: float) -> str:
        """The header this server names, asked once in a run (contract 1: set-ups differ)."""
        if server not in self._headers:
            api = next(api for api in self._servers(deadline_at) if api.server == server)
            self._headers[server] = api.extension().header
        return self._headers[server]

    def _wait(self, check: Callable[[], bool], deadline_at: float) -> bool:
        left_s = deadline_at - self._context.now()
        at_most_s = max(0.0, min(self._account.mirror_timeout, left_s))
        return self._context.wait(check, every_s=self._account.poll, at_most_s=at_most_s)

    def _warn(self, api: ConfigApi, actions: tuple[str, ...]) -> None:
        """Contract 3.9: stored, but perhaps not active. The probe decides."""
        for action in actions:
            self._context.note("required-action", {"server": api.server, "action": action})

    def _name(self, version: Version, target: Target | None) -> str:
        return version.handle or name_for(version.id, prefix(self._account, target))


@contextmanager
def _unsure(*, begun: bool) -> Iterator[None]:
    """Once something was changed, a call that failed for sure still leaves the whole in doubt."""
    doubt = None
    try:
        yield
    except (NotSent, Refused) as error:
        if not begun:
            raise
        doubt = Doubt(error.why, code=error.code)
    if doubt:
        raise doubt


def _refuse_unguarded(api: ConfigApi) -> None:
    """An empty list asks for no secret; the first name in it would lock out every gateway without one."""
    if not api.extension().names:
        raise Refused(f"the list of {api.server} is empty: it asks for no secret", code="authentication-off")


def _lists_another_too(api: ConfigApi, name: str) -> bool:
    """Whether this server lists the name. Refused where it lists no other: that would switch authentication off."""
    names = api.extension().names
    if name in names and not set(names) - {name}:
        raise Refused(f"{name} is the only secret that {api.server} accepts", code="last-secret")
    return name in names


def _sees(api: ConfigApi, name: str) -> bool:
    """Whether the server sees the object; a server that stumbles is asked again in the next round."""
    try:
        return api.has(name)
    except NotSent:
        return False
