"""One POST that is bounded as a whole, name look-up and every byte of the answer's head included."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx


def post(url: str, facts: Mapping[str, str], timeout_s: float) -> int:
    """The status that it was answered with. Raises TimeoutError and what httpx raises.

    httpx bounds each read alone: whoever sends a byte now and then would hold the caller for ever. Redirects are not
    followed, and the body is not read: the status says all that counts.
    """
    return asyncio.run(_post(url, facts, timeout_s))


async def _post(url: str, facts: Mapping[str, str], timeout_s: float) -> int:
    async with (
        asyncio.timeout(timeout_s),
        httpx.AsyncClient(timeout=timeout_s, trust_env=False) as client,
        client.stream("POST", url, json=dict(facts)) as answer,
    ):
        return answer.status_code
