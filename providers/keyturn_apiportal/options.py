"""What a configuration says of every portal whose gateways are listed one by one."""

from __future__ import annotations

from typing import Self

from pydantic import Field as Rule
from pydantic import model_validator

from keyturn.api import BaseUrl, LocalPath, Options, ProxyUrl, Reference, Seconds


class GatewayAccount(Options):
    """A portal's login, its gateways, and the way to them. Durations are seconds."""

    client_id: Reference = Rule(description="reference to the id that keyturn logs in with")
    client_secret: Reference = Rule(description="reference to its secret")
    gateways: tuple[BaseUrl, ...] = Rule(
        min_length=1,
        description="base URL of every gateway that must take a new version: of each region, and self-hosted ones",
    )
    ca: LocalPath | None = Rule(
        default=None, description="PEM file of the authority to trust (the machine's trust store unless set)"
    )
    proxy: ProxyUrl | None = Rule(
        default=None, description="URL of a proxy (none unless set; the environment's is not used)"
    )
    settle: Seconds = Rule(default=30.0, description="how long a lost call may still take effect; 30 s (ASSUMED)")

    @model_validator(mode="after")
    def _each_gateway_once(self) -> Self:
        if len(set(self.gateways)) != len(self.gateways):
            message = "expected every gateway once in gateways"
            raise ValueError(message)
        return self
