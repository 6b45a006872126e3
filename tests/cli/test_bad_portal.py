"""Bad input at API portals: code, place, what is true now, and a next step that helps once it is done.

Each trouble comes with what its text tells the operator to do; afterwards the same command works.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.hand import configured, put
from cli.trouble import Trouble, unchanged
from portals.endings import ROTATE, team
from portals.partners import SECRET, Partners, partners
from program import write_private

Act = Callable[[Partners], object]
ACCOUNT, MANAGED = "providers.portal", f"secrets.{SECRET}"
NOBODYS = "11112222-3333-4444-8555-666677778888"
NOTHING_LISTENS = "http://127.0.0.1:9"
HEARD_S = 5.0


def account_is(**changes: Any) -> Act:
    return lambda one: configured(one, put(ACCOUNT, **changes))


def target_is(**changes: Any) -> Act:
    return lambda one: configured(one, put(f"{MANAGED}.target", **changes))


def secret_is(**changes: Any) -> Act:
    return lambda one: configured(one, put(MANAGED, **changes))


def switched(**switches: Any) -> Act:
    return lambda one: one.sim.switch(**switches)


def proxy_is(**switches: Any) -> Act:
    return lambda one: one.sim.obey({"proxies": {"gw2": switches}})


def key_is(**fields: Any) -> Act:
    """A person changes the key, and the proxies have heard of it."""

    def change(one: Partners) -> None:
        one.sim.change(**fields)
        one.clock.advance(HEARD_S)

    return change


def login_is(name: str, text: str) -> Act:
    return lambda one: write_private(one.folder / f"state/{name}", text)


def login_is_right(name: str) -> Act:
    """A client that was refused is not tried again for an hour by one process, and each command is one."""
    return lambda one: login_is(name, one.sim.environment[name])(one)


def all_of(*acts: Act) -> Act:
    def act(one: Partners) -> None:
        for each in acts:
            each(one)

    return act


def as_configured(one: Partners) -> None:
    one.configure()


LAYER7 = (
    Trouble(
        "a portal where nothing listens",
        account_is(url=NOTHING_LISTENS),
        "vendor-unreachable",
        "no connection: Connection refused",
        "check address, credentials and network",
        as_configured,
    ),
    Trouble(
        "a client of PAPI that is not there",
        account_is(client_id="env:KEYTURN_NO_SUCH_VARIABLE"),
        "reference-unresolved",
        "env:KEYTURN_NO_SUCH_VARIABLE does not resolve",
        "correct the reference",
        as_configured,
    ),
    Trouble(
        "a client of PAPI that is refused",
        login_is("PAPI_SECRET", "another"),
        "login-refused",
        "answered 401 to the client of file:state/PAPI_ID",
        "check url, client_id and client_secret of the account",
        login_is_right("PAPI_SECRET"),
    ),
    Trouble(
        "a scope that the client has not",
        account_is(scope="other"),
        "login-refused",
        "answered 400 to the client of",
        "that the client may have the scope",
        as_configured,
    ),
    Trouble(
        "the URL of a proxy",
        lambda one: account_is(url=one.proxies[0])(one),
        "login-refused",
        "answered 401 to the client of",
        "check url, client_id and client_secret",
        as_configured,
    ),
    Trouble(
        "a client without rights",
        switched(role="none"),
        "no-rights",
        "answered 403",
        "give the client of PAPI a role that may edit applications and their keys",
        switched(role="full"),
    ),
    Trouble(
        "another tenant",
        account_is(tenant="nobody"),
        "no-such-application",
        "tenant nobody has no application",
        "check url, tenant and api_prefix",
        as_configured,
    ),
    Trouble(
        "another prefix",
        account_is(api_prefix="/elsewhere"),
        "no-such-application",
        "tenant acme has no application",
        "check url, tenant and api_prefix",
        as_configured,
    ),
    Trouble(
        "another application",
        target_is(application=NOBODYS),
        "no-such-application",
        f"tenant acme has no application {NOBODYS}",
        "and application of the target",
        as_configured,
    ),
    Trouble(
        "another key",
        target_is(api_key="l70000"),
        "no-such-key",
        "the application has no api key l70000",
        "check application and api_key of the target",
        as_configured,
    ),
    *(
        Trouble(
            f"a key that is {status}",
            key_is(status=status),
            "key-not-enabled",
            f"its status is {status}",
            "have it enabled in the portal",
            key_is(status="ENABLED"),
        )
        for status in ("DISABLED", "EXPIRED", "PENDING_REGISTRATION", "DELETE_FAILED")
    ),
    Trouble(
        "a public client",
        key_is(oauth_type="PUBLIC"),
        "public-client",
        "is a public client, which has no secret",
        "have its type set to CONFIDENTIAL",
        key_is(oauth_type="CONFIDENTIAL"),
    ),
    Trouble(
        "a client with a certificate",
        key_is(auth_method="CERTIFICATE"),
        "not-a-secret-key",
        "is authenticated by CERTIFICATE",
        "have its authentication method set to SECRET",
        key_is(auth_method="SECRET"),
    ),
    Trouble(
        "always hashed, where the tenant allows plaintext only",
        target_is(hashed="always"),
        "hash-policy",
        "the tenant allows plaintext only",
        "or set hashed: to what it allows",
        target_is(hashed="prefer"),
    ),
    Trouble(
        "plaintext, where the tenant allows hashed ones only",
        all_of(target_is(hashed="as-is"), switched(hashing="hashed")),
        "hash-policy",
        "the tenant allows hashed ones only",
        "have the tenant allow what hashed: of the target asks for",
        switched(hashing="plaintext"),
    ),
    Trouble(
        "a hashing setting that is not JSON",
        switched(hashing_shown="not-json"),
        "hash-setting",
        "can not be understood",
        "have APP_SECRET_HASHING_METADATA set right in the portal",
        switched(hashing_shown="ok"),
    ),
    Trouble(
        "changes that a person approves",
        switched(approve_edits=True),
        "approval-workflow",
        "the tenant has changes of applications approved by a person",
        "and set approval: administrator",
        all_of(switched(administrator=True), account_is(approval="administrator")),
    ),
    Trouble(
        "a proxy that is down",
        proxy_is(down=True),
        "endpoint-silent",
        "gw2: POST /auth/oauth/v2/token",
        "do what it says, or check that endpoint",
        proxy_is(down=False),
    ),
    Trouble(
        "a proxy that is in trouble",
        proxy_is(trouble="503:html"),
        "endpoint-silent",
        "gw2: 503",
        "do what it says, or check that endpoint",
        proxy_is(trouble=""),
    ),
    Trouble(
        "a client that may not have the grant",
        proxy_is(says="3003117"),
        "endpoint-silent",
        "this client can not be asked about so: set probe.scope, or probe.kind resource, or codes",
        "do what it says",
        proxy_is(says=""),
    ),
    Trouble(
        "a scope to probe with that is not registered",
        account_is(probe={"scope": "not-registered"}),
        "endpoint-silent",
        "set probe.scope",
        "do what it says",
        account_is(probe=None),
    ),
    Trouble(
        "a test API that is not there",
        account_is(probe={"kind": "resource", "path": "/nothing"}),
        "endpoint-silent",
        "404 from the test API: let probe.path be a GET that takes id and secret by Basic",
        "do what it says",
        account_is(probe=None),
    ),
    Trouble(
        "another token endpoint of proxies",
        account_is(proxy_token_path="/other/token"),
        "endpoint-silent",
        "there is no such endpoint: check proxies and proxy_token_path",
        "do what it says",
        account_is(proxy_token_path=None),
    ),
    Trouble(
        "too many calls",
        lambda one: one.sim.fault("key", "429:30", times=99),
        "vendor-unreachable",
        "answered 429, asking to wait 30 s",
        "wait as long as it says",
        lambda one: one.sim.obey({"clear": True}),
    ),
    Trouble(
        "a CA file that is not there",
        account_is(ca="nothing.pem"),
        "vendor-unreachable",
        "nothing.pem is not usable: No such file",
        "or leave it out",
        account_is(ca=None),
    ),
    Trouble(
        "no outage accepted",
        secret_is(overlap={"strategy": "cutover"}),
        "outage-not-accepted",
        "the policy accepts no outage",
        "set overlap.accept_outage",
        as_configured,
    ),
    Trouble(
        "an overlap that a key in place has not",
        secret_is(overlap={"strategy": "dual", "accept_outage": "60s"}),
        "overlap-unfit",
        "dual needs a vendor that accepts two versions at once",
        "set overlap.strategy to auto",
        secret_is(overlap={"strategy": "auto", "accept_outage": "60s"}),
    ),
)

HASHED = (
    Trouble(
        "a hashed key, where the tenant allows plaintext only",
        switched(hashing="plaintext"),
        "hash-policy",
        "the tenant allows plaintext only",
        "have the tenant allow what hashed: of the target asks for",
        switched(hashing="both"),
    ),
    Trouble(
        "an approval that nobody is told the value of",
        all_of(switched(approve_edits=True), account_is(approval="wait")),
        "approval-workflow",
        "nobody is told the value when it is approved",
        "give it a client of PAPI with an administrator's rights",
        all_of(switched(administrator=True), account_is(approval="administrator")),
    ),
)

SECOND_KEY = (
    Trouble(
        "as many keys as it may have",
        all_of(lambda one: one.sim.add_key(name="stray"), target_is(keys_max=2)),
        "key-limit",
        "the application has",
        "that nobody uses",
        target_is(keys_max=None),
    ),
    Trouble(
        "an outage where there is none",
        secret_is(overlap={"strategy": "cutover", "accept_outage": "5s"}),
        "overlap-unfit",
        "cutover is for vendors whose issue ends the old version",
        "set overlap.strategy to auto",
        as_configured,
    ),
)

AZURE = (
    Trouble(
        "another tenant",
        account_is(tenant=NOBODYS),
        "login-refused",
        f"POST /{NOBODYS}/oauth2/v2.0/token: answered",
        "check url, client_id and client_secret",
        as_configured,
    ),
    *(
        Trouble(
            f"another {what}",
            act,
            "no-such-subscription",
            "answered 404 about the subscription",
            "check subscription, resource_group and service of the account, name of the target",
            as_configured,
        )
        for what, act in (
            ("cloud subscription", account_is(subscription=NOBODYS)),
            ("service", account_is(service="other")),
            ("subscription", target_is(name="nobody")),
        )
    ),
    Trouble(
        "an application without a role",
        switched(forbidden=True),
        "no-rights",
        "answered 403",
        "give the application the role API Management Service Contributor",
        switched(forbidden=False),
    ),
    Trouble(
        "a suspended subscription",
        switched(state="suspended"),
        "subscription-inactive",
        "its state is suspended",
        "activate it in Azure",
        switched(state="active"),
    ),
    Trouble(
        "a probe path that is not there",
        target_is(probe_path="/nothing"),
        "endpoint-silent",
        "let probe_path be a GET that is answered 2xx",
        "do what it says",
        as_configured,
    ),
    Trouble(
        "another header",
        target_is(header="X-Key"),
        "endpoint-silent",
        "is header the one that the API reads it from?",
        "do what it says",
        as_configured,
    ),
    Trouble(
        "a gateway that is down",
        switched(gateway_down=[1]),
        "endpoint-silent",
        "no connection: Connection refused",
        "check that endpoint",
        switched(gateway_down=[]),
    ),
)

WSO2 = (
    Trouble(
        "single-secret mode",
        switched(multi=False),
        "single-secret-mode",
        "answered 400",
        "switch multiple consumer secrets on",
        switched(multi=True),
    ),
    Trouble(
        "a login that is refused",
        login_is("WSO2_CLIENT_SECRET", "another"),
        "login-refused",
        "answered",
        "check url, client_id and client_secret",
        login_is_right("WSO2_CLIENT_SECRET"),
    ),
    *(
        Trouble(
            f"another {what}",
            act,
            "no-such-application",
            "answered 404 about the key",
            "check url and api_path of the account, application and key_mapping of the target",
            as_configured,
        )
        for what, act in (
            ("application", target_is(application=NOBODYS)),
            ("key mapping", target_is(key_mapping=NOBODYS)),
            ("path", account_is(api_path="/api/am/devportal/v1")),
        )
    ),
    Trouble(
        "another consumer key",
        target_is(client_id="another"),
        "other-client",
        "is of another consumer key than client_id says",
        "correct client_id or key_mapping of the target",
        as_configured,
    ),
)

ALIKE = frozenset(
    {
        *(f"a key that is {status}" for status in ("EXPIRED", "PENDING_REGISTRATION", "DELETE_FAILED")),
        *("another prefix", "another cloud subscription", "another service", "another key mapping", "another path"),
        *("a scope that the client has not", "a proxy that is in trouble", "a client with a certificate"),
        *(
            "a client of PAPI that is not there",
            "a CA file that is not there",
            "an overlap that a key in place has not",
        ),
        *("an outage where there is none", "a scope to probe with that is not registered", "a login that is refused"),
    }
)
"""Much like another one: tried by `make sweep`."""

TROUBLES = [
    pytest.param(way, trouble, id=f"{way}: {trouble}", marks=[pytest.mark.sweep] if trouble.name in ALIKE else [])
    for way, troubles in {
        "patch": LAYER7,
        "patch-hashed": HASHED,
        "second-key": SECOND_KEY,
        "slots": AZURE,
        "same-id": WSO2,
    }.items()
    for trouble in troubles
]


def seen(one: Partners) -> object:
    """What was changed at the portal, what consumers read, the journal."""
    return one.commits(), one.served(), [(event.type, event.data) for event in one.events(SECRET)]


@pytest.mark.parametrize(("way", "trouble"), TROUBLES)
def test_what_refuses_a_rotation_is_told_and_once_its_next_step_is_done_it_rotates(
    tmp_path: Path, way: str, trouble: Trouble[Partners]
) -> None:
    with team(tmp_path / "team", way) as one:
        trouble.arise(one)
        unchanged(lambda: seen(one), lambda: trouble.is_told(one.keyturn(*ROTATE), SECRET))
        trouble.do(one)
        one.well(*ROTATE)
        one.clock.advance(HEARD_S)
        assert one.everywhere(one.served())


# What the portal itself refuses is undone

UNDONE = {
    "put, which a later portal ignores": ("put", switched(version="5.2.1+"), "set way: patch"),
    "patch, which an earlier portal has not": ("patch", switched(version="5.1"), "set way to patch (5.2.1 on), put"),
    "a client that may only read": ("patch", switched(role="read-only"), "give the client of PAPI a role"),
    "as many keys as there may be": ("second-key", switched(key_limit=1), "delete one that nobody uses"),
    "a login that may not change": ("same-id", switched(forbidden=True), "the option scope that manages"),
    "as many secrets as there may be": ("same-id", switched(secrets_max=1), "revoke one that nobody uses"),
}


@pytest.mark.parametrize(("way", "arise", "todo"), UNDONE.values(), ids=list(UNDONE))
def test_what_the_portal_refuses_is_undone_and_the_way_out_is_told(
    tmp_path: Path, way: str, arise: Act, todo: str
) -> None:
    with team(tmp_path / "team", way) as one:
        before = one.served()
        arise(one)
        ran = one.keyturn(*ROTATE)
        assert (ran.code, one.served(), one.everywhere(before)) == (4, before, True)
        assert "undone; the old version is good" in ran.err
        assert re.search(rf"next: .*{re.escape(todo)}.*; then: keyturn rotate {SECRET}\n", ran.err), ran.err


# A first version


@pytest.mark.parametrize("way", ["patch", "patch-hashed", "put-hashed", "slots"])
def test_a_first_version_never_ends_unasked_what_somebody_may_use(tmp_path: Path, way: str) -> None:
    with partners(tmp_path / "team", way) as one:
        [initial] = one.sim.initial.values()
        ran = one.keyturn("rotate", SECRET, "--first", "--yes")
        assert (ran.code, "error[vendor-has-one]" in ran.err) == (3, True), ran.said
        assert one.everywhere(initial["bundle"])
        assert f"next: keyturn adopt {SECRET} --from-" in ran.err
        one.well("rotate", SECRET, "--first", "--yes", "--force", "--reason", "nobody uses it")
        one.clock.advance(HEARD_S)
        assert one.everywhere(one.served())


def test_no_other_key_is_adopted_than_the_one_that_is_named(tmp_path: Path) -> None:
    with partners(tmp_path / "team", "second-key", target={"api_key": "l70000"}) as one:
        ran = one.keyturn("adopt", SECRET, "--from-vendor")
        assert (ran.code, "error[adopt-incomplete]" in ran.err) == (3, True), ran.said
        assert "the application has no api key l70000 [no-such-key]" in one.keyturn("check", "--online").out
        target_is(api_key=None)(one)
        one.well("adopt", SECRET, "--from-vendor")
        one.well(*ROTATE)
