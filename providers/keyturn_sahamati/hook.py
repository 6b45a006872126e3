"""Registration. Imports neither an HTTP library nor the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyturn.api import Kind, Plugin, hookimpl
from keyturn_sahamati.options import Account, Target, source, subject, traits


def _load() -> Callable[..., Any]:
    from keyturn_sahamati.provider import Sahamati  # noqa: PLC0415 - lazy, as the registration promises

    return Sahamati


def _simulator() -> Callable[..., Any]:
    from keyturn_sahamati.simulator import simulator  # noqa: PLC0415 - needs the `sim` extra

    return simulator


@hookimpl
def keyturn_plugin() -> Plugin:
    """The provider `sahamati`."""
    return Plugin(
        kind=Kind.PROVIDER,
        name="sahamati",
        summary="entity secrets and entity tokens of Sahamati's Identity & Access Management",
        load=_load,
        account=Account,
        target=Target,
        traits=traits,
        subject=subject,
        source=source,
        simulator=_simulator,
    )
