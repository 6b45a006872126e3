"""A client of AWS's SDK: whose credentials, which region and role, how long it waits, and what it may log.

botocore is used by itself: boto3, which brings it, adds only a shared default session and resource objects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError
from botocore.loaders import Loader
from botocore.session import Session

from keyturn.api import Secret
from keyturn_aws.options import Account, AssumeRole

POOL_MAX = 64
MODELS = Loader()
"""The SDK's descriptions of services; read once for all clients, which makes each further one five times faster."""

LOGGERS = ("botocore", "boto3", "urllib3")

Resolve = Callable[[str], Secret]


def made(account: Account, resolve: Resolve) -> Any:
    """A new client of Secrets Manager; the first one takes about 0.1 s.

    Raises botocore's exceptions and what `resolve` raises.
    """
    keep_quiet()
    session = _session(account)
    if account.access_key_id and account.secret_access_key:
        session.set_credentials(
            resolve(account.access_key_id).reveal(),
            resolve(account.secret_access_key).reveal(),
            resolve(account.session_token).reveal() if account.session_token else None,
        )
    if account.assume_role:
        session = _in_role(session, account, account.assume_role, resolve)
    return session.create_client(
        "secretsmanager", region_name=account.region, endpoint_url=account.endpoint, config=_config(account, 1)
    )


def keep_quiet() -> None:
    """Keep the SDK from logging below INFO: at DEBUG botocore writes whole requests, with the value in them."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith(tuple(f"{one}." for one in LOGGERS))]
    for logger in map(logging.getLogger, (*LOGGERS, *names)):
        # One below with a level of its own does not ask the one above.
        if logger.name in LOGGERS or logger.level:
            logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))


def _session(account: Account) -> Session:
    session = Session(profile=account.profile)
    session.register_component("data_loader", MODELS)
    return session


def _config(account: Account, attempts_max: int) -> Config:
    return Config(
        connect_timeout=account.connect_timeout,
        read_timeout=account.read_timeout,
        max_pool_connections=POOL_MAX,
        retries={"mode": "standard", "total_max_attempts": attempts_max},
    )


def _in_role(session: Session, account: Account, role: AssumeRole, resolve: Resolve) -> Session:
    """A session whose credentials are the role's, renewed by `session` before they end."""
    source = session.get_credentials()
    if source is None:
        raise NoCredentialsError
    sts = partial(session.create_client, region_name=account.region, config=_config(account, 3))
    extra = {"RoleSessionName": role.session_name, "DurationSeconds": int(role.duration)}
    if role.external_id:
        extra["ExternalId"] = _text(role.external_id, resolve)
    fetcher = AssumeRoleCredentialFetcher(sts, source, role.role_arn, extra_args=extra)
    taken = _session(account)
    taken.register_component("credential_provider", CredentialResolver([_Role(fetcher)]))
    return taken


class _Role(CredentialProvider):
    """The one place where the role's session looks for credentials."""

    METHOD = "assume-role"

    def __init__(self, fetcher: AssumeRoleCredentialFetcher) -> None:
        super().__init__()
        self._fetcher = fetcher

    def load(self) -> DeferredRefreshableCredentials:
        """Credentials that are fetched when they are first used, and again before they end."""
        return DeferredRefreshableCredentials(self._fetcher.fetch_credentials, self.METHOD)


def _text(plain_or_reference: str, resolve: Resolve) -> str:
    is_reference = plain_or_reference.startswith(("env:", "file:", "exec:")) or "#" in plain_or_reference
    return resolve(plain_or_reference).reveal() if is_reference else plain_or_reference
