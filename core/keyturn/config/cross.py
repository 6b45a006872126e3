"""What no single entry can tell: subjects and places used twice, and circles of references and of `after`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from keyturn.config.accounts import KINDS, Work
from keyturn.config.model import Binding, ManagedSecret, UsedReference
from keyturn.config.problems import Path, suggestion
from keyturn.config.shapes import scalars
from keyturn.references import SINK_REFERENCE

Node = tuple[str, str]
Graph = dict[Node, set[Node]]


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
        work.problems.add(code, message, mine, hint=f"let {mine[1]} and {other[1]} be one secret, or part them")


def check_after(work: Work) -> None:
    """`after:` names secrets that exist, and never comes round to itself."""
    secrets = work.section("secrets")
    graph: Graph = {}
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
    _refuse_circles(work, graph, "after-cycle", "comes after itself")


def check_credentials(work: Work, secrets: Iterable[ManagedSecret]) -> None:
    """No account reads a credential that only it, or what depends on it, can publish."""
    managed = list(secrets)
    graph: Graph = {}
    for secret in managed:
        needs = {("sinks", binding.sink) for binding in secret.sinks}
        graph["secrets", secret.name] = needs | {("providers", secret.provider)}
    for reference in work.references:
        reader = _account_of(reference)
        match = SINK_REFERENCE.fullmatch(reference.text)
        if reader is None or match is None or reference.text.startswith(("env:", "file:", "exec:")):
            continue
        needs = graph.setdefault(reader, set())
        needs.add(("sinks", match["sink"]))
        needs.update(("secrets", one.name) for one in managed if _publishes(work, one, match["sink"], match["path"]))
    _refuse_circles(work, graph, "credential-cycle", "needs a credential that only it can publish")


def _account_of(reference: UsedReference) -> Node | None:
    kind, _, name = reference.scope.partition(":")
    section = f"{kind}s"
    return (section, name) if section in KINDS else None


def _publishes(work: Work, secret: ManagedSecret, sink: str, path: str) -> bool:
    return any(
        binding.sink == sink and _is_place(work, secret.name, position, binding, path)
        for position, binding in enumerate(secret.sinks)
    )


def _is_place(work: Work, name: str, position: int, binding: Binding, path: str) -> bool:
    """Whether a reference's path means this binding: it may be written with the sink's mount before it."""
    written = work.section("secrets")[name]["sinks"][position]
    own = {text for steps, text in scalars(written) if steps[0] not in ("to", "fields")}
    return (
        path in own
        or binding.subject.endswith((f"/{path}", f":{path}"))
        or any(path.endswith(f"/{text}") for text in own)
    )


def _refuse_circles(work: Work, graph: Mapping[Node, set[Node]], code: str, what: str) -> None:
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
            work.problems.add(code, f"{what}: {around}", node, hint="give one of them a reference of another kind")
            left.pop(node, None)
