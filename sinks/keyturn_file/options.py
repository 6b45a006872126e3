"""The file sink's options: an account is a folder, a place is one file below it."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, model_validator

from keyturn.api import LocalPath, Options, SinkTraits

SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)
NAME_BYTES_MAX = 200
TEXT_BYTES_MAX = 1_048_576


def _below_the_folder(path: str) -> str:
    if not all(SEGMENT.fullmatch(segment) for segment in path.split("/")):
        message = "expected a relative path whose parts are letters, digits, . _ - and do not begin with a dot"
        raise ValueError(message)
    if len(quote(path, safe="")) > NAME_BYTES_MAX:
        message = f"expected a path of at most {NAME_BYTES_MAX} characters (a / counts three)"
        raise ValueError(message)
    return path


class Account(Options):
    """One folder. `group` may read the files when `file_mode` is 0640."""

    folder: LocalPath = Field(
        description="the folder of all places; a relative one hangs on the configuration's folder"
    )
    group: str | None = Field(
        default=None, description="group that owns the files, needs file_mode 0640 (the runner's unless set)"
    )
    file_mode: Literal["0600", "0640"] = Field(
        default="0600", description="permissions of the files; the default lets nobody but the runner's user read them"
    )

    @model_validator(mode="after")
    def _group_can_read(self) -> Account:
        if self.group and self.file_mode == "0600":
            message = "expected file_mode 0640 where a group is named: with 0600 the group can not read"
            raise ValueError(message)
        return self

    @property
    def mode(self) -> int:
        """The permission bits of what consumers read."""
        return int(self.file_mode, 8)


class Place(Options):
    """One file. `raw` stores one field's value alone; `keep_previous` outranks what the engine asks for."""

    path: Annotated[str, AfterValidator(_below_the_folder)] = Field(
        description=f"the file, relative to the folder; at most {NAME_BYTES_MAX} characters, where a / counts three"
    )
    format: Literal["json", "raw"] = Field(
        default="json",
        description="json: an object of all fields, as it says which is which; raw: one field's value alone",
    )
    keep_previous: int | None = Field(
        default=None,
        description="number of earlier versions that stay readable (what the secret's rotate section says unless set)",
    )


def traits(account: Account, place: Place) -> SinkTraits:  # noqa: ARG001 - the same for all
    """What this sink can do."""
    return SinkTraits(hides_pending=True, compares=True, keeps_previous=True, bytes_max=TEXT_BYTES_MAX)


def subject(account: Account, place: Place) -> str:
    """The place's canonical name: its absolute path."""
    return os.path.abspath(account.folder / place.path)  # noqa: PTH100 - resolve() would look at the disk
