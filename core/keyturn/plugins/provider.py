"""The provider seam: one vendor, one kind of secret, one account, in one run. Five verbs and three optional extras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from keyturn.model import Fields, Half, Mode, Problem, Settled, Verdict, Version
from keyturn.secret import Bundle, Secret


@dataclass(frozen=True, kw_only=True)
class Call:
    """What every provider call carries.

    `attempt_id` is new for each attempt and journaled before it is sent: send it along wherever the vendor takes a
    label. `deadline_at` is epoch seconds; a call that outlives it counts as doubt. `target` is this provider's own
    target options, already validated. `source` is the current version of the secret that this one is derived from
    (`Plugin.source`), with its value; None where it has none, or none is named.
    """

    secret: str
    rotation_id: str
    attempt_id: str
    deadline_at: float
    target: Any = None
    compromised: bool = False
    source: Version | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One live credential found at the vendor."""

    handle: str
    slot: str | None = None
    enabled: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class InspectRequest:
    """`current`: what the journal holds as current, with its value where known. `want_value`: read it if readable.

    `known` are the handles of all versions that the journal issued or adopted: anything else at the vendor is foreign.
    `mode` is how the rotation that asks is to begin (`normal` where none does). `knowing`: the operator said, by name
    and with a reason, that what can not be taken back may be done.
    """

    call: Call
    current: Version | None = None
    known: tuple[str, ...] = ()
    want_value: bool = False
    mode: Mode = Mode.NORMAL
    knowing: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class InspectResponse:
    """The vendor as it is now.

    `endpoints` are all places where a version must be accepted; `seen` all credentials of this subject; `witness`
    non-secret facts that tell a later `settle` whether something changed; `vendor_now` the vendor's clock (epoch
    seconds), where it shows one. `named` is the handle of the current version, told by its value: one that is about to
    be adopted has none yet.
    """

    subject: str
    endpoints: tuple[str, ...]
    seen: tuple[Seen, ...] = ()
    bundle: Bundle | None = None
    problems: tuple[Problem, ...] = ()
    expires_at: float | None = None
    witness: Fields = field(default_factory=dict)
    vendor_now: float | None = None
    named: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class IssueRequest:
    """`new` carries the fields made so far and its slot.

    `current` is there where the traits say `needs_current`, unless a lost issue of the same rotation has ended it.
    """

    call: Call
    new: Version
    current: Version | None = None
    witness: Fields = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiting:
    """The vendor, or a person at the vendor, has to act before this can go on.

    `show` holds values that the operator must be shown (never logged); `wants` names fields that `--supply` brings.
    """

    text: str
    until: float
    show: Bundle = field(default_factory=Bundle)
    wants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class IssueResponse:
    """`bundle` holds the vendor-made fields.

    With `waiting`, nothing has been issued yet: a person has to act, or what was sent is a request that waits for an
    approval. `settle` tells what becomes of it.
    """

    handle: str | None = None
    bundle: Bundle = field(default_factory=Bundle)
    expires_at: float | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One earlier `issue` of this version: when it was sent and until when its answer was waited for."""

    id: str
    sent_at: float
    deadline_at: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SettleRequest:
    """`raws` are raw answers that were sealed before they could be parsed; `supplied` what an operator handed in.

    `final`: nothing that was sent can take effect any more, so that what is seen now is the end of it. `mode` is how
    the rotation began.
    """

    call: Call
    new: Version
    current: Version | None = None
    witness: Fields = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    raws: tuple[Secret, ...] = ()
    supplied: Bundle = field(default_factory=Bundle)
    final: bool = False
    mode: Mode = Mode.NORMAL


@dataclass(frozen=True, kw_only=True, eq=False)
class SettleResponse:
    """What became of the attempts. `applied`: `handle` and the vendor-made fields are here.

    With `waiting`, not applied so far: the old version was seen in force, and a person can still act. It is answered
    for as long as that is so, also after its `until`: then the rotation turns back, and says that it may happen late.
    `rejected`: not applied, and it will not be, since somebody at the vendor decided so; the `note` says who and why.
    """

    outcome: Settled
    handle: str | None = None
    bundle: Bundle = field(default_factory=Bundle)
    expires_at: float | None = None
    waiting: Waiting | None = None
    note: str = ""
    rejected: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeRequest:
    """Ask one endpoint about one value. `handle` may be unknown (a made-up value has none)."""

    call: Call
    endpoint: str
    bundle: Bundle
    handle: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeResponse:
    """`evidence` is one line for the record, without values; `until` when an accepted value will end (epoch s)."""

    verdict: Verdict
    evidence: str
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class RetireRequest:
    """Make the vendor refuse, or remove, exactly this handle (and slot).

    `successor` is the handle of the version that stays: what only one credential may have (being the default) is moved
    there first. None where none stays, or it has no handle.
    """

    call: Call
    handle: str
    slot: str | None = None
    half: Half = Half.REFUSE
    successor: str | None = None


@dataclass(frozen=True, kw_only=True)
class RetireResponse:
    """`already`: it was gone before this call, and its parent was visible."""

    already: bool = False


@runtime_checkable
class Provider(Protocol):
    """Five verbs. May raise NotSent, Refused or Doubt; anything else out of issue or retire is taken as Doubt."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """Look at the vendor; change nothing.

        Repeat: always. Target gone: an empty `seen`, or a fatal problem. Raises: NotSent, Refused.
        After a crash in the middle: nothing changed.
        """

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """Bring the new version to life at the vendor, everywhere; look first and send only what is missing.

        Repeat: as the trait `repeat` says, and only after `settle`. Target gone: Refused. Raises: NotSent, Refused,
        Doubt. After a crash in the middle: `settle` finds out.
        """

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """Find out what became of the attempts; change nothing.

        Repeat: always. Target gone: `not_applied`. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """Ask one endpoint whether it accepts this value now. 5xx, 429, time-outs and lock-outs are `unknown`.

        Repeat: yes, within the declared budget. Target gone: `refused`. Raises: NotSent, Refused (both taken as
        unknown). After a crash in the middle: what the traits say a probe leaves behind.
        """

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """Make the vendor refuse, or remove for good, this one handle and no other.

        Repeat: always. Target gone: done, if its parent is visible. Raises: NotSent, Refused, Doubt. After a crash in
        the middle: call it again.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class MakeRequest:
    """Make our fields in the vendor's own way, where a recipe can not say it."""

    call: Call
    slot: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class MakeResponse:
    """The fields made."""

    bundle: Bundle


@runtime_checkable
class Minter(Protocol):
    """Extra: makes our fields itself (declared by `Plugin.extras`)."""

    def make(self, request: MakeRequest, /) -> MakeResponse:
        """Make a fresh value; change nothing outside.

        Repeat: always, another value each time. Target gone: does not apply. Raises: Refused. After a crash in the
        middle: nothing changed.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class ResetRequest:
    """Break-glass in place of issue: `supplied` proves the right to it (a recovery file); empty where a person acts."""

    call: Call
    new: Version
    supplied: Bundle
    witness: Fields = field(default_factory=dict)


@runtime_checkable
class BreakGlass(Protocol):
    """Extra: replaces a lost current version without knowing it (declared by `Plugin.extras`)."""

    def reset(self, request: ResetRequest, /) -> IssueResponse:
        """Bring the new version to life without the current one.

        Repeat: only after `settle`. Target gone: Refused. Raises: NotSent, Refused, Doubt. After a crash in the
        middle: `settle` finds out.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class CommandRequest:
    """One of the commands in `Plugin.commands`, for one secret: its current version, with its value where known."""

    call: Call
    name: str
    current: Version | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CommandResponse:
    """`text` tells a person what was done and what to do next; `show` are values for standard output, nowhere else."""

    text: str
    show: Bundle = field(default_factory=Bundle)


@runtime_checkable
class Commander(Protocol):
    """Extra: commands of its own, `keyturn plugin KIND COMMAND NAME` (declared by `Plugin.commands`)."""

    def command(self, request: CommandRequest, /) -> CommandResponse:
        """Do what the command is for; never touch which version is in force.

        Repeat: always. Target gone: Refused. Raises: NotSent, Refused, Doubt. After a crash in the middle: type it
        again.
        """


Verbs = Mapping[str, type[Any]]
PROVIDER_VERBS: Verbs = {
    "inspect": InspectResponse,
    "issue": IssueResponse,
    "settle": SettleResponse,
    "probe": ProbeResponse,
    "retire": RetireResponse,
    "make": MakeResponse,
    "reset": IssueResponse,
    "command": CommandResponse,
}
"""What the fence requires each verb to answer."""
