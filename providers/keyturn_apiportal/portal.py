"""The adapter's seam: what the core needs of one portal, for one secret, in one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from keyturn.api import Bundle, Call, Fields, Half, ProbeResponse, Problem, Secret, Version, Waiting
from keyturn_apiportal.flavour import Flavour

HIDDEN = frozenset(
    {"no-such-application", "no-such-subscription", "no-rights", "single-secret-mode", "contract-broken"}
)
"""Problems that hide whether a credential is there: what is absent then counts neither as gone nor as not made."""

UNREAD = "unread-"
"""In place of the mark in a handle: the change was answered, and the credential could not be read back after it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Credential:
    """One credential as the portal shows it, without its value where that is not asked for or not shown.

    `handle` names it for the journal, and never means another value: where the portal changes a value under one name,
    the mark is a part of it. `mark` moves whenever the value does (a time, a counter, a keyed fingerprint). `fresh`: it
    was changed so short a time ago that proxies may not have heard of it.
    `expires_at`: when its value ends (epoch s).
    """

    handle: str
    slot: str | None = None
    label: str = ""
    mark: str = ""
    enabled: bool = True
    fresh: bool = False
    value: Bundle | None = field(default=None, repr=False)
    note: str = ""
    expires_at: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The portal as it is now: the credentials of this secret, and what stands against a change.

    `first` is the handle of the one to begin with, where nothing of ours is known. `facts` are non-secret facts that
    have to be the same when the change is sent. `pending`: a request of ours waits for an approval; `note` says what
    became of one that was decided.
    """

    credentials: tuple[Credential, ...]
    first: str | None = None
    problems: tuple[Problem, ...] = ()
    facts: Fields = field(default_factory=dict)
    pending: Waiting | None = None
    note: str = ""
    vendor_now: float | None = None

    @property
    def blind(self) -> Problem | None:
        """What hides whether a credential is there."""
        return next((one for one in self.problems if one.code in HIDDEN), None)

    def named(self, handle: str | None) -> Credential | None:
        """The credential with this handle."""
        return next((one for one in self.credentials if one.handle == handle), None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """What to commit: the new version (with our fields, if we make any, and its slot), and what was seen before.

    `label` goes to the portal wherever it takes one. `current` is the version to replace, where there is one.
    """

    new: Version
    label: str
    found: Found
    current: Version | None = None
    witness: Fields = field(default_factory=dict)


class Portal(Protocol):
    """One secret at one portal. Calls may raise NotSent, Refused, and Doubt where they change something.

    An adapter sends each change once and never again by itself; the raw answer of a change is sealed (`seal=` of
    `Http.call`) before it is parsed.
    """

    @property
    def flavour(self) -> Flavour:
        """The flavour of this secret."""

    @property
    def subject(self) -> str:
        """What the secret is at the vendor, as in the registration."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every proxy that has to accept a new version."""

    def find(self, call: Call, *, values: bool) -> Found:
        """Look; change nothing. `values`: with their values where the portal shows them."""

    def commit(self, call: Call, order: Order) -> Credential | Waiting:
        """Send the one change, and read back what came of it: the credential with the vendor-made fields as its value.

        A success that is only a request for an approval is a `Waiting`.
        """

    def opened(self, raw: Secret, found: Found) -> Credential | None:
        """What a sealed raw answer says, with its value; None where it holds none that can still be in force."""

    def end(self, call: Call, ended: Credential, half: Half, successor: str | None) -> None:
        """Make the portal refuse, or remove, exactly this credential. `successor` stays."""

    def handle_of(self, found: Found, bundle: Bundle) -> str | None:
        """The handle of the credential with this value, where that can be told; pure."""

    def ask(self, call: Call, endpoint: str, bundle: Bundle) -> ProbeResponse:
        """Ask one proxy whether it accepts this value now."""
