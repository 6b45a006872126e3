"""What no single entry can tell: subjects and places used twice, values derived elsewhere, circles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from keyturn.config.accounts import KINDS, Work
from keyturn.config.model import ManagedSecret, UsedReference
from keyturn.config.places import place_of, subject_of
from keyturn.config.problems import Path, suggestion
from keyturn.config.secrets import source_path
from keyturn.references import SINK_REFERENCE, sink_of

Node = tuple[str, str]
Graph = dict[Node, set[Node]]
APART = "list a place once, or let each have another path or name"


def check_subjects(work: Work, secrets: Iterable[ManagedSecret]) -> None:
    """Two secrets with one subject would fight at the vendor: both are stopped."""
    first: dict[str, Path] = {}
    for secret in secrets:
        _claim(work, first, secret.subject, ("secrets", secret.name), "one-subject")


def check_places(work: Work, secrets: Iterable[ManagedSecret]) -> None:
    """Two bindings with one place would overwrite each other: both secrets are stopped."""
    first: dict[str, Path] = {}
    for secret in secrets:
        for position, binding in enumerate(secret.sinks):
            _claim(work, first, binding.subject, ("secrets", secret.name, "sinks", position), "one-place")


def _claim(work: Work, first: dict[str, Path], subject: str, path: Path, code: str) -> None:
    if subject not in first:
        first[subject] = path
        return
    noun = "place in a sink" if code == "one-place" else "subject at the vendor"
    for mine, other in ((path, first[subject]), (first[subject], path)):
        message = f"the same {noun} ({subject}) as {other[1]} at {work.problems.mark(other)}"
        hint = f"let {mine[1]} and {other[1]} be one secret, or part them" if mine[1] != other[1] else APART
        work.problems.add(code, message, mine, hint=hint)


def check_after(work: Work, managed: Iterable[ManagedSecret]) -> None:
    """`after:` names secrets that exist, and never comes round to itself; nor do values derived from another secret."""
    secrets = work.section("secrets")
    graph: Graph = {("secrets", one.name): {("secrets", one.source)} for one in managed if one.source}
    for name, data in secrets.items():
        rotate = data.get("rotate", {})
        after = rotate.get("after", []) if isinstance(rotate, dict) else []
        for position, other in enumerate(after if isinstance(after, list) else []):
            if isinstance(other, str) and other in secrets:
                graph.setdefault(("secrets", name), set()).add(("secrets", other))
            elif isinstance(other, str):
                path = ("secrets", name, "rotate", "after", position)
                work.problems.add(
                    "unknown-secret", f"secret {other} is not configured", path, hint=suggestion(other, secrets)
                )
    hint = "take one of them out of after: (or of what it is derived from)"
    _refuse_circles(work, graph, "after-cycle", "comes after itself", hint)


def check_sources(work: Work, managed: Iterable[ManagedSecret]) -> None:
    """A value never travels to another account than its own, as it would where something is derived from it there."""
    for one in managed:
        other = work.section("secrets").get(one.source or "", {}).get("provider")
        if not one.source or not isinstance(other, str) or other == one.provider:
            continue
        message = f"{one.source}, which it is derived from, is on another account: its value would travel there"
        hint = f"let both have the same provider: {one.provider} or {other}"
        where = source_path(work, one.source, ("secrets", one.name, "target"))
        work.problems.add("source-elsewhere", message, where, hint=hint)


def check_bridges(work: Work, managed: Iterable[ManagedSecret]) -> None:
    """A bridge is a configured secret that is derived from the one it bridges: nothing else is made of its value."""
    secrets = {one.name: one for one in managed}
    for one in secrets.values():
        for position, other in enumerate(one.overlap.bridge):
            path = ("secrets", one.name, "overlap", "bridge", position)
            derived = [name for name, data in secrets.items() if data.source == one.name]
            if other not in work.section("secrets"):
                message = f"secret {other} is not configured"
                work.problems.add("unknown-secret", message, path, hint=suggestion(other, derived))
            elif other in secrets and other not in derived:
                hint = f"name one of: {', '.join(derived)}" if derived else "leave bridge: out"
                work.problems.add("bridge-underived", f"secret {other} is not derived from {one.name}", path, hint=hint)


def check_references(work: Work) -> None:
    """Every reference to a sink names a place there; the journal and the escrow are opened before any sink."""
    for reference in work.references:
        sink = sink_of(reference.text)
        account = work.accounts.get(("sinks", sink)) if sink else None
        if account is None:
            continue
        if reference.at[0] in ("journal", "escrow"):
            message = "journal and escrow are opened before any sink, so that no sink can hold what they need"
            work.problems.add("reference-too-early", message, reference.at, hint="use env:, file: or exec:")
            continue
        try:
            place_of(account, _read_by(reference)["path"])
        except ValueError as error:
            work.problems.add("reference-unreadable", str(error), reference.at, hint="write SINK:PATH#FIELD")


def check_credentials(work: Work, secrets: Iterable[ManagedSecret]) -> None:
    """No account reads a credential that only it, or what depends on it, can publish."""
    managed = list(secrets)
    graph: Graph = {}
    for secret in managed:
        needs = {("sinks", binding.sink) for binding in secret.sinks}
        graph["secrets", secret.name] = needs | {("providers", secret.provider)}
    for reference in work.references:
        reader = _account_of(reference)
        sink = sink_of(reference.text)
        if reader is None or sink is None:
            continue
        needs = graph.setdefault(reader, set())
        needs.add(("sinks", sink))
        needs.update(("secrets", one.name) for one in managed if _publishes(work, one, sink, reference))
    _refuse_circles(work, graph, "credential-cycle", "needs a credential that only it can publish", OTHER_KIND)


def _account_of(reference: UsedReference) -> Node | None:
    kind, _, name = reference.scope.partition(":")
    section = f"{kind}s"
    return (section, name) if section in KINDS else None


def _read_by(reference: UsedReference) -> Mapping[str, str]:
    match = SINK_REFERENCE.fullmatch(reference.text)
    return match.groupdict() if match else {}


def _publishes(work: Work, secret: ManagedSecret, sink: str, reference: UsedReference) -> bool:
    """Whether the secret is published where the reference reads, under whatever name the same sink is configured."""
    account = work.accounts.get(("sinks", sink))
    if account is None:
        return False
    try:
        wanted = subject_of(account, place_of(account, _read_by(reference)["path"]))
    except ValueError:
        return False
    return any(binding.subject == wanted for binding in secret.sinks)


OTHER_KIND = "give one of them a reference of another kind"


def _refuse_circles(work: Work, graph: Mapping[Node, set[Node]], code: str, what: str, hint: str) -> None:
    """A problem at each entry of every circle, one circle after the other."""
    left = {node: set(needs) for node, needs in graph.items()}
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            circle: list[Node] = error.args[1]
        else:
            return
        around = " <- ".join(f"{section.removesuffix('s')} {name}" for section, name in circle)
        for node in sorted(set(circle)):
            work.problems.add(code, f"{what}: {around}", node, hint=hint)
            left.pop(node, None)
