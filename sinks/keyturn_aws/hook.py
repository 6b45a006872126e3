"""Registers the AWS Secrets Manager sink. Imports neither boto3 nor the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keyturn.api import Kind, Plugin, hookimpl
from keyturn_aws.options import Account, Place, subject, traits

if TYPE_CHECKING:
    from keyturn_aws.sink import AwsSink


@hookimpl
def keyturn_plugin() -> Plugin:
    """The registration; the implementation is imported when it is used."""
    return Plugin(
        kind=Kind.SINK,
        name="aws",
        summary="a secret in AWS Secrets Manager",
        load=_load,
        account=Account,
        target=Place,
        traits=traits,
        subject=subject,
        place=lambda _account, path: {"name": path},
        requires="keyturn[aws]",
        simulator=_simulator,
    )


def _load() -> type[AwsSink]:
    from keyturn_aws.sink import AwsSink  # noqa: PLC0415 - listing plugins must not import boto3

    return AwsSink


def _simulator() -> Callable[..., Any]:
    from keyturn_aws.simulator import simulator  # noqa: PLC0415 - needs the `sim` extra

    return simulator
