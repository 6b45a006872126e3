"""What each way an HTTP call can fail means, told by a server that sends exactly these bytes."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from keyturn.clock import SystemClock
from keyturn.errors import Doubt, NotSent, PluginError, Refused
from keyturn.http import DETAIL_CHARS_MAX, HttpClient, HttpLimits, _Received, judge, ssl_context
from keyturn.plugins.context import Answer, Http
from keyturn.redact import scrub
from keyturn.secret import Secret

NOW = SystemClock().now
CANARY = "canary-3f9a1c"


class Scripted:
    """A server on loopback that answers every connection with the same bytes, then closes or keeps still."""

    def __init__(self, answer: bytes, *, hang: bool, drip_s: float) -> None:
        self._answer, self._hang, self._drip_s = answer, hang, drip_s
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            taken, _ = self._socket.accept()
            with taken:
                if self._over.is_set():
                    return
                request = self._read(taken)
                if not request:
                    continue
                self.requests.append(request)
                with suppress(ConnectionError):  # a client that has had enough
                    self._send(taken)
                if self._hang:
                    self._over.wait(5)

    def _send(self, taken: socket.socket) -> None:
        """All at once, or byte by byte with a pause after each."""
        if not self._drip_s:
            taken.sendall(self._answer)
            return
        for byte in self._answer:
            taken.sendall(bytes([byte]))
            if self._over.wait(self._drip_s):
                return

    @staticmethod
    def _read(taken: socket.socket) -> bytes:
        """One request, head and body: an unread rest would turn the close into a reset."""
        got, wanted = b"", 0
        while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < wanted:
            part = taken.recv(65536)
            if not part:
                break
            got += part
            lines = [line for line in got.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            wanted = int(lines[0].split(b":")[1]) if lines else 0
        return got

    def stop(self) -> None:
        self._over.set()
        socket.create_connection(self._socket.getsockname()).close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._socket.close()


@contextmanager
def serving(answer: bytes, *, hang: bool = False, drip_s: float = 0.0) -> Iterator[Scripted]:
    server = Scripted(answer, hang=hang, drip_s=drip_s)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def client(url: str, **options: Any) -> Iterator[HttpClient]:
    made = HttpClient(url, **{"now": NOW, "seal": lambda _attempt, _raw: None, **options})
    try:
        yield made
    finally:
        made.close()


def answer(status: int, body: bytes = b"{}", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def call(http: Http, *, mutates: bool = True, within_s: float = 10.0, **more: Any) -> Answer:
    return http.call("POST", "/x", mutates=mutates, deadline_at=NOW() + within_s, **more)


def failure(url: str, *, mutates: bool = True, within_s: float = 10.0, **options: Any) -> PluginError:
    with client(url, **options) as http, pytest.raises(PluginError) as caught:
        call(http, mutates=mutates, within_s=within_s)
    return caught.value


def received(status: int, body: object) -> _Received:
    return _Received(status=status, headers={}, body=json.dumps(body).encode())


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (answer(500), "http-500"),
        (answer(503, b""), "http-503"),
        (answer(408), "http-408"),
        (answer(429), "http-429"),
        (answer(204, b""), "http-204"),
        (answer(200, b"<html>hello</html>"), "not-json"),
        (answer(200, b'{"half":'), "not-json"),
        (answer(200, b"\xff\xfe"), "not-json"),
        (answer(200, b"[" * 100_000), "not-json"),
        (CUT, "cut"),
        (b"", "cut"),
        (b"NOT HTTP AT ALL\r\n\r\n", "cut"),
    ],
)
def test_an_answer_that_tells_nothing_is_doubt_only_where_something_may_have_changed(raw: bytes, code: str) -> None:
    with serving(raw) as server:
        for mutates, kind in ((True, Doubt), (False, NotSent)):
            error = failure(server.url, mutates=mutates)
            assert (type(error), error.code) == (kind, code)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 409, 422])
def test_any_other_status_is_a_refusal_and_redirects_are_not_followed(status: int) -> None:
    with serving(answer(status, b"", b"Location: /elsewhere")) as server:
        error = failure(server.url)
        assert (type(error), error.code) == (Refused, f"http-{status}")
        assert len(server.requests) == 1


def test_a_listed_status_is_handed_back_even_when_it_is_no_json() -> None:
    with serving(answer(404, b"<html>")) as server, client(server.url) as http:
        found = call(http, ok=(200, 404))
        assert (found.status, found.json, found.text.reveal()) == (404, None, "<html>")


def test_an_empty_body_is_no_json_and_no_fault() -> None:
    with serving(answer(200, b"")) as server, client(server.url) as http:
        assert call(http).json is None


def test_the_detail_of_an_error_is_told_on_one_line() -> None:
    with serving(answer(409, b'{"detail": "the name\\nexists already"}')) as server:
        assert "the name exists already" in failure(server.url).why


@pytest.mark.parametrize("before", range(DETAIL_CHARS_MAX - 2 * len(CANARY), DETAIL_CHARS_MAX + 2))
def test_a_detail_is_told_whole_or_not_at_all_so_that_no_value_in_it_is_cut_in_half(before: int) -> None:
    refused = judge(received(409, {"detail": "x" * before + CANARY}), ok=(200,), mutates=True, what="POST /x")
    assert isinstance(refused, Refused)
    whole = before + len(CANARY) <= DETAIL_CHARS_MAX
    assert (CANARY in refused.why) is whole
    assert CANARY[:2] not in scrub(refused.why, [CANARY])


def test_a_value_of_several_lines_is_taken_out_of_a_detail_too() -> None:
    value = "-----BEGIN-----\nabc\n-----END-----"
    refused = judge(received(409, {"detail": f"not {value}"}), ok=(200,), mutates=True, what="POST /x")
    assert "abc" not in scrub(str(refused), [value])


def test_no_cookie_of_one_answer_is_sent_with_another_call() -> None:
    with serving(answer(200, b"{}", b"Set-Cookie: session=" + CANARY.encode())) as server, client(server.url) as http:
        call(http)
        call(http)
        assert len(server.requests) == 2
        assert not [request for request in server.requests if b"cookie" in request.lower()]


def test_the_time_to_wait_is_told() -> None:
    with serving(answer(429, b"", b"Retry-After: 17")) as server:
        assert "asking to wait 17 s" in failure(server.url).why


def test_a_server_that_says_nothing_is_a_time_out_within_the_deadline() -> None:
    with serving(b"", hang=True) as server:
        begun = time.monotonic()
        error = failure(server.url, within_s=0.2)
        assert (type(error), error.code) == (Doubt, "timeout")
        assert time.monotonic() - begun < 3


def test_an_answer_that_drips_does_not_outlive_the_deadline() -> None:
    with serving(answer(200, b'"' + b"x" * 1000 + b'"'), drip_s=0.02) as server:
        begun = time.monotonic()
        error = failure(server.url, within_s=2.0)
        assert (type(error), error.code) == (Doubt, "timeout")
        assert time.monotonic() - begun < 6


def test_the_own_limit_holds_where_the_deadline_is_far() -> None:
    with serving(CUT, hang=True) as server:
        error = failure(server.url, within_s=3600, limits=HttpLimits(read_s_max=0.1))
        assert (type(error), error.code) == (Doubt, "timeout")


def test_without_time_left_nothing_is_sent() -> None:
    with serving(answer(200)) as server:
        error = failure(server.url, within_s=-1)
        assert (type(error), error.code) == (NotSent, "deadline-passed")
        assert server.requests == []


def test_nobody_listening_means_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}")
    assert (type(error), error.code) == (NotSent, "unreachable")
    assert "refused" in error.why


def test_a_host_without_an_address_means_nothing_was_sent() -> None:
    error = failure("http://nobody.invalid")
    assert (type(error), error.code) == (NotSent, "unreachable")


def test_something_that_speaks_no_tls_means_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            listening.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        error = failure(f"https://127.0.0.1:{listening.getsockname()[1]}")
        thread.join(5)
    assert (type(error), error.code) == (NotSent, "unreachable")


def test_an_answer_that_never_ends_is_not_read_to_the_end() -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 3_000_000
    with serving(body) as server:
        error = failure(server.url, limits=HttpLimits(body_bytes_max=1000))
        assert (type(error), error.code) == (Doubt, "answer-too-long")


@pytest.mark.parametrize(
    ("raw", "sealed"), [(answer(200, b'{"a":1}'), '{"a":1}'), (CUT, "{"), (answer(200, b"<p>"), "<p>")]
)
def test_a_raw_answer_is_sealed_before_it_is_judged_as_far_as_it_came(raw: bytes, sealed: str) -> None:
    kept: list[tuple[str, str]] = []

    def seal(attempt: str, body: Secret) -> None:
        kept.append((attempt, body.reveal()))

    with serving(raw) as server, client(server.url, seal=seal) as http:
        try:
            call(http, seal="attempt-1")
        except Doubt:
            assert raw != answer(200, b'{"a":1}')
    assert kept == [("attempt-1", sealed)]


@pytest.mark.parametrize("value", [f"{CANARY}\r\nX-More: 1", f"{CANARY}\xfc", f"{CANARY}\x00"])
def test_a_value_that_can_not_be_a_header_is_not_sent_and_not_shown(value: str) -> None:
    with serving(answer(200)) as server, client(server.url) as http:
        with pytest.raises(NotSent) as caught:
            call(http, headers={"X-Key": value})
        assert CANARY not in _everything(caught.value)
        assert server.requests == []


@pytest.mark.parametrize("raw", [answer(400, f'"{CANARY}"'.encode()), answer(500, CANARY.encode()), CUT, b""])
def test_no_failure_carries_the_request_or_the_answer(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(raw) as server:
        options: dict[str, Any] = {"username": Secret("who"), "password": Secret(CANARY), "headers": {"X-Key": CANARY}}
        error = failure(server.url, **options)
        assert CANARY.encode() in server.requests[0]
    assert CANARY not in _everything(error)
    assert [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))] == []


def test_an_answer_shows_no_value() -> None:
    with serving(answer(200, f'{{"a":"{CANARY}"}}'.encode())) as server, client(server.url) as http:
        assert CANARY not in repr(call(http))


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", "/nowhere")
    with serving(answer(200)) as server, client(server.url) as http:
        assert call(http).status == 200


def test_a_proxy_that_is_given_is_used() -> None:
    with serving(answer(200)) as proxy, client("http://paz.invalid", proxy=proxy.url) as http:
        call(http)
        assert proxy.requests[0].startswith(b"POST http://paz.invalid/x")


def test_a_path_adds_to_the_base_and_keeps_its_escapes() -> None:
    with serving(answer(200)) as server, client(f"{server.url}/config") as http:
        call_at: Callable[..., Answer] = http.call
        call_at("GET", "/a%20b/c%2Fd", mutates=False, deadline_at=NOW() + 5, params={"q": "1"})
        assert server.requests[0].startswith(b"GET /config/a%20b/c%2Fd?q=1 ")


def test_one_tls_context_serves_every_client_and_verifies() -> None:
    assert ssl_context(None) is ssl_context(None)
    assert ssl_context(None).check_hostname


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(NotSent, match=r"ca\.pem") as caught:
        ssl_context(path)
    assert caught.value.code == "ca-unusable"


def test_a_ca_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("x")
    path.chmod(0o666)
    with pytest.raises(NotSent, match="others can not write"):
        ssl_context(path)


def _everything(error: BaseException) -> str:
    """An error with all it came from, and their attributes."""
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(below)
    return "\n".join(f"{each!r} {vars(each)}" for each in chain)
