"""How keys come to the proxies, as the portal tells it (contract 3). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keyturn.api import Problem
from keyturn_apiportal.layer7.answers import PLAIN_CHARS_MAX, items, member, text
from keyturn_apiportal.layer7.options import Proxy

BY_HAND = {"ON_DEMAND": "On Demand", "MANUAL": "Manual"}
MESSAGE_CHARS_MAX = 60
UNPRINTED = re.compile(r"[^\w .,:;()'/-]")


def types_of(body: object) -> dict[str, str]:
    """By the name of a proxy, how keys come to it."""
    return {text(member(one, "name")): text(member(one, "deploymentType")).upper() for one in items(body)}


def problems(types: Mapping[str, str], places: Iterable[Proxy]) -> Iterator[Problem]:
    """Proxies that hear of a new secret only when somebody pushes it, or that the portal does not know."""
    for place in places:
        if not place.name or not types:
            continue
        if place.name not in types:
            hint = "set name in proxies to what the portal calls it"
            yield Problem(code="unknown-proxy", text=f"the portal has no proxy {place.name}", fatal=False, hint=hint)
        elif types[place.name] in BY_HAND:
            text_ = f"keys come to {place.name} only {BY_HAND[types[place.name]]}"
            hint = "deploy the key there after each rotation, or have the proxy's deployment type set to Automatic"
            yield Problem(code="on-demand-proxy", text=text_, fatal=False, hint=hint)


def by_hand(types: Mapping[str, str], place: Proxy) -> str:
    """What a person has to do for this proxy; empty where nothing."""
    kind = BY_HAND.get(types.get(place.name, ""), "")
    return f"{kind}: somebody must deploy the key" if kind else ""


def state_of(body: object, place: Proxy, states: Mapping[str, str]) -> str:
    """The state of a key on this proxy and the portal's message; empty where it is deployed, or nothing is known."""
    found: Any = next((one for one in items(body) if member(one, "proxyName") == place.name), None)
    state = text(member(found, "status"))
    if not state or states.get(state) == "deployed" or not re.fullmatch(r"[A-Z_]{1,40}", state):
        return ""
    message = said(text(member(found, "message")))
    return f"{state}{f': {message}' if message else ''}"


def said(message: str) -> str:
    """A message as it may be shown: short, and nothing in it that could be a value (contract 7.14)."""
    plain = UNPRINTED.sub(" ", message)
    if any(len(word) > PLAIN_CHARS_MAX for word in plain.split()):
        return ""
    return plain[:MESSAGE_CHARS_MAX].strip()
