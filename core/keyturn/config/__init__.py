"""The configuration: `locate` finds it, `read` reads it, `load` checks it against the plugins, all errors at once."""

from keyturn.config.accounts import Find
from keyturn.config.files import Source, locate, read
from keyturn.config.load import load
from keyturn.config.model import (
    Account,
    AlertSettings,
    Binding,
    Configuration,
    Consumer,
    EscrowSettings,
    JournalSettings,
    Limits,
    ManagedSecret,
    Notify,
    UsedReference,
)
from keyturn.config.problems import ConfigProblem
from keyturn.config.schema import json_schema

__all__ = [
    "Account",
    "AlertSettings",
    "Binding",
    "ConfigProblem",
    "Configuration",
    "Consumer",
    "EscrowSettings",
    "Find",
    "JournalSettings",
    "Limits",
    "ManagedSecret",
    "Notify",
    "Source",
    "UsedReference",
    "json_schema",
    "load",
    "locate",
    "read",
]
