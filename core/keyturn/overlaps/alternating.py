"""`alternating`: fixed slots or identities used in turn. Chooses the idle slot; retire leaves it re-armable."""

from __future__ import annotations

from keyturn.api import Choices, ChooseRequest, Kind, Plugin, Problem, hookimpl

HOLD_S = 600.0


class Alternating:
    """The new version goes into a slot that no live version uses."""

    def choose(self, request: ChooseRequest, /) -> Choices:
        """Choose the idle slot. Pure."""
        traits, policy = request.traits, request.policy
        taken = {live.slot for live in request.live}
        idle = next((slot.name for slot in traits.slots if slot.name not in taken), None)
        problems = []
        if not traits.slots or not traits.coexist:
            text = "alternating needs a vendor with two slots or more"
            problems.append(Problem(code="overlap-unfit", text=text, hint="set overlap.strategy to auto"))
        elif idle is None:
            busy = ", ".join(sorted(slot for slot in taken if slot))
            problems.append(
                Problem(
                    code="no-idle-slot",
                    text=f"every slot holds a live version ({busy})",
                    hint="let the hold end first",
                )
            )
        hold_s = HOLD_S if policy.hold_s is None else policy.hold_s
        return Choices(
            slot=idle,
            holds=True,
            hold_s=hold_s + traits.derived_s,
            retires=True,
            why=f"slot {idle} is idle, so the live one is not touched",
            problems=tuple(problems),
        )


@hookimpl
def keyturn_plugin() -> Plugin:
    """Register `alternating`."""
    return Plugin(
        kind=Kind.OVERLAP,
        name="alternating",
        summary="fixed slots used in turn; the idle one is renewed",
        load=lambda: Alternating,
    )
