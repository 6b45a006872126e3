"""Registration. Imports neither cryptography, nor an HTTP library, nor the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyturn.api import Kind, Plugin, hookimpl
from keyturn_circle.options import Account, Target, subject, traits


def _load() -> Callable[..., Any]:
    from keyturn_circle.provider import Circle  # noqa: PLC0415 - lazy: needs the `circle` extra

    return Circle


def _simulator() -> Callable[..., Any]:
    from keyturn_circle.simulator import simulator  # noqa: PLC0415 - needs the `sim` extra

    return simulator


@hookimpl
def keyturn_plugin() -> Plugin:
    """The provider `circle`."""
    return Plugin(
        kind=Kind.PROVIDER,
        name="circle",
        summary="entity secrets of Circle's developer-controlled wallets, with their recovery files",
        load=_load,
        account=Account,
        target=Target,
        traits=traits,
        subject=subject,
        extras=("reset",),
        requires="keyturn[circle]",
        commands={
            "canary": "make an empty wallet that shows which secret is active; prints its id for canary_wallet",
            "ciphertext": "print a fresh one-use ciphertext of the current secret, for scripts that call Circle",
        },
        simulator=_simulator,
    )
