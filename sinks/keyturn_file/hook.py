"""Registers the file sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyturn.api import Kind, Plugin, hookimpl
from keyturn_file.options import Account, Place, subject, traits

if TYPE_CHECKING:
    from keyturn_file.sink import FileSink


@hookimpl
def keyturn_plugin() -> Plugin:
    """The registration; the implementation is imported when it is used."""
    return Plugin(
        kind=Kind.SINK,
        name="file",
        summary="a file on this machine, replaced whole, for consumers that read files",
        load=_load,
        account=Account,
        target=Place,
        traits=traits,
        subject=subject,
        place=lambda _account, path: {"path": path},
    )


def _load() -> type[FileSink]:
    from keyturn_file.sink import FileSink  # noqa: PLC0415 - listing plugins must not import them

    return FileSink
