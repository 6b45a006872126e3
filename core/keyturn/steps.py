"""The step list of a rotation: derived from traits and choices by one pure function, never composed by hand."""

from __future__ import annotations

from enum import StrEnum

from keyturn.model import Maker, Mode, Traits
from keyturn.plugins.overlap import Choices


class Step(StrEnum):
    """The steps of the protocol, in the order of a rotation with overlap."""

    PREFLIGHT = "preflight"
    MINT = "mint"
    STAGE = "stage"
    BRIDGE = "bridge"
    QUIESCE = "quiesce"
    ISSUE = "issue"
    VERIFY = "verify"
    PUBLISH = "publish"
    RELEASE = "release"
    STORE = "store"
    ANNOUNCE = "announce"
    HOLD = "hold"
    RETIRE = "retire"
    PROVE = "prove"
    TIDY = "tidy"


NO_OLD_ONE = {Step.BRIDGE, Step.QUIESCE, Step.RELEASE, Step.HOLD, Step.RETIRE, Step.PROVE}
OLD_IS_DEAD = {Step.BRIDGE, Step.QUIESCE, Step.RELEASE, Step.HOLD}
EXISTING_VERSION = {Step.MINT, Step.STAGE, Step.BRIDGE, Step.QUIESCE, Step.ISSUE, Step.RELEASE}

LEFT_OUT: dict[Mode, set[Step]] = {
    Mode.NORMAL: set(),
    Mode.BREAK_GLASS: {Step.BRIDGE},
    Mode.FIRST: NO_OLD_ONE,
    Mode.CURRENT_DEAD: OLD_IS_DEAD,
    Mode.ROLLBACK: EXISTING_VERSION,
}


def derive(traits: Traits, choices: Choices, mode: Mode = Mode.NORMAL) -> tuple[Step, ...]:
    """The steps of one rotation, each at most once.

    A value that is ours alone is staged before issue, one that the vendor has a part in after it. Where the old one
    dies by issue and the answer is the commit, publish comes before verify: nothing avoidable lies in the gap. For the
    same reason what bridges it is made before anybody drains, and artefacts are stored when consumers go on already.
    Versions that end by their own expiry are never retired.
    """
    ours, vendors = bool(traits.made_by(Maker.US)), bool(traits.made_by(Maker.VENDOR))
    drains = traits.dies_by_issue and choices.drains
    retires = traits.coexist and not traits.own_expiry
    answer_first = traits.dies_by_issue and traits.answer_is_commit
    wanted = {
        Step.MINT: ours,
        Step.BRIDGE: traits.dies_by_issue and bool(choices.bridge),
        Step.QUIESCE: drains,
        Step.RELEASE: drains,
        Step.STORE: bool(traits.artefacts),
        Step.HOLD: retires,
        Step.RETIRE: retires,
    }
    order = [Step.PREFLIGHT, Step.MINT, Step.BRIDGE, Step.QUIESCE, Step.ISSUE]
    order.insert(5 if vendors else 2, Step.STAGE)
    order += [Step.PUBLISH, Step.VERIFY] if answer_first else [Step.VERIFY, Step.PUBLISH]
    order += [Step.RELEASE, Step.STORE, Step.ANNOUNCE, Step.HOLD, Step.RETIRE, Step.PROVE, Step.TIDY]
    return tuple(step for step in order if wanted.get(step, True) and step not in LEFT_OUT[mode])
