"""The one door to AWS: sends calls, repeats them while that is safe, and turns what goes wrong into outcomes.

Attempts are counted here and not by botocore, so that each of them looks at the deadline first, a stop ends the pauses,
and it is known whether an earlier answer was lost.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions as aws

from keyturn.api import Context, Doubt, NotSent, PluginError
from keyturn_aws.client_session import made
from keyturn_aws.failures import Effect, Failure, failure_of
from keyturn_aws.options import Account

ATTEMPTS_MAX = 4
PAUSE_S, PAUSE_S_MAX = 0.5, 4.0
READS = frozenset({"describe_secret", "get_secret_value"})

NOT_CONNECTED = (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError, aws.SSLError)
NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.MetadataRetrievalError,
    aws.TokenRetrievalError,
    aws.SSOError,
    aws.LoginError,
    aws.RefreshWithMFAUnsupportedError,
    aws.UnknownCredentialError,
)
ANSWER_LOST = (aws.HTTPClientError, aws.IncompleteReadError, aws.ChecksumError)

Inject = Callable[[str, str], None]


class SecretsManager:
    """Secrets Manager for one account, for any number of threads. Nothing is made or sent before the first call.

    `inject` is called before and after each attempt with (moment, operation): a test makes faults there.
    """

    def __init__(self, context: Context, account: Account, inject: Inject | None = None) -> None:
        self._context = context
        self._account = account
        self._inject = inject or (lambda *_: None)
        self._making = threading.Lock()
        self._made: Any = None

    def call(self, operation: str, *, deadline_at: float, **arguments: Any) -> Mapping[str, Any]:
        """Send one call, up to four times.

        Raises Said where a verb has to look, Refused for any other definite no, NotSent where nothing happened, and
        Doubt where a call that changes something may have been applied.
        """
        mutates = operation not in READS
        unsure = False
        failure = None
        for attempt in range(ATTEMPTS_MAX):
            self._in_time(deadline_at, failure, in_doubt=mutates and unsure)
            failure, answer = self._once(operation, arguments)
            if failure is None:
                return answer
            if failure.effect is Effect.NO:
                break
            unsure = unsure or failure.effect is Effect.LOST
            if attempt + 1 < ATTEMPTS_MAX:
                self._pause(attempt, deadline_at)
        if failure is None:
            raise NotSent("nothing was sent", code="unreachable")
        raise failure.outcome(mutates=mutates, unsure=unsure)

    def _in_time(self, deadline_at: float, failure: Failure | None, *, in_doubt: bool) -> None:
        if self._context.now() < deadline_at:
            return
        why = f"the call's deadline is over{f': {failure.why}' if failure else ''}"
        raise (Doubt if in_doubt else NotSent)(why, code="deadline-over")

    def _once(self, operation: str, arguments: Mapping[str, Any]) -> tuple[Failure | None, Mapping[str, Any]]:
        try:
            client = self._client()
            self._inject("before", operation)
            answer: Mapping[str, Any] = getattr(client, operation)(**arguments)
            self._inject("after", operation)
        except PluginError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises may show a value, so none gets out
            return _failure(error, action_of(operation)), {}
        return None, answer

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                self._made = made(self._account, self._context.resolve)
            return self._made

    def _pause(self, attempt: int, deadline_at: float) -> None:
        """Back off by chance, so that a fleet that was throttled together does not come back together."""
        longest_s = min(PAUSE_S * 2**attempt, PAUSE_S_MAX)
        pause_s = min(secrets.SystemRandom().uniform(0.0, longest_s), deadline_at - self._context.now())
        if pause_s > 0:
            self._context.wait(lambda: False, every_s=pause_s, at_most_s=pause_s)


def action_of(operation: str) -> str:
    """The name that IAM policies use: `put_secret_value` is `secretsmanager:PutSecretValue`."""
    return "secretsmanager:" + "".join(word.capitalize() for word in operation.split("_"))


def date_of(answer: Mapping[str, Any]) -> float | None:
    """The service's clock as an answer's Date header shows it (contract 1.10), epoch seconds."""
    header = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None


def _failure(error: Exception, action: str) -> Failure:
    """What an exception of the SDK means. Its text is never passed on: it may show what was sent."""
    if isinstance(error, aws.ClientError):
        return _answered(error, action)
    if isinstance(error, NOT_CONNECTED):
        return Failure(effect=Effect.NONE, why=f"no connection to AWS for {action}", code="unreachable")
    if isinstance(error, aws.ProfileNotFound):
        why = "the AWS profile is not in the shared configuration files of this user"
        return Failure(effect=Effect.NO, why=why, code="aws-profile")
    if isinstance(error, NO_CREDENTIALS):
        why = "found no usable AWS credentials: name keys or a profile, or give the machine a role"
        return Failure(effect=Effect.NO, why=why, code="aws-credentials")
    if isinstance(error, aws.BotoCoreError) and not isinstance(error, ANSWER_LOST):
        why = f"the AWS SDK did not send {action} ({type(error).__name__})"
        return Failure(effect=Effect.NO, why=why, code="aws-sdk")
    return Failure(effect=Effect.LOST, why=f"no answer to {action} ({type(error).__name__})", code="aws-no-answer")


def _answered(error: aws.ClientError, action: str) -> Failure:
    """The role's credentials are fetched inside another call: the error names the call that really failed."""
    response: Mapping[str, Any] = error.response
    failed = "sts:AssumeRole" if error.operation_name == "AssumeRole" else action
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return failure_of(str(response.get("Error", {}).get("Code", "")), status, failed, date_of(response))
