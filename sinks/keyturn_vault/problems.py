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
    """A look, how the mount is set (None: not allowed to ask), whether the path is also a folder, and who looks."""

    look: Look
    mount: Settings | None
    folder: bool
    journal_id: str


def problems(seen: Seen, account: Account, path: str) -> tuple[Problem, ...]:
    """Fatal: what a person decided or must decide. The others are warnings."""
    return (
        *_unreadable(seen.look, account, path),
        *_form(seen.look, path),
        *_other_journals(seen, path),
        *_folder(seen, path),
        *_foreign_pending(seen, account, path),
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


def _form(look: Look, path: str) -> Iterator[Problem]:
    if look.current and not look.current.texts:
        yield Problem(
            code="sink-other-form",
            text=f"{path} holds values that are no texts: Keyturn would write them as texts, "
            "which their readers may not understand",
            hint="let its readers take texts, put texts there by hand, then adopt them; or name another path",
        )


def _other_journals(seen: Seen, path: str) -> Iterator[Problem]:
    """Which content is theirs only they can tell: the ledger's keys are made with their identity."""
    look = seen.look
    theirs = {one.journal_id: one.number for one in look.front.ledger.values() if one.journal_id != seen.journal_id}
    if look.current and look.current.entry is None and theirs:
        written = ", ".join(f"{journal_id} (version {number})" for journal_id, number in sorted(theirs.items()))
        yield Problem(
            code="other-journal-wrote",
            text=f"{path} was written by other journals too, so what it serves may be theirs: {written}",
            fatal=False,
            hint="find out whether one of them is still at work, before you move or adopt anything",
        )


def _folder(seen: Seen, path: str) -> Iterator[Problem]:
    if seen.folder:
        yield Problem(
            code="path-is-folder",
            text=f"nothing is stored at {path}, but there are secrets below it: is this the right path?",
            hint="name the whole path of the secret, or store a first value there by hand and adopt it",
        )


def _foreign_pending(seen: Seen, account: Account, path: str) -> Iterator[Problem]:
    pending, place = seen.look.front.pending, f"{account.pending}/{path}"
    drop = f"bao kv metadata delete -mount={account.mount} {place}"
    if pending and pending.entry is None:
        yield Problem(
            code="pending-foreign",
            text=f"{place} holds something that Keyturn did not write",
            hint=f"move it away, then: {drop}",
        )
    elif pending and pending.entry and pending.entry.journal_id != seen.journal_id:
        yield Problem(
            code="sink-pending-foreign",
            text=f"{place} holds a pending version of another journal ({pending.entry.journal_id})",
            hint=f"let that journal's rotation end; if there is none any more: {drop}",
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
