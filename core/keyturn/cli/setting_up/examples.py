"""The configuration that `keyturn init` writes."""

CONFIGURATION = """\
# Keyturn's configuration. `keyturn check` names every mistake with its line; `keyturn schema` helps editors.
keyturn: 1

# What happened, append-only. Only `keyturn init` makes it.
journal: {kind: sqlite, path: state/journal.db}

# Values in flight are sealed to this identity; add offline recipients (age1...) that can open them too.
escrow:
  identities: [file:state/age.key]
  # recipients: [age1...]

# alerts: [{exec: [/opt/oncall/page]}]     # stuck, overdue, unmanaged: once each, never a value
"""

EXAMPLE = """
# An example: one shared secret of a PingAuthorize cluster, published to a file.
# A value is never written here: env:NAME, file:PATH, exec:COMMAND or SINK:PATH#FIELD say where it is.
providers:
  paz:
    kind: pingauthorize
    servers: [https://paz1.example.internal:1443, https://paz2.example.internal:1443]
    username: env:PAZ_USER
    password: env:PAZ_PASSWORD

sinks:
  files: {kind: file, folder: secrets}

secrets:
  gateway/sideband:
    provider: paz
    target: {name_prefix: kong}
    rotate: {every: 30d, window: "Sun 02:00-04:00 UTC"}
    overlap: {hold: 24h, hold_max: 7d}
    sinks: [{to: files, path: gateway/sideband.json}]
    consumers: [{name: kong, acknowledge: required}]
"""
