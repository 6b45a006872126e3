"""Registration. Imports neither an HTTP library nor the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyturn.api import Kind, Plugin, hookimpl
from keyturn_apiportal.layer7.options import Account, Target, subject, traits


def _load() -> Callable[..., Any]:
    from keyturn_apiportal.layer7.adapter import provider  # noqa: PLC0415 - lazy, as the registration promises

    return provider


def _simulator() -> Callable[..., Any]:
    from keyturn_apiportal.layer7.simulator import simulator  # noqa: PLC0415 - needs the `sim` extra

    return simulator


@hookimpl
def keyturn_plugin() -> Plugin:
    """The provider `apiportal`."""
    return Plugin(
        kind=Kind.PROVIDER,
        name="apiportal",
        summary="client secrets of applications in the Layer7 API Developer Portal",
        load=_load,
        account=Account,
        target=Target,
        traits=traits,
        subject=subject,
        simulator=_simulator,
    )
