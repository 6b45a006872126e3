"""The Vault sink: consumers read a secret from the KV engine, version 2, of Vault or OpenBao."""
