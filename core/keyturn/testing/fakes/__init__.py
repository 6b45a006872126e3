"""Fake vendors with providers that obey the contracts of real ones: in process, strict, misbehaving when told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.api import Plugin
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes import approle, console, grace, hashed, second_key, slots, token
from keyturn.testing.fakes import open as open_
from keyturn.testing.fakes.world import Credential, Endpoint, FakeProvider, Mutation, Vendor


@dataclass(frozen=True)
class Fake:
    """A fake by name: its registration, and how to make its far side.

    `make_vendor` takes the account options (without `world`) that the plugin is configured with; the vendor's
    `account` is those options, validated, with itself as `world`: `plugin.load()(context, vendor.account)`.
    """

    name: str
    plugin: Plugin
    make_vendor: Callable[[FakeClock, Mapping[str, Any]], Vendor]


FAKES: dict[str, Fake] = {
    fake.name: fake
    for fake in (
        Fake("open", open_.PLUGIN, open_.OpenVendor),
        Fake("grace", grace.PLUGIN, grace.GraceVendor),
        Fake("lingering", grace.LINGERING, grace.LingeringVendor),
        Fake("console", console.PLUGIN, console.ConsoleVendor),
        Fake("hashed", hashed.PLUGIN, hashed.HashedVendor),
        Fake("second-key", second_key.PLUGIN, second_key.SecondKeyVendor),
        Fake("slots", slots.PLUGIN, slots.SlotsVendor),
        Fake("approle", approle.PLUGIN, approle.AppRoleVendor),
        Fake("token", token.PLUGIN, token.TokenVendor),
    )
}

__all__ = ["FAKES", "Credential", "Endpoint", "Fake", "FakeProvider", "Mutation", "Vendor"]
