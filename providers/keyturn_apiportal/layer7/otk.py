"""What a proxy's token endpoint says by its error codes (contract 4). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from keyturn.api import Answer, Verdict
from keyturn_apiportal.token_probe import Judge, error_word, token_of

CODE = re.compile(r"\d{1,10}")
UNAUTHORISED, NOT_FOUND, TOO_MANY, SERVER = 401, 404, 429, 500

MEANS: Mapping[str, str] = {
    "3003000": "unknown",
    "3003103": "bug",
    "3003113": "unknown",
    "3003115": "unsuited",
    "3003117": "unsuited",
    "3003119": "unsuited",
    "3003201": "refused",
    "3003203": "unknown",
}
"""Contract 4. That 3003115, 3003117 and 3003119 come after the credentials were found good is likely, no more."""

VERDICTS = {"accepted": Verdict.ACCEPTED, "refused": Verdict.REFUSED}
SAYS = {
    "bug": "the request was not as OTK wants it: set probe.basic or probe.grant",
    "absent": "there is no such endpoint: check proxies and proxy_token_path of the account",
    "unsuited": "this client can not be asked about so: set probe.scope, or probe.kind resource, or codes",
}


def judge_by(codes: Mapping[str, str]) -> Judge:
    """The rule with these codes in place of the contract's: first the code, then the error's word, then the status."""
    means = {**MEANS, **codes}

    def judged(answer: Answer) -> tuple[Verdict, str]:
        code, word = ca_err(answer), error_word(answer)
        meaning = means.get(code) or _by_word_and_status(answer, word)
        shown = " ".join(filter(None, (str(answer.status), word, f"x-ca-err {code}" if code else "")))
        said = SAYS.get(meaning, "" if meaning in VERDICTS else "proves nothing")
        return VERDICTS.get(meaning, Verdict.UNKNOWN), f"{shown}{f', {said}' if said else ''}"

    return judged


def ca_err(answer: Answer) -> str:
    """OTK's own code; empty where there is none."""
    code = answer.headers.get("x-ca-err", "").strip()
    return code if CODE.fullmatch(code) else ""


def _by_word_and_status(answer: Answer, word: str) -> str:
    """`invalid_request` stands beside `invalid_client` for a refused client, but with a 401 only (contract 4)."""
    if answer.status == TOO_MANY or answer.status >= SERVER:
        return "unknown"
    if answer.status == 200 and token_of(answer):  # noqa: PLR2004
        return "accepted"
    if word == "invalid_client" or answer.status == UNAUTHORISED:
        return "refused"
    return "absent" if answer.status == NOT_FOUND else "unknown"
