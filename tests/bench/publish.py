"""How long until three sinks serve a new value, each a round trip away: `python -m bench.publish FOLDER` in tests/."""

from __future__ import annotations

import sys
from pathlib import Path

from crash.harbour import harbour, publish_through
from keyturn_aws.simulator import StrictFake
from keyturn_vault.simulator import OpenBao

PUBLISHES = 7
ROUND_TRIP_S = 0.05


def publish_into_three_sinks(folder: Path) -> str:
    """The median of some rotations, from the first request for a switch until the last one is answered."""
    with OpenBao() as bao, StrictFake() as aws, harbour(folder / "harbour", bao, aws, far=True) as one:
        one.rotate()  # finds everything warm after that
        took = [publish_through(one, ROUND_TRIP_S) for _ in range(PUBLISHES)]
    return str(sorted(took, key=lambda each: each.switched_s)[PUBLISHES // 2])


if __name__ == "__main__":
    sys.stdout.write(publish_into_three_sinks(Path(sys.argv[1])))
