"""Looking at a cluster: what each server shows, and what that means as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.api import InspectResponse, NotSent, Problem, Refused, Seen
from keyturn_pingauthorize.client import ConfigApi, Extension
from keyturn_pingauthorize.options import is_ours

REFUSALS = {
    "http-401": ("not-authenticated", "check username and password: an administrator the identity mapper knows"),
    "http-403": ("no-privilege", "grant config-read and config-write, with ACIs or bypass-acl"),
    "http-404": ("extension-missing", "check the option extension, or create the servlet extension"),
}
"""What a refused read means, and what to do about it (contract 3.1, 3.8)."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One server. Without `extension` it could not be asked, and `problem` says why."""

    server: str
    extension: Extension | None = None
    unseen: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    problem: Problem | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The listed names; none where the server could not be asked."""
        return self.extension.names if self.extension else ()


def look(api: ConfigApi, ours: str) -> Look:
    """Ask one server. `unseen` are listed names without an object there, `objects` those that begin with `ours`."""
    try:
        extension = api.extension()
        unseen = tuple(name for name in extension.names if not api.has(name))
        objects = tuple(name for name in api.names() if is_ours(name, ours))
    except (NotSent, Refused) as error:
        code, hint = REFUSALS.get(error.code, (error.code, "check that the server is up, its URL and its certificate"))
        passing = isinstance(error, NotSent)
        return Look(server=api.server, problem=Problem(code=code, text=error.why, passing=passing, hint=hint))
    return Look(server=api.server, extension=extension, unseen=unseen, objects=objects)


def describe(
    looks: Sequence[Look], *, subject: str, ours: str, header: str | None, known: frozenset[str], now: float
) -> InspectResponse:
    """The cluster as one answer. Pure. `header` is what the gateways send, `known` the handles in the journal."""
    explained = {name for each in looks for name in each.names if is_ours(name, ours)} | known
    problems = [each.problem for each in looks if each.problem]
    for each in looks:
        problems += _of_one(each, header)
    problems += _differences(looks, explained)
    problems += _orphans(looks, known)
    clocks = [each.extension.vendor_now for each in looks if each.extension and each.extension.vendor_now is not None]
    return InspectResponse(
        subject=subject,
        endpoints=tuple(each.server for each in looks),
        seen=_seen(looks),
        problems=tuple(problems),
        witness={key: value for each in looks if each.extension for key, value in _witness(each)},
        # The clock that is furthest off: each server must pass the engine's limit.
        vendor_now=max(clocks, key=lambda at: abs(at - now), default=None),
    )


def _of_one(look: Look, header: str | None) -> list[Problem]:
    problems = []
    if look.extension and not look.names:
        text = f"{look.server}: the list of secrets is empty, so that anybody is let in"
        hint = "create a secret in dsconfig, add it, give it to the gateways, then adopt it"
        problems.append(Problem(code="authentication-off", text=text, hint=hint))
    if look.extension and header and look.extension.header.lower() != header.lower():
        text = f"{look.server}: expected the header {header}, the server reads {look.extension.header}"
        problems.append(Problem(code="header-mismatch", text=text, hint="correct the option header, or the gateways"))
    for name in look.unseen:
        text = f"{look.server}: lists {name}, but has no such secret"
        problems.append(Problem(code="secret-unseen", text=text, fatal=False, hint="check mirroring to this server"))
    return problems


def _differences(looks: Sequence[Look], explained: frozenset[str] | set[str]) -> list[Problem]:
    """Lists that differ. Names of ours that are on some servers only are an unfinished rotation: a warning."""
    asked = [each for each in looks if each.extension]
    everywhere = set.intersection(*(set(each.names) for each in asked)) if asked else set()
    odd = {name for each in asked for name in each.names} - everywhere
    if not odd:
        return []
    where = "; ".join(f"{each.server}: {', '.join(each.names) or 'none'}" for each in asked)
    hint = "make the lists equal with dsconfig set-http-servlet-extension-prop --add, then run again"
    return [Problem(code="lists-differ", text=f"the servers differ: {where}", fatal=bool(odd - explained), hint=hint)]


def _orphans(looks: Sequence[Look], known: frozenset[str]) -> list[Problem]:
    """Objects with our prefix that no list and no journal names (contract 8): reported, never deleted from here."""
    listed = {name for each in looks for name in each.names}
    left = sorted({name for each in looks for name in each.objects} - listed - known)
    hint = "delete it when nobody needs it: dsconfig delete-sideband-api-shared-secret"
    return [
        Problem(code="orphan", text=f"{name} is in no list, and is accepted nowhere", fatal=False, hint=hint)
        for name in left
    ]


def _seen(looks: Sequence[Look]) -> tuple[Seen, ...]:
    """Listed names. A server that could not be asked is a problem of its own, and says nothing of any name."""
    asked = [each for each in looks if each.extension]
    names = dict.fromkeys(name for each in asked for name in each.names)
    return tuple(_one_seen(name, [each.server for each in asked if name not in each.names]) for name in names)


def _one_seen(name: str, missing: Sequence[str]) -> Seen:
    note = f"not on {', '.join(missing)}" if missing else ""
    return Seen(handle=name, enabled=not missing, note=note)


def _witness(look: Look) -> list[tuple[str, str]]:
    return [(f"listed {look.server}", ",".join(look.names)), (f"objects {look.server}", ",".join(look.objects))]
