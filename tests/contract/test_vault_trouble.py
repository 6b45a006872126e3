"""Bad input and bad days: each has a name that says what is true now, and nothing is lost."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from contract.vault_kit import BehindProxy, OnVault, VaultContext, town
from keyturn.api import Bundle, Doubt, NotSent, PluginError, Refused
from keyturn.clock import SystemClock
from keyturn.testing.http_message import Message
from keyturn.testing.proxy import On, answer
from keyturn_vault.options import Account
from keyturn_vault.sink import VaultSink
from servers.openbao import DurableOpenBao

__all__ = ["town"]

JSON = {"Content-Type": "application/json"}


def said(status: int, *errors: str) -> Message:
    """An answer with these errors, also with statuses that Python has no name for."""
    head = Message(f"HTTP/1.1 {status} Made Up", tuple(JSON.items()))
    return head.with_body(json.dumps({"errors": errors}).encode())


class TestAnswers(BehindProxy):
    """What only Vault says, or only on a bad day. The answers are made up (contract 3)."""

    def outcome(self, status: int, *errors: str, on: On) -> PluginError:
        """What a promote says when such requests are answered so, always."""
        expected = self.serve(1)
        self.proxy.fault("answer", on, answer=said(status, *errors), times=None)
        with pytest.raises(PluginError) as caught:
            self.behind().promote(self.promotion(2, expected))
        assert self.consumed() == self.bundle(1).reveal()
        return caught.value

    @pytest.mark.parametrize("status", [412, 472, 473, 429, 500, 502, 503])
    def test_a_read_that_can_not_be_served_now_is_tried_again(self, status: int) -> None:
        self.serve(1)
        self.proxy.fault("answer", On("GET", "/metadata/team/"), answer=said(status))
        assert self.behind().inspect(self.looking()).current

    @pytest.mark.parametrize(
        ("status", "outcome", "code"),
        [
            (412, NotSent, "vault-standby"),
            (472, NotSent, "vault-standby"),
            (473, NotSent, "vault-standby"),
            (429, NotSent, "throttled"),
            (307, NotSent, "vault-redirects"),
            (500, Doubt, "vault-failed"),
            (502, Doubt, "vault-failed"),
            (400, Refused, "vault-refused"),
            (413, Refused, "vault-refused"),
        ],
    )
    def test_a_write_says_whether_it_may_have_happened(self, status: int, outcome: Any, code: str) -> None:
        error = self.outcome(status, on=On("POST", "/data/"))
        assert (type(error), error.code) == (outcome, code)

    def test_a_write_is_never_sent_twice(self) -> None:
        self.outcome(502, on=On("POST", "/data/"))
        assert len([one for one in self.proxy.log if one.fault]) == 1

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_throttled_for_ever_is_not_sent(self, method: str) -> None:
        error = self.outcome(429, "rate limit quota exceeded", on=On(method, "/data/"))
        assert (type(error), error.code) == (NotSent, "throttled")

    def test_the_servers_words_are_shown_without_what_was_sent_and_bounded(self) -> None:
        value = self.bundle(2)["password"].reveal()
        error = self.outcome(400, f"can not store\n{value}", "x" * 1000, on=On("POST", "/data/"))
        self.hides(error)
        assert "can not store <hidden>; xxx" in error.why
        assert "\n" not in error.why
        assert len(error.why) < 400

    def test_a_redirect_is_not_followed(self) -> None:
        other = answer(307, "", {"Location": f"{self.server.url}/v1/kv/data/elsewhere"})
        self.proxy.fault("answer", On("POST", "/data/"), answer=other)
        with pytest.raises(NotSent) as caught:
            self.behind().promote(self.promotion(1, None))
        assert caught.value.code == "vault-redirects"
        assert self.consumed() is None

    @pytest.mark.parametrize(("on", "outcome"), [("GET", NotSent), ("POST", Doubt)])
    @pytest.mark.parametrize("body", ["<html>proxy</html>", "[1]", "{"])
    def test_an_answer_that_is_no_json_is_none(self, on: str, outcome: Any, body: str) -> None:
        self.proxy.fault("answer", On(on, "/(data|metadata)/"), answer=answer(200, body), times=None)
        with pytest.raises(outcome) as caught:
            self.behind().promote(self.promotion(1, None))
        assert caught.value.code == "vault-answer"

    @pytest.mark.parametrize("data", [{}, {"data": {"a": "b"}}, {"data": [], "metadata": {"version": 1}}, {"data": 1}])
    def test_an_answer_of_another_shape_is_none(self, data: dict[str, Any]) -> None:
        odd = answer(200, json.dumps({"data": data}), JSON)
        self.proxy.fault("answer", On("GET", "/data/"), answer=odd, times=None)
        with pytest.raises(NotSent) as caught:
            self.behind().read(self.reading())
        assert caught.value.code == "vault-answer"

    def test_an_answer_without_json_says_its_status(self) -> None:
        self.proxy.fault("answer", On("GET", "/data/"), answer=answer(405, "<html>"), times=None)
        with pytest.raises(Refused, match="HTTP 405") as caught:
            self.behind().read(self.reading())
        assert caught.value.code == "vault-refused"

    @pytest.mark.parametrize("status", [400, 403, 404])
    def test_a_page_is_no_word_of_the_server_on_what_is_there_or_allowed(self, status: int) -> None:
        self.proxy.fault("answer", On("GET", "/data/"), answer=answer(status, "<html>"), times=None)
        with pytest.raises(NotSent, match=f"HTTP {status} with something that is not JSON") as caught:
            self.behind().read(self.reading())
        assert caught.value.code == "vault-answer"


class TestNowhere(OnVault):
    """No server, or not the right one."""

    def test_a_host_that_does_not_exist_is_not_sent(self) -> None:
        with pytest.raises(NotSent, match="no connection to https://vault") as caught:
            VaultSink(self.context(), self.as_root(url="https://vault.invalid")).promote(self.promotion(1, None))
        assert caught.value.code == "unreachable"

    def test_a_server_that_does_not_run_is_not_sent(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
            bound.bind(("127.0.0.1", 0))  # and nobody listens
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            with pytest.raises(NotSent) as caught:
                VaultSink(self.context(), self.as_root(url=url)).promote(self.promotion(1, None))
        assert caught.value.code == "unreachable"

    @pytest.mark.parametrize("mount", ["nowhere", "kv/below"])
    def test_a_mount_that_does_not_exist_is_named(self, mount: str) -> None:
        with pytest.raises(Refused) as caught:
            VaultSink(self.context(), self.as_root(mount=mount)).promote(self.promotion(1, None))
        assert caught.value.code == "vault-no-mount"

    def test_an_engine_without_check_and_set_is_refused(self) -> None:
        self.server.mount("old", version=1)
        self.server.call("POST", "sys/mounts/transit", {"type": "transit"})
        for mount in ("old", "transit"):
            with pytest.raises(Refused, match="without check-and-set") as caught:
                VaultSink(self.context(), self.as_root(mount=mount)).promote(self.promotion(1, None))
            assert caught.value.code == "kv-version"
        assert not self.server.did("GET", f"old/{self.prefix}/place")


@pytest.fixture(scope="module")
def durable() -> Iterator[DurableOpenBao]:
    """A server that survives."""
    with DurableOpenBao() as server:
        yield server


class TestRestarts(OnVault):
    """A server that is sealed, or killed between two calls of one rotation."""

    durable: DurableOpenBao

    @pytest.fixture(autouse=True)
    def _on_disk(self, durable: DurableOpenBao) -> None:
        self.durable = durable

    def context(self) -> VaultContext:
        return VaultContext(SystemClock(), references={"env:TOKEN": self.durable.environment["KEYTURN_VAULT_TOKEN"]})

    def account(self, **changes: Any) -> Account:
        return Account.model_validate({"url": self.durable.url, "auth": {"token": "env:TOKEN"}, **changes})

    def consumed(self, place: str = "place") -> dict[str, str] | None:
        bundle = self.sink().read(self.reading(place)).bundle
        return bundle.reveal() if bundle else None

    def test_a_sealed_server_is_named_and_serves_again_once_it_is_unsealed(self) -> None:
        expected, sink = self.serve(1), self.sink()
        sink.stage(self.staging(2))
        self.durable.seal()
        try:
            for act in (lambda: sink.promote(self.promotion(2, expected)), lambda: sink.read(self.reading())):
                with pytest.raises(NotSent) as caught:
                    act()
                assert caught.value.code == "vault-sealed"
        finally:
            self.durable.unseal()
        sink.promote(self.promotion(2, expected))
        assert self.consumed() == self.bundle(2).reveal()

    def test_a_server_that_was_killed_between_stage_and_promote_goes_on_where_it_was(self) -> None:
        expected, sink = self.serve(1), self.sink()
        sink.stage(self.staging(2))
        self.durable.kill9()
        with pytest.raises(NotSent) as caught:
            self.promote(2, expected)
        assert caught.value.code == "unreachable"
        self.durable.start()
        pending = self.look().pending
        assert pending
        assert pending.number == 2
        sink.promote(self.promotion(2, expected))
        assert self.consumed() == self.bundle(2).reveal()


class TestLogs(OnVault):
    """Nothing is said that should not be."""

    def test_the_libraries_log_neither_a_value_nor_a_token(self, caplog: pytest.LogCaptureFixture) -> None:
        for logger in (None, "urllib3", "urllib3.connectionpool"):  # another sink of this process may have quieted them
            caplog.set_level(logging.DEBUG, logger=logger)
        value = Bundle({"password": self.canary})
        token = self.server.token()
        sink = self.with_token(token)
        sink.promote(self.promotion(1, None, value=value))
        assert sink.read(self.reading()).bundle
        self.serve(2)
        assert "/v1/kv/data/" in caplog.text, "nothing was logged at all"
        for hidden in (self.canary, token, self.secret_id):
            assert hidden not in caplog.text

    def test_neither_the_sink_nor_what_it_remembers_shows_a_value(self) -> None:
        self.serve(1)
        sink = self.sink()
        sink.stage(self.staging(2))
        assert isinstance(sink, VaultSink)
        self.hides(vars(sink))
        self.hides([vars(one) for one in vars(sink).values() if hasattr(one, "__dict__")])
        self.hides(sink._staged)
