"""The Vault sink (`keyturn_vault`) keeps the sink contract on a real OpenBao, with the policy of its page."""

from __future__ import annotations

from contract.vault_kit import OnVault, town
from keyturn.testing.sink_contract import SinkContract

__all__ = ["town"]


class TestVaultSinkContract(OnVault, SinkContract):
    """The shared contract, with a death before every part of every request of a promote."""
