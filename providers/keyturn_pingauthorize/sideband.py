"""The Sideband API as a gateway meets it: one policy request, and what its answer says about the secret."""

from __future__ import annotations

from keyturn.api import Answer, Http, Secret, Verdict

AGENT = "keyturn-rotation-probe"
ANSWERED = (200, 400, 401, 404, 413)
FORWARDED = frozenset({"method", "url", "headers", "response"})
"""One of these is in every real answer: the request as forwarded, or the denial (contract 5)."""


def ask(http: Http, *, header: str, value: Secret, url: str, label: str, deadline_at: float) -> Answer:
    """Ask for a decision on a harmless GET, marked so that a decision log's reader knows it (contract 5).

    Raises NotSent or Refused for every status but those in `ANSWERED`.
    """
    body = {
        "source_ip": "127.0.0.1",
        "source_port": "1",
        "method": "GET",
        "url": url,
        "http_version": "1.1",
        "headers": [{"user-agent": AGENT}, {"x-keyturn-probe": label}],
        "body": "",
    }
    return http.call(
        "POST",
        "/sideband/request",
        ok=ANSWERED,
        mutates=False,
        deadline_at=deadline_at,
        json=body,
        headers={"User-Agent": AGENT, "X-Keyturn-Probe": label, header: value.reveal()},
    )


def judge(answer: Answer, *, lenient: bool) -> tuple[Verdict, str]:
    """What an answer says about the secret that was sent, and why. Pure. `lenient`: 400 and 413 count as accepted."""
    if answer.status == 401:  # noqa: PLR2004
        if "html" in answer.headers.get("content-type", ""):
            return Verdict.UNKNOWN, "a page, probably from a proxy"
        return Verdict.REFUSED, "the gateway token is invalid"
    if answer.status in (400, 413):
        return (Verdict.ACCEPTED if lenient else Verdict.UNKNOWN), "the request was refused, probably past the secret"
    if answer.status == 404:  # noqa: PLR2004
        return Verdict.UNKNOWN, "no Sideband API at this URL"
    if not isinstance(answer.json, dict) or not FORWARDED & set(answer.json):
        return Verdict.UNKNOWN, "not an answer of a Sideband API"
    return Verdict.ACCEPTED, "denied by policy" if "response" in answer.json else "permitted by policy"
