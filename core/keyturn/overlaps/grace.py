"""`grace`: old versions end by themselves, by the vendor's grace or at an expiry of their own. Designed for zero."""

from __future__ import annotations

from keyturn.api import Choices, ChooseRequest, Kind, Plugin, Problem, Traits, hookimpl


class Grace:
    """Nothing to retire: the old version ends without a call. What the vendor really does is observed and recorded."""

    def choose(self, request: ChooseRequest, /) -> Choices:
        """Choose no hold and no retire; declare an outage where nothing covers it. Pure."""
        if request.traits.own_expiry:
            return Choices(why="old and new are accepted side by side, each until its own expiry")
        return _replaced(request)


def _replaced(request: ChooseRequest) -> Choices:
    """For a vendor that replaces: only what is sure to live on is relied on."""
    traits, policy = request.traits, request.policy
    lives_on_s = max(traits.grace_s or 0.0, traits.derived_s)
    outage_s = 0.0 if lives_on_s else traits.activation_s
    return Choices(
        drains=request.drainable,
        outage_s=outage_s,
        bridge=policy.bridge,
        why=_why(traits, lives_on_s),
        problems=_problems(traits, outage_s, policy.accept_outage_s or 0.0),
    )


def _why(traits: Traits, lives_on_s: float) -> str:
    why = f"what consumers hold lives on for {lives_on_s:g} s" if lives_on_s else "the old version dies at once"
    if traits.grace_max_s <= (traits.grace_s or 0.0):
        return why
    return f"{why}; whether the vendor still accepts the old version (up to {traits.grace_max_s:g} s) is looked at"


def _problems(traits: Traits, outage_s: float, accepted_s: float) -> tuple[Problem, ...]:
    if traits.grace_s is None:
        text = "grace needs a vendor whose issue ends the old version, or versions that end by their own expiry"
        return (Problem(code="overlap-unfit", text=text, hint="set overlap.strategy to auto"),)
    if outage_s <= accepted_s:
        return ()
    return (
        Problem(
            code="outage-not-accepted",
            text=f"the old version dies at once: up to {outage_s:g} s without a valid one",
            hint="set overlap.accept_outage to the outage you accept",
        ),
    )


@hookimpl
def keyturn_plugin() -> Plugin:
    """Register `grace`."""
    return Plugin(
        kind=Kind.OVERLAP,
        name="grace",
        summary="the vendor replaces the old version, which lives on for a while, or not",
        load=lambda: Grace,
    )
