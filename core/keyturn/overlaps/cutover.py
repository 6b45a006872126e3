"""`cutover`: the old version dies at once. Drains consumers, declares the outage; refused unless it is accepted."""

from __future__ import annotations

from keyturn.api import Choices, ChooseRequest, Kind, Plugin, Problem, hookimpl


class Cutover:
    """One version at a time: between the old one's end and the new one's publish lies a gap."""

    def choose(self, request: ChooseRequest, /) -> Choices:
        """Choose drain and outage. Pure."""
        traits, policy = request.traits, request.policy
        problems = []
        if traits.coexist:
            text = "cutover is for vendors whose issue ends the old version"
            problems.append(Problem(code="overlap-unfit", text=text, hint="set overlap.strategy to auto, or to dual"))
        elif not policy.accept_outage_s:
            problems.append(
                Problem(
                    code="outage-not-accepted",
                    text="the old version dies at once, and the policy accepts no outage",
                    hint="set overlap.accept_outage to the outage you accept",
                )
            )
        return Choices(
            drains=request.drainable,
            outage_s=policy.accept_outage_s or 0.0,
            bridge=policy.bridge,
            why="the vendor takes one version at a time",
            problems=tuple(problems),
        )


@hookimpl
def keyturn_plugin() -> Plugin:
    """Register `cutover`."""
    return Plugin(
        kind=Kind.OVERLAP,
        name="cutover",
        summary="the old version dies at once; consumers drain, the gap is measured",
        load=lambda: Cutover,
    )
