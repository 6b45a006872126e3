"""The vendor and three sinks, a way off, in a process of their own: `python -m bench.far_side` in tests/.

They would hold up the very program that is measured, in its own process. Says where they are in one line of JSON. Then
answers each line with the moments since the last one: when the vendor committed, when its answer set out, and when each
sink served a new value.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from crash.harbour import let_in
from keyturn.clock import SystemClock
from keyturn.testing.proxy import FaultProxy, Seen
from keyturn_aws.simulator import StrictFake
from keyturn_circle.simulator import Simulator
from keyturn_vault.simulator import OpenBao

CLOCK = SystemClock()
NEAR, FAR, CLOUD, VENDOR, ANSWERED = "near", "far", "cloud", "vendor", "answered"
SINKS = (NEAR, FAR, CLOUD)
STOP_S_MAX = 20.0


@dataclass
class FarSide:
    """As its user sees it. `facts` is what it said of itself."""

    process: subprocess.Popen[str]
    facts: dict[str, Any]

    def since(self) -> dict[str, list[float]]:
        """The moments since the last time, epoch seconds, in order, by where they took place."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        moments: dict[str, list[float]] = json.loads(self.process.stdout.readline())
        return moments


@contextmanager
def far_side(one_way_s: float) -> Iterator[FarSide]:
    """Running, each call on its way for so long, and as long back."""
    argv = [sys.executable, "-m", "bench.far_side", f"{one_way_s}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield FarSide(process, json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(STOP_S_MAX)


def serve(one_way_s: float) -> None:
    """Run until nobody asks any more."""
    moments: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        sim = stack.enter_context(Simulator(now=CLOCK.now))
        bao, aws = stack.enter_context(OpenBao()), stack.enter_context(StrictFake())
        sim.switch(rest="on", rate_limit=0)
        urls = {VENDOR: sim.url, NEAR: bao.url, FAR: bao.url, CLOUD: aws.url}
        lines = {name: stack.enter_context(FaultProxy(url)) for name, url in urls.items()}
        for name in SINKS:
            lines[name].after = noting(moments, name)
        lines[VENDOR].after = noting_the_answer(moments)
        for line in lines.values():
            line.delay_s = one_way_s
        facts = {
            **{name: line.url for name, line in lines.items()},
            **let_in(bao),
            "aws-id": aws.access_key_id,
            "region": aws.world.region,
            "sim": {name: getattr(sim, name) for name in ("api_key", "canary", "secret", "recovery_file")},
        }
        say(facts)
        for _ in sys.stdin:
            say({**moments, VENDOR: [entry["at"] for entry in sim.log if entry["event"] == "commit"]})
            moments.clear()


def noting(moments: dict[str, list[float]], name: str) -> Callable[[Seen], None]:
    """Note when this sink serves a new value: its server has answered, and nobody has heard of it yet."""

    def after(seen: Seen) -> None:
        vault = seen.method == "POST" and "/data/bench-" in seen.path
        if vault or seen.operation.endswith(".UpdateSecretVersionStage"):
            moments[name].append(CLOCK.now())

    return after


def noting_the_answer(moments: dict[str, list[float]]) -> Callable[[Seen], None]:
    """Note when the vendor's answer to a change sets out."""

    def after(seen: Seen) -> None:
        if seen.method == "PUT":
            moments[ANSWERED].append(CLOCK.now())

    return after


def say(facts: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(float(sys.argv[1]))
