"""Registration. Imports neither an HTTP library nor the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyturn.api import Kind, Plugin, hookimpl
from keyturn_pingauthorize.options import Account, Target, subject, traits


def _load() -> Callable[..., Any]:
    from keyturn_pingauthorize.provider import PingAuthorize  # noqa: PLC0415 - lazy, as the registration promises

    return PingAuthorize


def _simulator() -> Callable[..., Any]:
    from keyturn_pingauthorize.simulator import simulator  # noqa: PLC0415 - needs the `sim` extra

    return simulator


@hookimpl
def keyturn_plugin() -> Plugin:
    """The provider `pingauthorize`."""
    return Plugin(
        kind=Kind.PROVIDER,
        name="pingauthorize",
        summary="shared secrets of the PingAuthorize Sideband API",
        load=_load,
        account=Account,
        target=Target,
        traits=traits,
        subject=subject,
        simulator=_simulator,
    )
