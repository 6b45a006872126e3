"""What `/simulator/faults` takes: how the simulated portal and its proxies are to be, and what is to go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keyturn_apiportal.layer7.simulator_app import Proxy
from keyturn_apiportal.layer7.simulator_switches import ProxySwitches, changed
from keyturn_apiportal.layer7.simulator_world import World

if TYPE_CHECKING:
    from keyturn.simulator_faults import FaultBook

ORDERS: Mapping[str, tuple[type, ...]] = {
    "faults": (list,),
    "switches": (dict,),
    "proxies": (dict,),
    "hostile": (int, type(None)),
    "revoke": (str,),
    "clear": (bool,),
}
"""The orders, as JSON has them."""


def follow(orders: Mapping[str, Any], world: World, book: FaultBook, proxies: Mapping[str, Proxy]) -> None:
    """Do as told. Raises ValueError or TypeError for what is not understood, and then nothing has changed."""
    wrong = [name for name, value in orders.items() if not isinstance(value, ORDERS.get(name, ()))]
    if wrong or orders.get("revoke", "tokens") != "tokens":
        message = f"expected orders: {', '.join(ORDERS)}; revoke: tokens"
        raise ValueError(message)
    faults = [book.understood(one) for one in orders.get("faults", [])]
    wanted = orders.get("proxies", {})
    with world.lock:
        world.tick()
        told = {name: _switched(proxies, name, some) for name, some in wanted.items()}
        world.switch(orders.get("switches", {}))
        for name, switches in told.items():
            proxies[name].state.switches = switches
        if orders.get("clear"):
            book.clear()
        book.faults.extend(faults)
        if "hostile" in orders:
            book.hostile(orders["hostile"])
        if "revoke" in orders:
            world.tokens.clear()
    _take_down(proxies, wanted)


def _switched(proxies: Mapping[str, Proxy], name: str, wanted: Any) -> ProxySwitches:
    """The switches of one proxy as they are to be. Raises ValueError."""
    if name not in proxies or not isinstance(wanted, dict) or not isinstance(wanted.get("down", False), bool):
        message = f"expected proxies: switches by name, for {', '.join(proxies)}"
        raise ValueError(message)
    return changed(proxies[name].state.switches, {key: value for key, value in wanted.items() if key != "down"})


def _take_down(proxies: Mapping[str, Proxy], wanted: Mapping[str, Mapping[str, Any]]) -> None:
    """Outside the lock: a proxy that stops may wait for it."""
    for name, changes in wanted.items():
        if "down" in changes:
            (proxies[name].stop if changes["down"] else proxies[name].start)()
