"""What the PATH of a reference `SINK:PATH#FIELD` means: a place of that sink, by the sink's own rule. Pure."""

from __future__ import annotations

from typing import Any

from keyturn.config.model import Account


def place_of(account: Account, path: str) -> Any:
    """The place's options, of the sink plugin's own type. Raises ValueError with one line for people."""
    plugin = account.plugin
    if plugin.place is None or plugin.target is None:
        message = f"sinks of kind {account.kind} can not be read by reference"
        raise ValueError(message)
    try:
        return plugin.target.model_validate(plugin.place(account.options, path))
    except Exception as error:
        # Somebody else's code: its own message may hold anything.
        message = f"{path} is no place of a sink of kind {account.kind}"
        raise ValueError(message) from error


def subject_of(account: Account, place: Any) -> str | None:
    """The place's canonical name, where the plugin has such names."""
    return account.plugin.subject(account.options, place) if account.plugin.subject else None
