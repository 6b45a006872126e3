"""The reference pages, written from the code: `python -m tests.reference` writes them, a test finds stale ones."""
