"""What AWS's error codes mean for the engine: did it happen, and may it be sent again? Pure (contract 5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keyturn.api import Doubt, NotSent, PluginError, Refused

GONE = "ResourceNotFoundException"
EXISTS = "ResourceExistsException"
BAD_STATE = "InvalidRequestException"
BAD_PARAMETER = "InvalidParameterException"
LOOKED_AT = frozenset({GONE, EXISTS, BAD_STATE, BAD_PARAMETER})

THROTTLED = frozenset(
    {
        "429",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"})
UNKNOWN_CALLER = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
BROKEN = frozenset({"InternalFailure", "InternalServerError", "InternalServiceError", "ServiceUnavailable"})
QUOTA = "LimitExceededException"
SERVER_FAULT = 500


class Effect(StrEnum):
    """What one attempt came to: a definite no, nothing happened, or nobody knows."""

    NO = "no"
    NONE = "none"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One failed attempt. `says` is AWS's own code where a verb has to look at it, `now` the service's clock."""

    effect: Effect
    why: str
    code: str
    hint: str = ""
    says: str = ""
    now: float | None = None

    def outcome(self, *, mutates: bool, unsure: bool) -> PluginError:
        """What to raise. `unsure`: the answer to an earlier attempt was lost, so it may have happened all the same."""
        in_doubt = mutates and (unsure or self.effect is Effect.LOST)
        if self.says:
            return Said(self, in_doubt=in_doubt)
        kind = Doubt if in_doubt else Refused if self.effect is Effect.NO else NotSent
        return kind(self.why, code=self.code, hint=self.hint)


class Said(Refused):
    """AWS said no for a reason that a verb looks at: something is there already, or not, or is in another state."""

    def __init__(self, failure: Failure, *, in_doubt: bool) -> None:
        super().__init__(failure.why, code=failure.code)
        self.says = failure.says
        self.now = failure.now
        self._in_doubt = in_doubt

    def final(self) -> PluginError:
        """What to raise where looking did not explain it."""
        return (Doubt if self._in_doubt else Refused)(self.why, code=self.code)


def failure_of(code: str, status: int, action: str, now: float | None) -> Failure:
    """What an answered error means. `action` is the IAM name of the call; AWS's own text is never looked at."""
    if code in LOOKED_AT:
        why = f"{action} was refused with {code}"
        return Failure(effect=Effect.NO, why=why, code="aws-refused", says=code, now=now)
    if code in THROTTLED:
        hint = "try again later; where it lasts, look for who else calls Secrets Manager, or raise the account's quota"
        why = f"AWS throttles {action}: run again later"
        return Failure(effect=Effect.NONE, why=why, code="aws-throttled", hint=hint)
    if code == str(status) and status < SERVER_FAULT:
        return not_aws(action)  # the SDK found no error of AWS's in it
    if code in BROKEN or status >= SERVER_FAULT:
        return Failure(effect=Effect.LOST, why=f"{action} failed inside AWS ({code})", code="aws-failed")
    return _refusal(code, action)


def not_aws(action: str) -> Failure:
    """Something answered that is not Secrets Manager, so that nobody knows what became of the call."""
    hint = "check the option endpoint: another program answers there, or a proxy or login page on the way"
    return Failure(
        effect=Effect.LOST, why=f"the answer to {action} is not Secrets Manager's", code="aws-answer", hint=hint
    )


def _refusal(code: str, action: str) -> Failure:
    hint = ""
    if code in DENIED:
        why, ours = f"{action} is denied: allow it in the policy of whoever Keyturn runs as", "aws-denied"
        hint = f"allow {action} on this secret, and kms:GenerateDataKey and kms:Decrypt on a key of your own; all "
        hint += "actions that it needs: docs/plugins/aws.md"
    elif code in UNKNOWN_CALLER:
        why, ours = f"AWS does not accept the credentials ({code}): renew them, check the clock", "aws-credentials"
        hint = "aws sts get-caller-identity, as this user, tells whose they are: put good ones in their place"
    elif code.startswith("KMS") or code in ("EncryptionFailure", "DecryptionFailure"):
        why, ours = (
            f"{action} can not use the KMS key ({code}): enable it, allow kms:GenerateDataKey and kms:Decrypt",
            "aws-kms",
        )
        hint = "aws kms describe-key shows the key's state: enable it, allow kms:GenerateDataKey and kms:Decrypt on it"
    elif code == QUOTA:
        why, ours = f"{action} would exceed a quota of labels, versions or secrets", "aws-quota"
    else:
        why, ours = f"{action} was refused with {code}", "aws-refused"
    return Failure(effect=Effect.NO, why=why, code=ours, hint=hint)
