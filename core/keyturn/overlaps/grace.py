"""`grace`: the vendor replaces the old version, which lives on for a while, or not. Designed for zero."""

from __future__ import annotations

from keyturn.api import Choices, ChooseRequest, Kind, Plugin, Problem, hookimpl


class Grace:
    """Nothing to retire: the vendor ends the old version itself. What it really does is observed and recorded."""

    def choose(self, request: ChooseRequest, /) -> Choices:
        """Choose no hold and no retire; declare an outage where nothing bridges it. Pure."""
        traits, policy = request.traits, request.policy
        bridge_s = max(traits.grace_s or 0.0, traits.derived_s)
        outage_s = 0.0 if bridge_s else traits.activation_s
        problems = []
        if traits.grace_s is None:
            text = "grace needs a vendor whose issue ends the old version"
            problems.append(Problem(code="overlap-unfit", text=text, hint="set overlap.strategy to auto"))
        elif outage_s > (policy.accept_outage_s or 0.0):
            problems.append(
                Problem(
                    code="outage-not-accepted",
                    text=f"the old version dies at once: up to {outage_s:g} s without a valid one",
                    hint="set overlap.accept_outage to the outage you accept",
                )
            )
        why = f"what consumers hold lives on for {bridge_s:g} s" if bridge_s else "the old version dies at once"
        return Choices(drains=request.drainable, outage_s=outage_s, why=why, problems=tuple(problems))


@hookimpl
def keyturn_plugin() -> Plugin:
    """Register `grace`."""
    return Plugin(
        kind=Kind.OVERLAP,
        name="grace",
        summary="the vendor replaces the old version, which lives on for a while, or not",
        load=lambda: Grace,
    )
