"""What a look at a place warns of, with the command that mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyturn.api import Problem
from keyturn_vault.engine import Settings
from keyturn_vault.options import Account
from keyturn_vault.shelf import Look

FEW_VERSIONS_MAX = 2


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A look, how the mount is set (None: not allowed to ask), and whether the path is also a folder."""

    look: Look
    mount: Settings | None
    folder: bool


def problems(seen: Seen, account: Account, path: str) -> tuple[Problem, ...]:
    """Fatal: what a person decided or must decide. The others are warnings."""
    return (
        *_unreadable(seen.look, account, path),
        *_folder(seen, path),
        *_foreign_pending(seen.look, account, path),
        *_left_over(seen.look, account, path),
        *_compares(seen, account, path),
        *_kept(seen, account, path),
    )


def _unreadable(look: Look, account: Account, path: str) -> Iterator[Problem]:
    if look.soft_deleted:
        yield Problem(
            code="sink-soft-deleted",
            text=f"somebody deleted version {look.front.latest} of {path}, or it expired: consumers read nothing",
            hint=f"bring it back: bao kv undelete -mount={account.mount} -versions={look.front.latest} {path}; "
            f"or give it up: bao kv metadata delete -mount={account.mount} {path}",
        )
    if look.front.destroyed:
        yield Problem(
            code="sink-destroyed",
            text=f"somebody destroyed version {look.front.latest} of {path}: consumers read nothing",
            fatal=False,
            hint="keyturn repair NAME writes the current version again",
        )


def _folder(seen: Seen, path: str) -> Iterator[Problem]:
    if seen.folder:
        yield Problem(
            code="path-is-folder",
            text=f"nothing is stored at {path}, but there are secrets below it: is this the right path?",
            hint="name the whole path of the secret, or store a first value there by hand and adopt it",
        )


def _foreign_pending(look: Look, account: Account, path: str) -> Iterator[Problem]:
    if look.front.pending and look.front.pending.entry is None:
        place = f"{account.pending}/{path}"
        yield Problem(
            code="pending-foreign",
            text=f"{place} holds something that Keyturn did not write",
            hint=f"move it away, then: bao kv metadata delete -mount={account.mount} {place}",
        )


def _left_over(look: Look, account: Account, path: str) -> Iterator[Problem]:
    pending, current = look.front.pending, look.current
    if pending and current and pending.version_id and pending.version_id == current.version_id:
        yield Problem(
            code="pending-left-over",
            text=f"{account.pending}/{path} still holds a copy of what is served: a clean-up was cut short",
            fatal=False,
            hint="the next rotation clears it",
        )


def _compares(seen: Seen, account: Account, path: str) -> Iterator[Problem]:
    if seen.look.front.settings.cas_required or (seen.mount and seen.mount.cas_required):
        return
    hint = (
        f"bao write {account.mount}/config cas_required=true, or for this path alone: "
        f"bao kv metadata patch -mount={account.mount} -cas-required=true {path}"
    )
    if seen.mount is None:
        text = f"whether writers must check and set here is not known: {account.mount}/config can not be read"
        yield Problem(code="cas-unknown", text=text, fatal=False, hint=hint)
        return
    text = "others can write here without check-and-set, over a version they have not seen"
    yield Problem(code="cas-not-required", text=text, fatal=False, hint=hint)


def _kept(seen: Seen, account: Account, path: str) -> Iterator[Problem]:
    here, mount = seen.look.front.settings, seen.mount or Settings()
    versions = here.versions_max or mount.versions_max
    patch = f"bao kv metadata patch -mount={account.mount}"
    if 0 < versions <= FEW_VERSIONS_MAX:
        yield Problem(
            code="few-versions",
            text=f"only {versions} versions are kept here: a previous one may be gone when it is needed",
            fatal=False,
            hint=f"{patch} -max-versions=10 {path}",
        )
    after = here.deleted_after or mount.deleted_after
    if after:
        yield Problem(
            code="versions-expire",
            text=f"the server deletes each version after {after}, the current one included",
            fatal=False,
            hint=f"rotate well within that time, or: {patch} -delete-version-after=0s {path}",
        )
