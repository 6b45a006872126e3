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
from keyturn_aws.failures import Effect, Failure, failure_of, not_aws
from keyturn_aws.options import Account

ATTEMPTS_MAX = 4
PAUSE_S, PAUSE_S_MAX = 0.5, 4.0
READS = frozenset({"describe_secret", "get_secret_value"})

NOT_CONNECTED = (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError)
ANSWERS_NOTHING = "tag_resource"
"""All other operations name the secret that they were for."""

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
            began_at = self._context.now()
            failure, answer = self._once(operation, arguments)
            if failure is None:
                return answer
            unsure = unsure or failure.effect is Effect.LOST
            last = failure.effect is Effect.NO or attempt + 1 == ATTEMPTS_MAX
            if last or not self._pause(attempt, deadline_at, began_at):
                break
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
            return _failure(error, action_of(operation), self._account), {}
        foreign = operation != ANSWERS_NOTHING and not answer.get("ARN")
        return (not_aws(action_of(operation)) if foreign else None), answer

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                self._made = made(self._account, self._context.resolve)
            return self._made

    def _pause(self, attempt: int, deadline_at: float, began_at: float) -> bool:
        """Back off by chance, so that a fleet that was throttled together does not come back together.

        False where no further attempt that takes as long as the last one, which `began_at`, would end in time: what
        is known now is told while there is somebody to hear it.
        """
        now = self._context.now()
        pause_s = secrets.SystemRandom().uniform(0.0, min(PAUSE_S * 2**attempt, PAUSE_S_MAX))
        if now + pause_s + (now - began_at) >= deadline_at:
            return False
        self._context.wait(lambda: False, every_s=pause_s, at_most_s=pause_s)
        return True


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


def _failure(error: Exception, action: str, account: Account) -> Failure:
    """What an exception of the SDK means. Its text is never passed on: it may show what was sent."""
    if isinstance(error, aws.ClientError):
        return _answered(error, action)
    where = account.endpoint or f"AWS in {account.region}"
    if isinstance(error, aws.SSLError):
        why = f"{where} shows a certificate that is not trusted, or speaks no TLS"
        hint = "check the option endpoint; an authority of your own: AWS_CA_BUNDLE=FILE in Keyturn's environment"
        return Failure(effect=Effect.NONE, why=why, code="tls-unverified", hint=hint)
    if isinstance(error, NOT_CONNECTED):
        why = f"no connection to {where} for {action}: check region, endpoint, name resolution and network"
        return Failure(effect=Effect.NONE, why=why, code="unreachable")
    return _unsigned(error) or _unsent(error, action)


def _unsigned(error: Exception) -> Failure | None:
    """Whose credentials to sign with is not known."""
    if isinstance(error, aws.ProfileNotFound):
        why = "the AWS profile is not in the shared configuration files of this user"
        hint = "aws configure list-profiles shows those that are: correct the option profile"
        return Failure(effect=Effect.NO, why=why, code="aws-profile", hint=hint)
    if isinstance(error, NO_CREDENTIALS):
        why = "found no usable AWS credentials: name keys or a profile, or give the machine a role"
        hint = "name access_key_id and secret_access_key, or a profile, or give the machine a role"
        return Failure(effect=Effect.NO, why=why, code="aws-credentials", hint=hint)
    return None


def _unsent(error: Exception, action: str) -> Failure:
    """The SDK did not send it, or there was no answer."""
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
