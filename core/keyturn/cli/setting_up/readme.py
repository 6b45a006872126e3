"""The README of the demo's folder: what to try there, and how to look into the sinks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from keyturn.cli.setting_up.stage import OPTIONS, Shelf

LOGINS = "state/logins"
WHOLE = """\
# What the demo left behind

The simulated vendors are gone, the rest is real: a configuration, a journal, an age identity, and what consumers read.
In this folder try, once `keyturn` is on your path (`export PATH={path}:$PATH`):

    keyturn status
    keyturn history {name}
    keyturn audit verify
    keyturn audit export
    keyturn escrow list
    keyturn plan
    keyturn check

`keyturn simulate VENDOR` runs a vendor again; its new address goes into `keyturn.yaml`.

## What the sinks serve

{sinks}
"""
FILES = """\
`{sink}` are files, which stay:

    {look}
"""
SERVER = """\
`{sink}` was a server that kept all in memory. Start another one in its place, in a second terminal. Where it prints
other logins than those in `{logins}/`, write them there. Fill it, and read it as a consumer would:

    {simulate}
    keyturn repair {name} --sink {sink}
    {look}
"""
LOOKS: Mapping[str, str] = {
    "file": "cat {folder}/{path}",
    "vault": 'curl -s --noproxy "*" -H "X-Vault-Token: $(cat {login})" {url}/v1/{mount}/data/{path}',
    "aws": "AWS_ACCESS_KEY_ID=$(cat {login}) AWS_SECRET_ACCESS_KEY=$(cat {password}) \\\n"
    "      aws --region {region} --endpoint-url {url} secretsmanager get-secret-value --secret-id {path}",
}
"""How a consumer without Keyturn reads a place, by the sink's kind."""


def readme(names: Sequence[str], shelves: Sequence[Shelf]) -> str:
    """The page, for these secrets in these sinks."""
    name = names[0] if names else "NAME"
    sinks = "\n".join(_sink(shelf, name) for shelf in shelves)
    return WHOLE.format(name=name, path=Path(sys.executable).parent, sinks=sinks)


def _sink(shelf: Shelf, name: str) -> str:
    template = SERVER if shelf.url else FILES
    return template.format(
        sink=shelf.name, name=name, logins=LOGINS, simulate=_simulate(shelf), look=_look(shelf, name)
    )


def _simulate(shelf: Shelf) -> str:
    options = "".join(f" --option {key}={value}" for key, value in OPTIONS.get(shelf.plugin.name, {}).items())
    return f"keyturn simulate {shelf.plugin.name}{options} --port {urlsplit(shelf.url).port}"


def _look(shelf: Shelf, name: str) -> str:
    files = [f"{LOGINS}/{one}" for one in shelf.environment]
    known = {"mount": "", "folder": "", "region": "", **shelf.account, "url": shelf.url, "path": shelf.path(name)}
    logins = {"login": files[0] if files else "", "password": files[-1] if files else ""}
    return LOOKS.get(shelf.plugin.name, "keyturn check --online {path}").format(**known, **logins)
