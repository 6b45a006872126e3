"""The AWS Secrets Manager sink (keyturn_aws) keeps the sink contract, on the strict fake and on moto."""

from __future__ import annotations

from contract.aws_kit import OnMoto, OnStrictFake
from keyturn.testing.sink_contract import SinkContract


class TestOnStrictFake(OnStrictFake, SinkContract):
    """The shared contract on a server that refuses what AWS refuses; a death before and after every call."""


class TestOnMoto(OnMoto, SinkContract):
    """The same on moto: what depends on AWS's strictness (docs/contracts/aws.md, section 7) does not hang on it."""
