"""The state of a simulated cluster and its rules. No HTTP here; callers hold `World.lock`."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any


class Refusal(Exception):
    """What a server answers in place of a result: a status and the SCIM `detail`."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass
class Switches:
    """How this cluster is, until told otherwise. Each names the line of contract section 10 it stands for."""

    page_size: int = 1000  # 3.6
    mirror_delay_s: float = 0.0  # 10
    primary: int = 0  # 10
    primary_down: bool = False  # 10: no majority, the mirrored part is read-only
    stuck: list[int] = field(default_factory=list)  # 10: members that never catch up
    server_down: list[int] = field(default_factory=list)  # 11
    readd_is_error: bool = False  # 8
    delete_status: int = 204  # 4
    post_status: int = 200  # 4
    urn_prefix: str = "pingidentity"  # 4
    dialects: str = "both"  # 4: both, go, documented
    require_apply_change_to: bool = True  # 5
    group_reaches: list[int] | None = None  # 5: server-group applied only on some members
    required_actions: bool = False  # 6
    inactive_until_restart: bool = False  # 6
    masked: bool = False  # 7
    absent_when_empty: bool = True  # 7
    status_as_number: bool = False  # 1
    hang_s: float = 60.0  # 2: how long a request without an answer hangs
    forbidden: str = ""  # 1: "read" or "write" is not allowed to this administrator: 403
    accepts_everything: bool = False  # 17
    id_in_401: bool = True  # 17
    not_accepted_on: list[int] = field(default_factory=list)  # 17: servers that refuse what was added since
    denies: bool = False  # 18
    request_limit: int = 5 * 1024 * 1024  # 18


@dataclass
class Member:
    """One server: its own list and header (contract 1: per server), and what its Sideband API accepts now."""

    names: list[str]
    header: str = "CLIENT-TOKEN"
    active: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """A change of the mirrored part."""

    at: float
    name: str
    value: str | None


class World:
    """The cluster: mirrored objects, members, switches, and the log of mutating requests (names, never values)."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.lock = threading.RLock()
        self.members = list(members)
        self.switches = Switches()
        self.log: list[dict[str, Any]] = []
        self.probes = 0
        self._events: list[Event] = []
        self._stuck_at: dict[int, int] = {}
        for member in self.members:
            member.active = list(member.names)

    def switch(self, changes: Mapping[str, Any]) -> None:
        """Change switches. Raises ValueError for an unknown one."""
        unknown = set(changes) - {each.name for each in fields(Switches)}
        if unknown:
            message = f"expected switches: {', '.join(each.name for each in fields(Switches))}"
            raise ValueError(message)
        for name, value in changes.items():
            setattr(self.switches, name, value)
        for index in self.switches.stuck:
            self._stuck_at.setdefault(index, len(self._events))
        for index in set(self._stuck_at) - set(self.switches.stuck):
            del self._stuck_at[index]

    def objects(self, index: int) -> dict[str, str]:
        """The secret objects this member sees: the primary all of them, the others after the mirroring delay."""
        visible = self._events[: self._stuck_at.get(index, len(self._events))]
        if index != self.switches.primary:
            now = time.monotonic()
            visible = [event for event in visible if event.at + self.switches.mirror_delay_s <= now]
        found: dict[str, str] = {}
        for event in visible:
            found.pop(event.name, None)
            if event.value is not None:
                found[event.name] = event.value
        return found

    def create(self, name: str, value: str) -> None:
        """Contract 3.3."""
        self._need_primary()
        if name in self.objects(self.switches.primary):
            raise Refusal(409, f"the secret '{name}' already exists")  # contract 10.3
        self._events.append(Event(time.monotonic(), name, value))

    def delete(self, name: str) -> None:
        """Contract 3.5."""
        self._need_primary()
        if name not in self.objects(self.switches.primary):
            raise Refusal(404, f"the secret '{name}' does not exist")  # contract 3.8
        if any(name in member.names for member in self.members):
            raise Refusal(409, f"the secret '{name}' is referenced by 'Sideband API'")  # contract 10.3
        self._events.append(Event(time.monotonic(), name, None))

    def add(self, index: int, names: Sequence[str]) -> None:
        """Contract 3.4."""
        member, objects = self.members[index], self.objects(index)
        for name in names:
            if name not in objects:
                raise Refusal(400, f"no such secret '{name}'")  # contract 10.3
            if name in member.names and self.switches.readd_is_error:
                raise Refusal(400, f"'{name}' is already a value of shared-secrets")  # contract 10.8
        self._set(index, [*member.names, *(name for name in names if name not in member.names)])

    def remove(self, index: int, name: str | None) -> None:
        """Contract 3.4; without a name the whole list is wiped (contract 10.9)."""
        member = self.members[index]
        if name is None:
            self._set(index, [])
            return
        if name not in member.names and self.switches.readd_is_error:
            raise Refusal(400, f"'{name}' is not a value of shared-secrets")  # contract 10.8
        self._set(index, [each for each in member.names if each != name])

    def reached(self, index: int, scope: str) -> list[int]:
        """The members that a change of the extension reaches (contract 3.7)."""
        if scope != "server-group":
            return [index]
        everyone = list(range(len(self.members)))
        return everyone if self.switches.group_reaches is None else self.switches.group_reaches

    def restart(self, index: int) -> None:
        """Make what is stored active (contract 10.6)."""
        self.members[index].active = list(self.members[index].names)

    def accepts(self, index: int, value: str | None) -> bool:
        """Whether this server's Sideband API lets this value in: the oracle."""
        member = self.members[index]
        if self.switches.accepts_everything or not member.active:
            return True  # contract 1: an empty list means no authentication
        objects = self.objects(index)
        return value is not None and any(objects.get(name) == value for name in member.active)

    def record(self, **entry: Any) -> None:
        """Write one mutating request into the log."""
        self.log.append(entry)

    def state(self) -> dict[str, Any]:
        """Everything but values."""
        return {
            "servers": [
                {
                    "names": list(m.names),
                    "active": list(m.active),
                    "header": m.header,
                    "objects": sorted(self.objects(i)),
                }
                for i, m in enumerate(self.members)
            ],
            "switches": {each.name: getattr(self.switches, each.name) for each in fields(Switches)},
            "probes": self.probes,
        }

    def _set(self, index: int, names: list[str]) -> None:
        member = self.members[index]
        member.names = names
        if not self.switches.inactive_until_restart and index not in self.switches.not_accepted_on:
            member.active = list(names)

    def _need_primary(self) -> None:
        if self.switches.primary_down:
            raise Refusal(500, "the topology has no primary: the mirrored configuration is read-only")  # contract 3.8


def fingerprint(value: str) -> str:
    """A short name for a value in logs."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]
