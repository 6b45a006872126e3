"""Keyturn rotates secrets that live at vendors, without an outage and without ever losing one, and proves it."""

__version__ = "0.1.0"
