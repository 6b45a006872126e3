"""A team with a key at an API portal, in a folder: the simulated portal, its proxies, a place to serve, and a clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from keyturn.clock import Clock
from keyturn.testing.clock import FakeClock
from keyturn_apiportal.azure.simulator import Simulator as Azure
from keyturn_apiportal.layer7.simulator import Simulator as Layer7
from keyturn_apiportal.wso2.simulator import Simulator as Wso2
from program import Folder, from_files

SECRET = "partners/key"
SERVED = [{"to": "served", "path": "key.json"}]
CUTOVER = {"strategy": "cutover", "accept_outage": "60s"}
SIDE_BY_SIDE = {"strategy": "auto", "hold": "10m"}

Bundle = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of replacing a credential. `make` builds the simulator, `target` and `account` are configured."""

    make: Callable[..., Any]
    target: Mapping[str, Any] = field(default_factory=dict)
    account: Mapping[str, Any] = field(default_factory=dict)
    switches: Mapping[str, Any] = field(default_factory=dict)
    in_place: bool = False
    hashed: bool = False
    calls: tuple[str, ...] = ()

    @property
    def overlap(self) -> dict[str, str]:
        return CUTOVER if self.in_place else SIDE_BY_SIDE


def layer7(way: str, *, hashed: bool = False, calls: tuple[str, ...] = (), **switches: Any) -> Way:
    """A way of the Layer7 portal. `calls` are the kinds of its changing calls, in order."""

    def make(**how: Any) -> Layer7:
        return Layer7(proxies=3, hashed=hashed, **how)

    target = {"way": way, "hashed": "always"} if hashed else {"way": way}
    allowed = {} if hashed else {"hashing": "plaintext"}
    return Way(
        make=make,
        target=target,
        account={"watch": "0s", "token_life": "0s"},
        switches={**allowed, **switches},
        in_place=way != "second-key",
        hashed=hashed,
        calls=calls,
    )


def other(make: Callable[..., Any], *calls: str) -> Way:
    def made(**how: Any) -> Any:
        return make(gateways=3, **how)

    return Way(make=made, calls=calls)


KEY_CALLS = ("post-key", "put-key", "delete")
WAYS: Mapping[str, Way] = {
    "patch": layer7("patch", calls=("patch",)),
    "patch-hashed": layer7("patch", hashed=True, calls=("patch",)),
    "put": layer7("put", calls=("put-key",), version="5.1"),
    "put-hashed": layer7("put", hashed=True, calls=("put-key",), version="5.1"),
    "legacy": layer7("legacy", calls=("put-legacy",), version="4.5"),
    "legacy-hashed": layer7("legacy", hashed=True, calls=("put-legacy",), version="4.5"),
    "second-key": layer7("second-key", calls=KEY_CALLS),
    "second-key-hashed": layer7("second-key", hashed=True, calls=KEY_CALLS),
    "slots": other(Azure, "regenerate-primary", "regenerate-secondary"),
    "same-id": other(Wso2, "generate", "revoke"),
}
IN_PLACE = [name for name, way in WAYS.items() if way.in_place]
BESIDE = [name for name, way in WAYS.items() if not way.in_place]


@dataclass
class Partners(Folder):
    """`account` and `secret` change what is configured, `sinks` are further accounts."""

    way: Way = field(kw_only=True)
    sim: Any = field(kw_only=True)
    account: Mapping[str, Any] = field(default_factory=dict)
    secret: Mapping[str, Any] = field(default_factory=dict)
    target: Mapping[str, Any] = field(default_factory=dict)
    sinks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> None:
        """Everything in the folder, with the portal's login."""
        self.furnish(self.sim.environment)
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the configuration; `changes` are of the secret, from now on."""
        self.secret = {**self.secret, **changes}
        given = self.sim.configuration(self.folder)
        [account], [secret] = given["providers"].values(), given["secrets"].values()
        account = {**from_files(account), "sync": "60s", "settle": "60s", **self.way.account, **self.account}
        target = {**secret["target"], **self.way.target, **self.target}
        whole = {"provider": "portal", "target": target, "overlap": self.way.overlap, "sinks": SERVED, **self.secret}
        self.write(
            {
                "providers": {"portal": account},
                "sinks": {"served": {"kind": "file", "folder": "served"}, **self.sinks},
                "secrets": {SECRET: whole},
                **self.more,
            }
        )

    def begin(self) -> None:
        """Take over what is in use."""
        [one] = self.sim.initial.values()
        handle = ["--handle", one["handle"]] if "handle" in one and not self.way.in_place else []
        self.well("adopt", SECRET, "--from-stdin", *handle, stdin=json.dumps(one["bundle"]))

    # what is there

    @property
    def proxies(self) -> list[str]:
        """The proxies' base URLs."""
        return list(self.sim.urls[1:])

    def served(self) -> Bundle:
        """What consumers read; empty where there is nothing."""
        try:
            found = json.loads((self.folder / "served/key.json").read_text())
        except FileNotFoundError:
            return {}
        assert isinstance(found, dict)
        return found

    def accepted_at(self, bundle: Mapping[str, str]) -> list[str]:
        """The proxies that take this value, by the simulator's own knowledge."""
        return [proxy for proxy in self.proxies if bundle and accepts(self.sim, proxy, bundle)]

    def everywhere(self, bundle: Mapping[str, str]) -> bool:
        return self.accepted_at(bundle) == self.proxies

    def escrowed(self) -> list[Bundle]:
        """Every value that opens from the escrow, sealed raw answers' included."""
        with self.estate() as estate:
            escrow = estate.bench.escrow
            kept = [one.version_id for one in escrow.listing(SECRET) if one.kind == "version"]
            return [bundle.reveal() for id_ in kept if (bundle := escrow.open_version(SECRET, id_))]

    def safe(self) -> bool:
        """Promise P1: a value that every proxy takes is served, or opens from the escrow; or the portal shows it."""
        return any(self.everywhere(known) for known in (self.served(), *self.escrowed()))

    def commits(self, *kinds: str) -> list[dict[str, Any]]:
        """The changes of ours that took effect at the portal (of these kinds), in order."""
        if isinstance(self.sim, Layer7):
            found = [entry for entry in self.sim.log.commits() if entry["by"] == "api"]
        else:
            found = [entry for entry in self.sim.log if entry["status"] in (200, 201, 204)]
        return [entry for entry in found if entry["on"] in (kinds or self.way.calls)]


def accepts(sim: Any, proxy: str, bundle: Mapping[str, str]) -> bool:
    """Whether this proxy takes this value now; one that is down takes none."""
    down = isinstance(sim, Layer7) and sim.proxy(proxy).state.down_since is not None
    return not down and bool(sim.accepts(proxy, *bundle.values()))


def call(client: httpx.Client, proxy: str, bundle: Bundle) -> bool:
    """One call of a consumer, with what it has read."""
    if "subscription_key" in bundle:
        key = {"ocp-apim-subscription-key": bundle["subscription_key"]}
        answer = client.get(f"{proxy}/payments/ping", headers=key)
    else:
        path = "/auth/oauth/v2/token" if bundle["client_id"].startswith("l7") else "/oauth2/token"
        login = (bundle["client_id"], bundle["client_secret"])
        answer = client.post(f"{proxy}{path}", data={"grant_type": "client_credentials"}, auth=login)
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


@contextmanager
def partners(folder: Path, name: str, *, clock: Clock | None = None, **more: Any) -> Iterator[Partners]:
    """A team that is set up and has adopted what is in use; its portal's clock is its own."""
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        one, way = clock or FakeClock(), WAYS[name]
        driven = {"wait": one.wait} if isinstance(one, FakeClock) else {}
        sim = stack.enter_context(way.make(now=one.now, **driven))
        sim.switch(hang_s=20.0, **way.switches)  # on a driven clock a longer one would outlive the lease
        built = Partners(folder=folder, way=way, sim=sim, clock=one, **more)
        built.build()
        yield built
