"""The journal: append-only, hash-chained per secret; leases and escrow live in the same database."""
