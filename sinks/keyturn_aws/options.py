"""The options of an account in one region, and of one secret there; what follows from them is pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from keyturn.api import Options, Reference, Seconds, SinkTraits, Url

NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}", re.ASCII)
LIKE_AN_ARN = re.compile(r".*-[A-Za-z0-9]{6}", re.ASCII)
"""A name that AWS may take for a part of an ARN (contract 4.4)."""

ROLE_ARN = r"^arn:[a-z-]+:iam::\d{12}:role/\S+$"
TEXT_BYTES_MAX = 65_536
TAG_KEY_MAX, TAG_VALUE_MAX = 128, 256
TAG_TEXT = re.compile(r"[\w\s.:/=+@-]*")
OUR_TAGS = "keyturn:"
TAGS_MAX = 30


def _name(name: str) -> str:
    """Contract 4.4."""
    if not NAME.fullmatch(name):
        message = "expected 1 to 512 letters, digits or any of /_+=.@-"
        raise ValueError(message)
    return name


def _tags(tags: dict[str, str]) -> dict[str, str]:
    """Contract 4.5."""
    if len(tags) > TAGS_MAX:
        message = f"expected at most {TAGS_MAX} tags"
        raise ValueError(message)
    if not all(tag_fits(key, value) for key, value in tags.items()):
        message = "expected keys of 1 to 128 and values of up to 256 letters, digits, blanks or any of _.:/=+@-"
        raise ValueError(message)
    if any(key.lower().startswith(("aws:", OUR_TAGS)) for key in tags):
        message = f"expected keys that begin neither with aws: nor with {OUR_TAGS}"
        raise ValueError(message)
    return tags


def tag_fits(key: str, value: str) -> bool:
    """Whether AWS takes this tag (contract 4.5)."""
    sizes = 1 <= len(key) <= TAG_KEY_MAX and len(value) <= TAG_VALUE_MAX
    return sizes and bool(TAG_TEXT.fullmatch(key) and TAG_TEXT.fullmatch(value))


class AssumeRole(Options):
    """A role to take before the first call; its credentials are renewed before they end."""

    role_arn: Annotated[str, Field(pattern=ROLE_ARN)] = Field(description="ARN of the role to assume")
    external_id: Reference | str | None = Field(
        default=None, description="external id that the role's trust asks for, or a reference to it"
    )
    session_name: Annotated[str, Field(pattern=r"^[\w+=,.@-]{2,64}$")] = Field(
        default="keyturn", description="name that CloudTrail shows"
    )
    duration: Annotated[Seconds, Field(ge=900, le=43_200)] = Field(
        default=3600.0, description="life of one set of credentials, 15m to 12h; at most what the role allows"
    )


class Account(Options):
    """One AWS account in one region. Without keys and profile, boto's own chain finds the credentials."""

    account_id: Annotated[str, Field(pattern=r"^\d{12}$")] | None = Field(
        default=None, description="number of the AWS account; it only tells equal names in two accounts apart"
    )
    region: Annotated[str, Field(pattern=r"^[a-z]{2,}(-[a-z0-9]+)+$")] = Field(description="region, such as eu-west-1")
    endpoint: Url | None = Field(
        default=None, description="URL of the service instead of AWS's own (a VPC endpoint, a test server)"
    )
    profile: str | None = Field(default=None, description="profile of the shared AWS configuration files")
    access_key_id: Reference | None = Field(default=None, description="reference to an access key id")
    secret_access_key: Reference | None = Field(default=None, description="reference to its secret access key")
    session_token: Reference | None = Field(
        default=None, description="reference to the session token of temporary credentials"
    )
    assume_role: AssumeRole | None = Field(default=None, description="role to assume with these credentials")
    connect_timeout: Annotated[Seconds, Field(gt=0)] = Field(
        default=3.0, description="longest wait for a connection, for each attempt"
    )
    read_timeout: Annotated[Seconds, Field(gt=0)] = Field(
        default=10.0, description="longest wait for an answer, for each attempt"
    )

    @model_validator(mode="after")
    def _one_source_of_credentials(self) -> Account:
        if bool(self.access_key_id) != bool(self.secret_access_key) or (self.session_token and not self.access_key_id):
            message = "expected access_key_id and secret_access_key together"
            raise ValueError(message)
        if self.profile and self.access_key_id:
            message = "expected a profile or keys, found both"
            raise ValueError(message)
        return self


class Place(Options):
    """One secret. What is not set is left as it is where the secret exists already."""

    name: Annotated[str, AfterValidator(_name)] = Field(description="name of the secret, not its ARN")
    kms_key_id: str | None = Field(
        default=None, description="KMS key of a secret that Keyturn creates (aws/secretsmanager unless set)"
    )
    description: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None, description="description of a secret that Keyturn creates"
    )
    tags: Annotated[dict[str, str], AfterValidator(_tags)] = Field(
        default_factory=dict, description="tags of a secret that Keyturn creates"
    )
    keep_previous: Annotated[int, Field(ge=0, le=10)] | None = Field(
        default=None,
        description="number of earlier versions that stay readable (what the secret's rotate section says unless set)",
    )


def traits(account: Account, place: Place) -> SinkTraits:  # noqa: ARG001 - the same for all
    """What this sink can do. The first version is current at once (contract 3.3), so an empty place stages nothing."""
    return SinkTraits(stages_empty=False, bytes_max=TEXT_BYTES_MAX)


def subject(account: Account, place: Place) -> str:
    """The place's canonical name. Whose AWS account it is, only a number, a role or a profile says."""
    role = account.assume_role.role_arn.split(":")[4] if account.assume_role else None
    whose = account.account_id or role or account.profile or ""
    at = f"{account.endpoint}:" if account.endpoint else ""
    return f"aws:{at}{account.region}:{whose}:{place.name}"
