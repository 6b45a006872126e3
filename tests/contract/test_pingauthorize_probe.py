"""What a probe of the Sideband API proves, TLS, and that no value is ever shown."""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contract.pingauthorize_kit import Bench, running_bench
from keyturn.api import Bundle, NotSent, PluginError, ProbeRequest, Refused, Verdict
from keyturn_pingauthorize.simulator import FIRST, Simulator


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running_bench(tmp_path) as bench:
        yield bench


def test_a_denial_proves_that_the_secret_was_accepted(bench: Bench) -> None:
    bench.sim.switch(denies=True)
    answer = bench.probe(bench.old_value)
    assert (answer.verdict, "denied by policy" in answer.evidence) == (Verdict.ACCEPTED, True)


@pytest.mark.parametrize("how", ["status:404", "status:500", "empty:503", "429", "html", "reset-before", "reset-after"])
def test_an_answer_that_proves_nothing_is_unknown(bench: Bench, how: str) -> None:
    bench.sim.fault("probe", how)
    assert bench.probe(bench.old_value).verdict is Verdict.UNKNOWN
    assert bench.probe(bench.old_value).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("how", ["timeout-before", "late:3"])
def test_a_slow_probe_is_unknown(bench: Bench, how: str) -> None:
    bench.probe("made-up")
    bench.deadline_s = 0.2
    bench.sim.fault("probe", how)
    assert bench.probe(bench.old_value).verdict is Verdict.UNKNOWN


def test_a_request_refused_past_the_secret_proves_it_only_where_the_operator_says_so(
    bench: Bench, tmp_path: Path
) -> None:
    bench.sim.switch(request_limit=10)
    assert bench.probe(bench.old_value).verdict is Verdict.UNKNOWN
    lenient = Bench(bench.sim, tmp_path, treat_4xx_as_accepted=True)
    assert lenient.probe(bench.old_value).verdict is Verdict.ACCEPTED
    assert lenient.probe("made-up").verdict is Verdict.REFUSED
    lenient.context.close()


def test_servers_are_told_apart_when_only_some_accept(bench: Bench) -> None:
    bench.sim.switch(not_accepted_on=[1])
    bench.issue()
    assert [bench.probe(bench.value, server).verdict for server in (0, 1)] == [Verdict.ACCEPTED, Verdict.REFUSED]


def test_a_made_up_value_shows_a_server_that_accepts_everything(bench: Bench) -> None:
    bench.sim.switch(accepts_everything=True)
    assert bench.verdicts("made-up") == {Verdict.ACCEPTED}


def test_an_endpoint_that_is_not_configured_is_not_asked(bench: Bench) -> None:
    request = ProbeRequest(call=bench.call(), endpoint="https://old.example", bundle=Bundle({"shared_secret": "x"}))
    with pytest.raises(Refused) as refusal:
        bench.provider.probe(request)
    assert refusal.value.code == "unknown-endpoint"


def test_the_sideband_api_may_have_a_url_of_its_own(bench: Bench, tmp_path: Path) -> None:
    other = Bench(bench.sim, tmp_path, sideband=bench.sim.urls[::-1])
    bench.sim.switch(not_accepted_on=[1])
    other.issue()
    assert [other.probe(other.value, server).verdict for server in (0, 1)] == [Verdict.REFUSED, Verdict.ACCEPTED]
    other.context.close()


def test_the_administrators_password_is_not_sent_to_the_sideband_api(bench: Bench) -> None:
    del bench.environment["PAZ_PASSWORD"]
    bench.provider._headers[bench.sim.urls[0]] = "CLIENT-TOKEN"
    assert bench.probe(bench.old_value).verdict is Verdict.ACCEPTED
    with pytest.raises(NotSent):
        bench.inspect()


def test_no_value_reaches_an_error_a_log_a_note_or_the_simulators_pages(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = [repr(bench.inspect()), repr(bench.issue()), repr(bench.settle()), repr(bench.probe(bench.value))]
    for how in ("reset-after", "html-after", "status-after:500", "status:400", "late:2"):
        bench.deadline_s = 0.5
        bench.sim.obey({"lists": {"0": [FIRST], "1": [FIRST]}, "faults": [{"on": "create", "how": how}]})
        bench.sim.fault("probe", how)
        fresh = Bench(bench.sim, Path())
        fresh.deadline_s = 0.5
        fresh.value, fresh.new = bench.value, fresh.new.__class__(id=fresh.new.id, number=3, bundle=bench.new.bundle)
        seen += [_told(fresh), repr(fresh.probe(bench.value))]
        fresh.context.close()
    pages = [httpx.get(f"{bench.sim.urls[0]}/simulator/{page}", trust_env=False).text for page in ("log", "state")]
    everything = "\n".join([*seen, *pages, caplog.text, repr(bench.notes), repr(bench.context), repr(bench.provider)])
    for value in (bench.value, bench.old_value, bench.environment["PAZ_PASSWORD"]):
        assert value not in everything


def _told(bench: Bench) -> str:
    """Everything an error of issue carries, with what it came from."""
    with pytest.raises(PluginError) as caught:
        bench.issue()
    chain: list[BaseException] = [caught.value]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(below)
    return "\n".join(f"{error!r} {vars(error)}" for error in chain)


def test_a_certificate_nobody_vouches_for_is_refused_and_the_right_authority_is_believed(tmp_path: Path) -> None:
    certificate, key = _self_signed(tmp_path)
    with Simulator(servers=1, tls=(certificate, key)) as sim:
        stranger = Bench(sim, tmp_path)
        assert {problem.code for problem in stranger.inspect().problems} == {"tls-unverified"}
        assert sim.log == []
        with pytest.raises(NotSent, match="self-signed"):
            stranger.issue()
        friend = Bench(sim, tmp_path, ca=certificate)
        friend.issue()
        assert friend.verdicts(friend.value) == {Verdict.ACCEPTED}
        stranger.context.close()
        friend.context.close()


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paz.example")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    paths[0].chmod(0o600)
    return paths
