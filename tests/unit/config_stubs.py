"""Stub plugins for configuration tests, with option types but nothing behind them, and the design's example."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NoReturn

from keyturn import config
from keyturn.api import Field, Kind, LocalPath, Maker, Options, Plugin, Reference, Seconds, SinkTraits, Traits, Url
from keyturn.errors import UsageError


def _nothing() -> NoReturn:
    raise AssertionError("the configuration loaded a plugin's implementation")


class Ping(Options):
    servers: tuple[Url, ...]
    username: Reference
    password: Reference


class Saha(Options):
    environment: Literal["production", "sandbox"]
    username: Reference
    password: Reference
    check_every: Seconds = 0.0
    strict: bool = False


class SahaTarget(Options):
    entity_id: str | None = None
    expiry: Seconds | None = None
    token_of: str | None = None


class Circle(Options):
    environment: str
    api_key: Reference
    way: Literal["console", "api"] = "api"


class CircleTarget(Options):
    canary_wallet: str | None = None


class Portal(Options):
    url: Url
    tenant: str
    client_id: Reference
    client_secret: Reference
    proxies: tuple[Url, ...] = ()


class Role(Options):
    role: str


class VaultAuth(Options):
    kubernetes: Role | None = None
    token: Reference | None = None


class Vault(Options):
    url: Url
    mount: str
    auth: VaultAuth


class Aws(Options):
    region: str
    retries: int = 3


class File(Options):
    folder: Path


class InPath(Options):
    path: str
    template: LocalPath | None = None


class InName(Options):
    name: str


def _bundle(*names: str, artefact: str = "") -> Traits:
    fields = [Field(name=name, by=Maker.US, sensitive=not name.endswith("_id")) for name in names]
    if artefact:
        fields.append(Field(name=artefact, by=Maker.VENDOR, artefact=True))
    return Traits(fields=tuple(fields), live_max=None, grace_s=None)


def _saha_traits(_account: Saha, target: SahaTarget) -> Traits:
    return _bundle("token") if target.token_of else _bundle("entity_id", "entity_secret")


def _saha_subject(account: Saha, target: SahaTarget) -> str:
    return f"sahamati:{account.environment}:{target.entity_id or 'token of ' + str(target.token_of)}"


def _provider(name: str, account: Any, target: Any, traits: Any, subject: Any) -> Plugin:
    return Plugin(
        kind=Kind.PROVIDER,
        name=name,
        summary=name,
        load=lambda: _nothing,
        account=account,
        target=target,
        traits=traits,
        subject=subject,
    )


def _sink(name: str, account: Any, place: Any, subject: Any, key: str = "path") -> Plugin:
    return Plugin(
        kind=Kind.SINK,
        name=name,
        summary=name,
        load=lambda: _nothing,
        account=account,
        target=place,
        traits=lambda _account, _place: SinkTraits(),
        subject=subject,
        place=lambda account, path: {key: path.removeprefix(f"{getattr(account, 'mount', '')}/")},
    )


def _overlap(name: str) -> Plugin:
    return Plugin(kind=Kind.OVERLAP, name=name, summary=name, load=lambda: _nothing)


PLUGINS = {
    (plugin.kind, plugin.name): plugin
    for plugin in (
        _provider(
            "pingauthorize",
            Ping,
            None,
            lambda *_: _bundle("shared_secret"),
            lambda account, _: f"paz:{account.servers[0]}",
        ),
        _provider("sahamati", Saha, SahaTarget, _saha_traits, _saha_subject),
        _provider(
            "circle",
            Circle,
            CircleTarget,
            lambda *_: _bundle("entity_secret", artefact="recovery_file"),
            lambda account, target: f"circle:{account.environment}:{target.canary_wallet}",
        ),
        _provider("apiportal", Portal, None, lambda *_: _bundle("key"), lambda account, _: f"portal:{account.tenant}"),
        _sink("vault", Vault, InPath, lambda account, place: f"vault:{account.url}/{account.mount}/{place.path}"),
        _sink("aws", Aws, InName, lambda account, place: f"aws:{account.region}/{place.name}", "name"),
        _sink("file", File, InPath, lambda account, place: f"file:{account.folder / place.path}"),
        *(_overlap(name) for name in ("dual", "alternating", "grace", "cutover")),
    )
}
NAMES = {kind: [name for at, name in PLUGINS if at is kind] for kind in Kind}


def find(kind: Kind, name: str) -> Plugin:
    try:
        return PLUGINS[kind, name]
    except KeyError:
        raise UsageError("unknown-plugin", f"no {kind} plugin {name}", hint="keyturn plugins") from None


def load_text(folder: Path, text: str) -> config.Configuration:
    """What a file with this text gives."""
    path = folder / "keyturn.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return config.load(config.read(path), find)


def problems_of(folder: Path, text: str) -> tuple[config.ConfigProblem, ...]:
    return load_text(folder, text).problems


DESIGN = """\
keyturn: 1
journal: {kind: postgresql, url: env:KEYTURN_JOURNAL}             # laptop: {kind: sqlite, path: state/journal.db}
escrow:  {identities: [file:/run/keyturn/age.key], recipients: [age1offline…]}
alerts:  [{exec: [/opt/oncall/page]}]                             # stuck, overdue, unmanaged, short validity
limits:  {rotations_per_run: 20}
providers:                                                        # accounts, by name
  paz-eu:   {kind: pingauthorize, servers: [https://paz1.internal:1443, https://paz2.internal:1443], username: env:PAZ_USER, password: file:/run/creds/paz}
  sahamati: {kind: sahamati, environment: production, username: env:SAHA_USER, password: vault-eu:kv/ops/sahamati#password, check_every: 7d}
  circle:   {kind: circle, environment: live, api_key: aws-prod:ops/circle#api_key, way: console}
  portal:   {kind: apiportal, url: https://ssg.internal:9443, tenant: acme, client_id: env:PAPI_ID, client_secret: env:PAPI_SECRET, proxies: [https://gw1.internal:8443, https://gw2.internal:8443]}
sinks:
  vault-eu: {kind: vault, url: https://vault.internal:8200, mount: kv, auth: {kubernetes: {role: keyturn}}}
  aws-prod: {kind: aws, region: ap-south-1}
  custody:  {kind: file, folder: /custody}
defaults: {rotate: {jitter: 30m, min_age: 1h}, overlap: {strategy: auto}}
secrets:
  gateway/sideband:
    provider: paz-eu
    rotate:   {every: 30d, from: 2026-01-04, window: "Sun 02:00-04:00 Europe/Berlin"}
    overlap:  {strategy: dual, hold: 48h, hold_max: 7d, retire_window: "Mon-Thu 09:00-16:00 Europe/Berlin"}
    sinks:    [{to: vault-eu, path: gateway/sideband}, {to: aws-prod, name: prod/gateway/sideband}]
    consumers:
      - {name: kong-eu, acknowledge: required}
      - {name: kong-us, announce: {exec: [/opt/kong/reload], stdin: bundle, env: {KONG_TOKEN: env:KONG_TOKEN}}}
  network/entity:
    provider: sahamati
    target:   {entity_id: fiu-demo, expiry: 90d}
    rotate:   {before_expiry: 20d, window: "Tue-Thu 10:00-12:00 Asia/Kolkata"}
    sinks:    [{to: vault-eu, path: network/entity}, {to: custody, path: credentials.json, fields: {entityId: entity_id, entitySecret: entity_secret}}]
  network/entity-token:                                           # a derived credential is an ordinary secret
    provider: sahamati
    target:   {token_of: network/entity}
    rotate:   {before_expiry: 12h, after: [network/entity]}
    sinks:    [{to: vault-eu, path: network/token}]
  payments/circle-entity:
    provider: circle
    target:   {canary_wallet: 0f2e…}
    rotate:   {cron: "0 10 15 1,4,7,10 *", timezone: Europe/Berlin}
    overlap:  {strategy: cutover, accept_outage: 5s}
    sinks:    [{to: vault-eu, path: payments/entity, fields: [entity_secret]}, {to: custody, path: circle.recovery, fields: [recovery_file]}]
    consumers: [{name: signer, quiesce: {url: "https://signer.internal/drain"}, release: {url: "https://signer.internal/resume"}}]
"""  # noqa: E501 - as the design writes it
