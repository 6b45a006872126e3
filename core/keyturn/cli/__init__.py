"""The command line: `main` is the program `keyturn`."""

from keyturn.cli.app import main

__all__ = ["main"]
