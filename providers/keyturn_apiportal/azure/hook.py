"""Registration. Imports neither an HTTP library nor the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyturn.api import Kind, Plugin, hookimpl
from keyturn_apiportal.azure.options import Account, Target, subject, traits


def _load() -> Callable[..., Any]:
    from keyturn_apiportal.azure.adapter import provider  # noqa: PLC0415 - lazy, as the registration promises

    return provider


def _simulator() -> Callable[..., Any]:
    from keyturn_apiportal.azure.simulator import simulator  # noqa: PLC0415 - needs the `sim` extra

    return simulator


@hookimpl
def keyturn_plugin() -> Plugin:
    """The provider `azure-apim`."""
    return Plugin(
        kind=Kind.PROVIDER,
        name="azure-apim",
        summary="subscription keys of Azure API Management",
        load=_load,
        account=Account,
        target=Target,
        traits=traits,
        subject=subject,
        simulator=_simulator,
    )
