"""Which version of a secret is what, told by its labels, and what its tags say. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from keyturn.api import Fields, Held, Refused, SinkVersion
from keyturn_aws.options import OUR_TAGS, tag_fits

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
LABELS_MAX = 20
LABELS_FULL = 17
TAGS_MAX = 50
OURS = re.compile(r"keyturn-(?P<number>\d+)-(?P<journal>.+)", re.DOTALL)
VERSION_ID = re.compile(r"[!-~]{32,64}", re.ASCII)
VERSION_TAG, LABEL_TAG = f"{OUR_TAGS}version", f"{OUR_TAGS}label"
"""Which version the tags speak of, and its label once more: a create takes tags but no labels (contract 3.1)."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Who wrote a version, as our own label on it says (contract 8.2)."""

    number: int
    journal_id: str

    @property
    def label(self) -> str:
        """The label."""
        return f"keyturn-{self.number}-{self.journal_id}"

    @property
    def passing(self) -> Mark:
        """The mark while a promote lasts. All promotes share it, so that a crowd of them does not use up the labels."""
        return Mark(number=0, journal_id=self.journal_id)


def mark_of(labels: Iterable[str]) -> Mark | None:
    """The mark among the labels of a version; None where somebody else wrote it."""
    matches = [match for label in labels if (match := OURS.fullmatch(label))]
    marks = [Mark(number=int(match["number"]), journal_id=match["journal"]) for match in matches]
    return max(marks, key=lambda mark: (mark.number, mark.journal_id), default=None)


def new_mark(version: SinkVersion, journal_id: str) -> Mark:
    """The mark of a version to write. Raises Refused `bad-version-id`, `bad-journal-id` (contract 2.1, 4.3)."""
    if not VERSION_ID.fullmatch(version.id):
        raise Refused("expected a version id of 32 to 64 characters", code="bad-version-id")
    mark = Mark(number=version.number, journal_id=journal_id)
    if not journal_id or not tag_fits(LABEL_TAG, mark.label):
        raise Refused("expected a journal id of 1 to 200 letters, digits or any of _.:/=+@-", code="bad-journal-id")
    return mark


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A secret without its values: the labels of each version that has one, its tags, and what is wrong with it.

    `behind` are the Regions whose replica is not in step; `now` is the service's clock, epoch seconds.
    """

    labels: Mapping[str, frozenset[str]]
    exists: bool = True
    tags: Fields = field(default_factory=dict)
    deleted: bool = False
    rotates: bool = False
    behind: tuple[str, ...] = ()
    now: float | None = None

    def holding(self, label: str) -> str | None:
        """The id of the version that has this label."""
        return next((version_id for version_id, labels in self.labels.items() if label in labels), None)

    @property
    def current(self) -> str | None:
        """What consumers read."""
        return self.holding(CURRENT)

    @property
    def pending(self) -> str | None:
        """The pending version. The label on the current one means nothing (contract 2.15)."""
        found = self.holding(PENDING)
        return None if found == self.current else found

    @property
    def previous(self) -> tuple[str, ...]:
        """Our earlier versions: the one that was served last, then the newest number first."""
        marks = {version_id: mark_of(labels) for version_id, labels in self.labels.items()}
        ours = {version_id: mark for version_id, mark in marks.items() if mark}
        earlier = [version_id for version_id in ours if version_id not in (self.current, self.pending)]
        return tuple(sorted(earlier, key=lambda one: (PREVIOUS not in self.labels[one], -ours[one].number)))

    def mark(self, version_id: str) -> Mark | None:
        """Who wrote this version."""
        tagged = self.tags.get(VERSION_TAG) == version_id == self.current
        return mark_of(self.labels.get(version_id, ())) or (mark_of([self.tags.get(LABEL_TAG, "")]) if tagged else None)

    def marks_of(self, journal_id: str, version_ids: Iterable[str]) -> list[tuple[str, str]]:
        """Each of these versions that this journal wrote, with the label that says so."""
        marks = [(version_id, self.mark(version_id)) for version_id in version_ids]
        return [(version_id, mark.label) for version_id, mark in marks if mark and mark.journal_id == journal_id]

    @property
    def count(self) -> int:
        """How many labels there are on all versions together (contract 4.2)."""
        return sum(len(labels) for labels in self.labels.values())

    def room_for(self, labels: Collection[str], tags: Collection[str]) -> None:
        """Raise Refused `aws-too-many-labels`, `meta-too-long` where these are too many (contract 4.2, 4.5)."""
        there = {label for labels_of_one in self.labels.values() for label in labels_of_one}
        if len(there.union(labels)) > LABELS_MAX:
            others = ", ".join(sorted(label for label in there if not label.startswith(("AWS", "keyturn-"))))
            how = "take one off with aws secretsmanager update-secret-version-stage"
            raise Refused(f"a secret has at most {LABELS_MAX} labels; {how}: {others}", code="aws-too-many-labels")
        if len({*self.tags, *tags}) > TAGS_MAX:
            raise Refused(f"a secret has at most {TAGS_MAX} tags: remove some of its own", code="meta-too-long")

    @property
    def meta(self) -> Fields:
        """What was stored with the current version; nothing where the tags speak of another one."""
        if not self.current or self.tags.get(VERSION_TAG) != self.current:
            return {}
        ours = {key.removeprefix(OUR_TAGS): text for key, text in self.tags.items() if key.startswith(OUR_TAGS)}
        return {key: text for key, text in ours.items() if text and f"{OUR_TAGS}{key}" not in (VERSION_TAG, LABEL_TAG)}

    def tags_for(self, wanted: Fields) -> Fields:
        """The tags to send so that these are there: changed ones; ours that are not wanted any more become empty."""
        stale = {key: "" for key, text in self.tags.items() if key.startswith(OUR_TAGS) and text and key not in wanted}
        return {**{key: text for key, text in wanted.items() if self.tags.get(key) != text}, **stale}


def tags_of(version_id: str, mark: Mark, meta: Fields) -> Fields:
    """The tags that say `meta` of this version. Raises Refused `meta-too-long` (contract 4.5)."""
    tags = {f"{OUR_TAGS}{key}": text for key, text in meta.items()}
    own = {VERSION_TAG: version_id, LABEL_TAG: mark.label}
    unfit = sorted(key for key, text in tags.items() if not tag_fits(key, text) or key in own)
    if unfit:
        raise Refused(f"these entries do not fit AWS's tags: {', '.join(unfit)[:200]}", code="meta-too-long")
    return {**tags, **own}


def held(version_id: str, mark: Mark | None, fingerprints: Fields) -> Held:
    """A version as the engine sees it: the revision is AWS's version id, which is ours where we wrote it."""
    return Held(
        version_id=version_id if mark else None,
        journal_id=mark.journal_id if mark else None,
        number=mark.number if mark else None,
        fingerprints=fingerprints,
        revision=version_id,
    )
