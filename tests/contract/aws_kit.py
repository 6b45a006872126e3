"""The sink contract's vocabulary on AWS Secrets Manager: against the strict fake, or against moto."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar

import pytest
from botocore.session import Session

from keyturn.api import Context, Sink, SinkTraits
from keyturn.clock import Clock, SystemClock
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn.testing.sink_contract import SinkKit
from keyturn_aws.client import SecretsManager
from keyturn_aws.options import Account, Place
from keyturn_aws.simulator import REGION, MotoServer, StrictFake
from keyturn_aws.sink import AwsSink

KEYS = {"access_key_id": "env:AWS_KEY", "secret_access_key": "env:AWS_SECRET"}
NO_MACHINE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@cache
def client_of(url: str, access_key: str) -> Any:
    """A plain client of the SDK."""
    return Session().create_client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key="made-up",
    )


class Died(BaseException):
    """The process dies here."""


def dying(point: int) -> Callable[[str, str], None]:
    """Die at the `point`-th moment, counted from 0: before the first call, after it, before the second one."""
    left = iter(range(point))

    def inject(*_: str) -> None:
        if next(left, None) is None:
            raise Died

    return inject


class OnAws(SinkKit):
    """Names of its own for each case, on a server that all cases of a class share."""

    traits: ClassVar[SinkTraits] = SinkTraits(stages_empty=False, bytes_max=65_536)
    url: str
    access_key = "anything"
    prefix: str
    clock: Clock
    api: SecretsManager

    @pytest.fixture(autouse=True)
    def _place_and_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prefix = f"contract/{secrets.token_hex(8)}"
        self.clock = SystemClock()
        self.api = SecretsManager(self.context(), self.account())
        for name, value in NO_MACHINE.items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)

    def account(self, **options: Any) -> Account:
        return Account.model_validate({"region": REGION, "endpoint": self.url, **KEYS, **options})

    def make_sink(self, context: Context) -> Sink:
        # Nothing is remembered there, and making one takes longer than most calls.
        return AwsSink(context, self.account(), self.api)

    def make_place(self, name: str) -> Any:
        return Place(name=self.name(name))

    def name(self, place: str = "place") -> str:
        """The secret's name."""
        return f"{self.prefix}/{place}"

    def context(self) -> FakeContext:
        return FakeContext(self.clock, references={"env:AWS_KEY": self.access_key, "env:AWS_SECRET": "made-up"})

    def crash(self, point: int, act: Callable[[Sink], object]) -> bool:
        try:
            act(self.watched(dying(point)))
        except Died:
            return True
        return False

    def watched(self, inject: Callable[[str, str], None], **options: Any) -> AwsSink:
        """A sink of its own that tells of every attempt."""
        account = self.account(**options)
        return AwsSink(self.context(), account, SecretsManager(self.context(), account, inject))

    @property
    def aws(self) -> Any:
        """Somebody else's client: no part of the sink."""
        return client_of(self.url, self.access_key)

    def labels(self, place: str = "place") -> Mapping[str, list[str]]:
        """The labels on each version."""
        found: Mapping[str, list[str]] = self.aws.describe_secret(SecretId=self.name(place))["VersionIdsToStages"]
        return found

    def holding(self, label: str, place: str = "place") -> list[str]:
        """The versions with this label."""
        return [version for version, labels in self.labels(place).items() if label in labels]


class OnMoto(OnAws):
    """On moto, which lets pass what AWS refuses."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _server(cls) -> Iterator[None]:
        server = MotoServer()
        server.start()
        cls.url = server.urls[0]
        yield
        server.stop()


class OnStrictFake(OnAws):
    """On the strict fake."""

    fake: ClassVar[StrictFake]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _server(cls) -> Iterator[None]:
        with StrictFake() as fake:
            cls.fake = fake
            cls.url = fake.url
            cls.access_key = fake.access_key_id
            yield

    @pytest.fixture(autouse=True)
    def _no_faults_left(self) -> Iterator[None]:
        yield
        self.fake.faults.clear()


class InNoTime(OnStrictFake):
    """On the strict fake, with a clock that only waiting moves: pauses take no time."""

    @pytest.fixture(autouse=True)
    def _clock(self, _place_and_machine: None) -> None:
        self.clock = FakeClock()
        self.api = SecretsManager(self.context(), self.account())
