"""The simulator seam: what `Plugin.simulator()(options)` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class RunningSimulator(Protocol):
    """A vendor's or a sink's stand-in. Listens on loopback only, between `start` and `stop`.

    One may also have `notes`, a list of lines for people: what to open or to type, once it runs.
    """

    def start(self) -> None:
        """Take connections on return."""

    def stop(self) -> None:
        """Take none any more."""

    @property
    def urls(self) -> list[str]:
        """Where it listens, once started."""

    @property
    def environment(self) -> dict[str, str]:
        """What the `env:` references of `configuration` resolve to: made-up logins."""

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """By secret: `handle` and `bundle` (and `slot`) of what is in use already and can be adopted."""

    def configuration(self, folder: Path) -> dict[str, Any]:
        """`providers` and `secrets` of a configuration in `folder` without sinks; of a sink's simulator its `sinks`."""
