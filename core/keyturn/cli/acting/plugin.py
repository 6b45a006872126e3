"""`keyturn plugin`: a command that a plugin brings along, on one secret of its kind."""

from __future__ import annotations

from keyturn.cli.acting.shared import known
from keyturn.cli.app import Report, Session
from keyturn.cli.setting_up.plugins import named, registry
from keyturn.config.problems import suggestion
from keyturn.engine.commanding import command
from keyturn.engine.job import Job
from keyturn.errors import UsageError
from keyturn.plugins.hookspecs import Kind, Plugin


def list_commands(session: Session, kind: str, name: str | None = None) -> Report:
    """What a plugin brings along. With `name`, the command that was typed without a secret: then it is an error."""
    plugin = named(registry(session), kind, (Kind.PROVIDER, Kind.SINK))
    _known(plugin, name)
    if name:
        hint = f"keyturn plugin {kind} {name} NAME"
        raise UsageError("secret-needed", f"expected the name of a secret after {name}", hint=hint)
    lines = [f"keyturn plugin {kind} {name:<12} NAME  {told}" for name, told in plugin.commands.items()]
    return Report(data={"kind": kind, "commands": dict(plugin.commands)}, text="\n".join(lines))


def run_plugin(session: Session, kind: str, name: str, secret: str) -> Report:
    """Hand the current version of `secret` to the command `name` of plugin `kind`; values go to stdout only."""
    with session.estate() as estate:
        job = estate.job(known(estate, secret))
        _check(job, kind, name)
        answer = command(estate.bench, job, name)
    shown = answer.show.reveal()
    if session.json:
        return Report(data={"secret": secret, "text": answer.text, "show": shown})
    if not shown:
        return Report(text=answer.text)
    session.say(answer.text)  # a script reads the value alone
    return Report(text="\n".join(shown.values()))


def _check(job: Job, kind: str, name: str) -> None:
    """Raises UsageError where the secret is of another kind, or what `_known` raises."""
    if job.account.kind != kind:
        text = f"{job.name} is a secret of {job.account.kind}, not of {kind}"
        raise UsageError("other-kind", text, hint=f"keyturn plugin {job.account.kind}", place=job.name)
    _known(job.account.plugin, name)


def _known(plugin: Plugin, name: str | None) -> None:
    """Raises UsageError where the plugin has no commands, or not this one."""
    if not plugin.commands:
        text = f"{plugin.name} brings no commands of its own"
        raise UsageError("no-commands", text, hint="keyturn --help lists ours")
    if name and name not in plugin.commands:
        text = f"{plugin.name} has no command {name}"
        raise UsageError("no-command", text, hint=f"{suggestion(name, plugin.commands)}; keyturn plugin {plugin.name}")
