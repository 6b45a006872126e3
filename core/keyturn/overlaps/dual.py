"""`dual`: several versions are accepted until one is removed. Hold, retire, prove; no outage."""

from __future__ import annotations

from keyturn.api import Choices, ChooseRequest, Kind, Plugin, Problem, Revoke, Traits, hookimpl

HOLD_S = 600.0
"""Default hold: ten minutes of soak between publish and retire (docs/contracts/pingauthorize.md, section 6)."""


class Dual:
    """Old and new are accepted side by side until the old one is retired."""

    def choose(self, request: ChooseRequest, /) -> Choices:
        """Choose a hold and a retire. Pure."""
        traits, policy = request.traits, request.policy
        unfit = _unfit(traits)
        problems = [Problem(code="overlap-unfit", text=unfit, hint="set overlap.strategy to auto")] if unfit else []
        hold_s = HOLD_S if policy.hold_s is None else policy.hold_s
        return Choices(
            holds=True,
            hold_s=hold_s + traits.derived_s,
            retires=True,
            why="the vendor accepts old and new together, so nothing has to stop",
            problems=tuple(problems),
        )


def _unfit(traits: Traits) -> str:
    """Why a vendor is not for `dual`; empty where it is."""
    if not traits.coexist:
        return "dual needs a vendor that accepts two versions at once"
    if traits.slots:
        return "dual needs a vendor without fixed slots"
    if traits.revoke is Revoke.NONE:
        return "dual needs a vendor that can be told to refuse"
    return ""


@hookimpl
def keyturn_plugin() -> Plugin:
    """Register `dual`."""
    return Plugin(
        kind=Kind.OVERLAP,
        name="dual",
        summary="old and new accepted side by side until the old one is retired",
        load=lambda: Dual,
    )
