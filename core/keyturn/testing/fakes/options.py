"""The fakes' options. `world` is the fake's far side itself; it never reaches a dump or a digest."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from keyturn.api import Options, Seconds


class FakeAccount(Options):
    """What every fake's account has: its vendor."""

    world: Any = Field(default=None, exclude=True, repr=False)


class GraceAccount(FakeAccount):
    """`grace_s`: how long the old value lives after a reset, as declared; `grace_max_s`: how long it may live at most.

    `lives`: how long it lives in truth, where that is not what is declared; `message`: what the vendor says with it.
    """

    grace_s: Seconds = 0.0
    grace_max_s: Seconds = 0.0
    lives: Seconds | None = None
    message: str = ""


class LingeringAccount(GraceAccount):
    """Nothing relies on a grace that the vendor gives all the same."""

    grace_max_s: Seconds = 900.0
    lives: Seconds | None = 500.0
    message: str = "the secret is within the grace period"


class ConsoleAccount(FakeAccount):
    """`way`: a person at the vendor's console, or a call. `patience`: how long we wait for the person."""

    way: Literal["console", "api"] = "console"
    patience: Seconds = 86_400.0


class HashedAccount(FakeAccount):
    """`sync_s`: how long the proxies take to hear of a change."""

    sync_s: Seconds = 5.0


class SecondKeyAccount(FakeAccount):
    """`readable`: whether the vendor shows a key's secret again; `watch`: how long a disabled key is kept."""

    readable: bool = True
    watch: Seconds = 0.0


class TokenAccount(FakeAccount):
    """`life`: how long a token is accepted; `seed_life`: one that was asked for by hand.

    `issuer` is the vendor of the secret that tokens are minted with, where there is one.
    """

    life: Seconds = 30 * 86_400.0
    seed_life: Seconds = 600.0
    issuer: Any = Field(default=None, exclude=True, repr=False)


class FakeTarget(Options):
    """One secret at a fake vendor, by name."""

    name: str = "main"


class GraceTarget(FakeTarget):
    """`expiry`: how long a new value is valid."""

    expiry: Seconds = 90 * 86_400.0


class TokenTarget(FakeTarget):
    """`token_of`: the secret that tokens are minted with."""

    token_of: str | None = None


class FakeSinkAccount(FakeAccount):
    """A fake sink: `world` is its `FakeStore`, the rest are the traits it declares."""

    hides_pending: bool = True
    compares: bool = True
    keeps_previous: bool = True
    bytes_max: int = 65_536


class FakePlace(Options):
    """One place in a fake sink."""

    path: str
