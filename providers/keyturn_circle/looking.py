"""What `inspect` tells of an account: what is wrong with it, and what to do about that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from keyturn.api import InspectRequest, Mode, NotSent, PluginError, Problem
from keyturn_circle.options import Account

HINTS: Mapping[str, str] = {
    "unreachable": "check network, proxy and base_url",
    "tls-unverified": "let the option ca name a PEM file with the authority's certificate",
    "ca-unusable": "let the option ca name a PEM file with the authority's certificate, or leave it out",
    "throttled": "wait a second, then try again; somebody else calls with a key of this entity too",
}
ANY_HINT = "nothing to do here if it passes; look again with: keyturn check --online"


def trouble(error: PluginError) -> Problem:
    """Why the vendor could not be looked at."""
    hint = error.hint or HINTS.get(error.code, ANY_HINT)
    passing = isinstance(error, NotSent) and error.code != "ca-unusable"
    return Problem(code=error.code or "vendor-unavailable", text=error.why, passing=passing, hint=hint)


def remarks(request: InspectRequest, account: Account) -> Iterator[Problem]:
    """What is known without asking."""
    name = request.call.secret
    if request.mode is Mode.FIRST and account.environment == "live" and not request.knowing:
        # Circle's own guidance: no tool registers a LIVE secret on a user's behalf (contract 2.2).
        yield Problem(
            code="live-registration",
            text="this registers the first secret of a LIVE entity: whoever loses it and its recovery file loses the "
            "wallets",
            hint=f"keyturn rotate {name} --first --force --reason TEXT",
        )
    if account.probe == "sign-message" and not request.call.target.canary_wallet:
        yield Problem(
            code="no-canary",
            text="there is no canary_wallet, so nothing shows which secret is active",
            fatal=False,
            hint=f"keyturn plugin circle canary {name}, as soon as a secret is registered; then set canary_wallet in "
            "its target",
        )
