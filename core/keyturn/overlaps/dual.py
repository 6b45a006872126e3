"""`dual`: several versions are accepted until one is removed. Hold, retire, prove; no outage."""

from __future__ import annotations

from keyturn.api import Choices, ChooseRequest, Kind, Plugin, Problem, Revoke, hookimpl

HOLD_S = 600.0
"""Default hold: ten minutes of soak between publish and retire (contracts/pingauthorize.md section 6)."""


class Dual:
    """Old and new are accepted side by side until the old one is retired."""

    def choose(self, request: ChooseRequest, /) -> Choices:
        """Choose a hold and a retire. Pure."""
        traits, policy = request.traits, request.policy
        problems = []
        if not traits.coexist:
            problems.append(Problem(code="overlap-unfit", text="dual needs a vendor that accepts two versions at once"))
        elif traits.slots:
            problems.append(Problem(code="overlap-unfit", text="this vendor has fixed slots; use alternating"))
        elif traits.revoke is Revoke.NONE:
            problems.append(Problem(code="overlap-unfit", text="dual needs a vendor that can be told to refuse"))
        hold_s = HOLD_S if policy.hold_s is None else policy.hold_s
        return Choices(
            holds=True,
            hold_s=hold_s + traits.derived_s,
            retires=True,
            why="the vendor accepts old and new together, so nothing has to stop",
            problems=tuple(problems),
        )


@hookimpl
def keyturn_plugin() -> Plugin:
    """Register `dual`."""
    return Plugin(
        kind=Kind.OVERLAP,
        name="dual",
        summary="old and new accepted side by side until the old one is retired",
        load=lambda: Dual,
    )
