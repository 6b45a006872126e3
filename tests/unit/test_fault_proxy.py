"""The fault proxy, from both of its sides: what a client sees, and what the server has heard."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import BadStatusLine, HTTPConnection, IncompleteRead, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from keyturn.testing.proxy import FaultProxy, On, answer

TOKEN = "canary-token-77aa"
LIMIT_S = 5.0


class Echo(BaseHTTPRequestHandler):
    """Answers with method, path and body: `/chunks` in chunks, `/close` up to the connection's end, `/empty` none."""

    protocol_version = "HTTP/1.1"
    server: Upstream

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.append(self.connection)

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.heard.append((self.command, self.path, body))
        said = f"{self.command} {self.path} ".encode() + body
        if self.path == "/empty":
            self.send_response(204)
            self.end_headers()
        elif self.path == "/chunks":
            self.in_chunks(said)
        elif self.path == "/close":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(said)
        else:
            self.whole(said)

    def in_chunks(self, said: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces = b"".join(b"1\r\n" + said[i : i + 1] + b"\r\n" for i in range(len(said)))
        self.wfile.write(pieces + b"0\r\nTrailer: yes\r\n\r\n")

    def whole(self, said: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("X-Twice", "one")
        self.send_header("X-Twice", "two")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_PUT = do_POST = do_HEAD = do_LIST = answer  # noqa: N815 - names of the standard library

    def log_message(self, *_: object) -> None:
        pass


class Upstream(ThreadingHTTPServer):
    """What it has heard, and over how many connections."""

    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Echo)
        self.heard: list[tuple[str, str, bytes]] = []
        self.connections: list[socket.socket] = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def end(self) -> None:
        """As if it was killed: its connections go with it."""
        self.shutdown()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self.thread.join(LIMIT_S)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.end()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url) as one:
        yield one


def connected(url: str, timeout_s: float = LIMIT_S) -> closing[HTTPConnection]:
    parts = urlsplit(url)
    return closing(HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s))


def ask(
    proxy: FaultProxy, method: str = "GET", path: str = "/", body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    """One request over a connection of its own."""
    with connected(proxy.url) as client:
        client.request(method, path, body, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = client.getresponse()
        return response.status, response.read()


def paths(upstream: Upstream) -> list[str]:
    return [path for _, path, _ in upstream.heard]


# Without faults


@pytest.mark.parametrize("path", ["/plain?a=1", "/chunks", "/close"])
def test_a_request_and_its_answer_pass_unchanged_however_they_are_framed(proxy: FaultProxy, path: str) -> None:
    body = bytes(range(256)) * 50
    assert ask(proxy, "PUT", path, body) == (200, f"PUT {path} ".encode() + body)


def test_answers_without_a_body_pass(proxy: FaultProxy) -> None:
    with connected(proxy.url) as client:
        for method, path, status in (("HEAD", "/plain", 200), ("GET", "/empty", 204), ("LIST", "/plain", 200)):
            client.request(method, path)
            response = client.getresponse()
            assert response.status == status
            response.read()


def test_headers_keep_their_order_and_number(proxy: FaultProxy) -> None:
    with connected(proxy.url) as client:
        client.request("GET", "/")
        response = client.getresponse()
        response.read()
        assert response.headers.get_all("X-Twice") == ["one", "two"]


def test_a_request_in_chunks_and_one_that_waits_to_be_asked_for_its_body_pass(
    proxy: FaultProxy, upstream: Upstream
) -> None:
    with connected(proxy.url) as client:
        client.request("POST", "/one", iter([b"ab", b"cd"]), encode_chunked=True, headers={"Expect": "100-continue"})
        assert client.getresponse().read().endswith(b"abcd")
    assert upstream.heard == [("POST", "/one", b"abcd")]


def test_connections_stay_on_both_sides(proxy: FaultProxy, upstream: Upstream) -> None:
    with connected(proxy.url) as client:
        for path in ("/plain", "/chunks", "/chunks", "/empty") * 5:
            client.request("GET", path)
            assert client.getresponse().read() == (b"" if path == "/empty" else f"GET {path} ".encode())
    assert len(upstream.connections) == 1


def test_many_connections_are_served_at_once(proxy: FaultProxy) -> None:
    proxy.delay_s = 0.1
    began = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda number: ask(proxy, path=f"/{number}"), range(32)))
    assert answers == [(200, f"GET /{number} ".encode()) for number in range(32)]
    assert time.monotonic() - began < 32 * 0.2 / 4


def test_a_connection_goes_on_after_the_server_has_closed_its_own(proxy: FaultProxy, upstream: Upstream) -> None:
    with connected(proxy.url) as client:
        client.request("GET", "/close")
        assert client.getresponse().read()
        client.request("GET", "/again")
        assert client.getresponse().read() == b"GET /again "
    assert len(upstream.connections) == 2


def test_a_server_that_is_not_there_is_a_reset_and_no_answer_of_the_proxys_own() -> None:
    server = Upstream()
    server.end()
    with FaultProxy(server.url) as proxy, pytest.raises(ConnectionResetError) as caught:
        ask(proxy)
    assert caught.type is ConnectionResetError, "and no orderly end"
    assert proxy.log[0].status is None


# Faults


def test_refuse_resets_and_nothing_is_forwarded(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.fault("refuse")
    with pytest.raises(ConnectionResetError) as caught:
        ask(proxy)
    assert caught.type is ConnectionResetError, "and no orderly end"
    assert upstream.heard == []


def test_cut_before_ends_the_connection_and_nothing_is_forwarded(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.fault("cut_before")
    with pytest.raises(RemoteDisconnected):
        ask(proxy, "PUT", body=b"x")
    assert upstream.heard == []


def test_cut_after_means_that_the_server_has_done_it_and_the_client_never_hears(
    proxy: FaultProxy, upstream: Upstream
) -> None:
    proxy.fault("cut_after")
    with pytest.raises(RemoteDisconnected):
        ask(proxy, "PUT", body=b"x")
    assert upstream.heard == [("PUT", "/", b"x")]


def test_cut_inside_gives_the_client_half_a_body(proxy: FaultProxy) -> None:
    proxy.fault("cut_inside", times=2)
    with pytest.raises(IncompleteRead) as caught:
        ask(proxy, "PUT", body=b"x" * 100)
    whole = len("PUT / ") + 100
    assert len(caught.value.partial) == whole // 2
    with pytest.raises((BadStatusLine, RemoteDisconnected, IncompleteRead)):
        read_to_the_end(proxy, "/empty")


def read_to_the_end(proxy: FaultProxy, path: str) -> None:
    """For an answer without a body, whose head is what was cut: the standard client takes such a head for whole."""
    with socket.create_connection(("127.0.0.1", proxy.port), LIMIT_S) as client, client.makefile("rb") as file:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if not file.read().endswith(b"\r\n\r\n"):
            raise BadStatusLine("cut")


def test_an_answer_stands_in_for_the_servers(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.fault("answer", answer=answer(429, '{"errors": []}', {"Retry-After": "7"}))
    with connected(proxy.url) as client:
        client.request("PUT", "/", b"x")
        response = client.getresponse()
        assert (response.status, response.reason, response.read()) == (429, "Too Many Requests", b'{"errors": []}')
        assert response.headers["Retry-After"] == "7"
        assert upstream.heard == []
        client.request("PUT", "/", b"x")
        assert client.getresponse().status == 200


def test_answer_after_hides_what_the_server_has_done(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.fault("answer_after", answer=answer(503, "<html>"))
    assert ask(proxy, "PUT", body=b"x") == (503, b"<html>")
    assert upstream.heard == [("PUT", "/", b"x")]


@pytest.mark.parametrize(("how", "heard_while_it_hangs"), [("hang_before", 0), ("hang_after", 1)])
def test_what_hangs_goes_on_when_it_is_released(
    proxy: FaultProxy, upstream: Upstream, how: str, heard_while_it_hangs: int
) -> None:
    plan = proxy.fault(how)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, proxy)
        assert plan.reached.wait(LIMIT_S)
        assert until(lambda: len(upstream.heard) == heard_while_it_hangs)
        assert not asked.done()
        plan.release()
        assert asked.result(LIMIT_S) == (200, b"GET / ")


def test_what_hangs_ends_when_the_client_gives_up(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.fault("hang_before")
    with connected(proxy.url, timeout_s=0.05) as client:
        client.request("GET", "/")
        with pytest.raises(TimeoutError):
            client.getresponse()
    assert until(lambda: len(proxy.log) == 1)
    assert (proxy.log[0].fault, proxy.log[0].status, upstream.heard) == ("hang_before", None, [])


def test_what_hangs_ends_when_the_proxy_stops(proxy: FaultProxy) -> None:
    plan = proxy.fault("hang_after")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, proxy)
        assert plan.reached.wait(LIMIT_S)
        proxy.stop()
        assert isinstance(asked.exception(LIMIT_S), OSError)


def test_clear_lets_everything_behave_and_what_hangs_go_on(proxy: FaultProxy) -> None:
    plan = proxy.fault("hang_before", times=None)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, proxy)
        assert plan.reached.wait(LIMIT_S)
        proxy.clear()
        assert asked.result(LIMIT_S)[0] == 200
    assert ask(proxy)[0] == 200
    assert plan.hits == 1


def test_a_slow_body_comes_whole_and_takes_its_time(proxy: FaultProxy) -> None:
    proxy.fault("slow_body", over_s=0.2)
    began = time.monotonic()
    assert ask(proxy, "PUT", body=b"x" * 1000) == (200, b"PUT / " + b"x" * 1000)
    assert time.monotonic() - began >= 0.2


# Which requests


def test_a_fault_waits_for_its_request_by_method_path_header_and_body(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.fault("cut_before", On("POST", r"^/v1/\w+$", header=r"^x-amz-target: .*\.Put", body=r'"Name": "mine"'))
    for method, path, target, body in (
        ("PUT", "/v1/kv", "sm.Put", b'"Name": "mine"'),
        ("POST", "/v1/kv/x", "sm.Put", b'"Name": "mine"'),
        ("POST", "/v1/kv", "sm.Get", b'"Name": "mine"'),
        ("POST", "/v1/kv", "sm.Put", b'"Name": "yours"'),
    ):
        assert ask(proxy, method, path, body, X_Amz_Target=target)[0] == 200
    with pytest.raises(RemoteDisconnected):
        ask(proxy, "POST", "/v1/kv", b'{"Name": "mine"}', X_Amz_Target="sm.Put")
    assert len(upstream.heard) == 4


def test_nth_and_times_count_the_requests_that_fit(proxy: FaultProxy) -> None:
    proxy.fault("answer", On("GET", "^/a"), nth=2, times=2, answer=answer(503))
    told = [ask(proxy, path=path)[0] for path in ("/a", "/b", "/a", "/b", "/a", "/a")]
    assert told == [200, 200, 503, 200, 503, 200]


def test_two_faults_on_the_same_requests_come_one_after_the_other(proxy: FaultProxy) -> None:
    proxy.fault("answer", answer=answer(429))
    proxy.fault("answer", answer=answer(503))
    assert [ask(proxy)[0] for _ in range(3)] == [429, 503, 200]


def test_a_fault_planned_once_hits_once_among_many_threads(proxy: FaultProxy) -> None:
    plan = proxy.fault("answer", nth=5, times=3, answer=answer(503))
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda _: ask(proxy)[0], range(40)))
    assert (told.count(503), plan.hits) == (3, 3)


@pytest.mark.parametrize(
    "plan",
    [lambda p: p.fault("cut"), lambda p: p.fault("answer"), lambda p: p.fault("cut_after", answer=answer(500))],
    ids=["unknown", "no answer", "an answer too many"],
)
def test_a_plan_that_means_nothing_is_refused(proxy: FaultProxy, plan: Callable[[FaultProxy], object]) -> None:
    with pytest.raises(ValueError, match="expected one of refuse, cut_before"):
        plan(proxy)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://127.0.0.1", "127.0.0.1:80"])
def test_an_upstream_that_it_can_not_stand_before_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected an upstream"):
        FaultProxy(url)


# Between two calls


def test_a_hook_before_and_a_hook_after_see_each_request_in_its_turn(proxy: FaultProxy, upstream: Upstream) -> None:
    seen: list[tuple[str, int, str, int]] = []
    proxy.before = lambda request: seen.append(("before", request.number, request.path, len(upstream.heard)))
    proxy.after = lambda request: seen.append(("after", request.number, request.path, len(upstream.heard)))
    ask(proxy, path="/a?token=x")
    ask(proxy, path="/b")
    assert seen == [("before", 1, "/a", 0), ("after", 1, "/a", 1), ("before", 2, "/b", 1), ("after", 2, "/b", 2)]


def test_a_server_killed_and_started_again_between_two_calls_is_met_again(
    proxy: FaultProxy, upstream: Upstream
) -> None:
    started: list[Upstream] = []

    def restart(_: object) -> None:
        upstream.end()
        started.append(Upstream(upstream.server_port))

    with connected(proxy.url) as client:
        proxy.after = restart
        client.request("GET", "/a")
        assert client.getresponse().read() == b"GET /a "
        proxy.after = lambda _: None
        client.request("GET", "/b")
        assert client.getresponse().read() == b"GET /b "
    started[0].end()
    assert (paths(upstream), paths(started[0])) == (["/a"], ["/b"])


def test_a_hook_may_stop_the_proxy_and_nothing_is_forwarded_then(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.before = lambda _: proxy.stop()
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        ask(proxy)
    with pytest.raises(ConnectionRefusedError):
        ask(proxy)
    proxy.stop()
    assert upstream.heard == []


def test_stopped_and_started_it_takes_connections_on_the_same_port(proxy: FaultProxy) -> None:
    url = proxy.url
    with connected(url) as idle:
        idle.request("GET", "/")
        idle.getresponse().read()
        proxy.stop()
        with pytest.raises(ConnectionRefusedError):
            ask(proxy)
        proxy.start()
    assert proxy.url == url
    assert ask(proxy)[0] == 200


def test_what_is_not_http_ends_its_own_connection_only(proxy: FaultProxy) -> None:
    for rubbish in (
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nnothing\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", proxy.port), LIMIT_S) as client:
            client.sendall(rubbish)
            assert client.recv(100) == b""
    assert ask(proxy)[0] == 200


# What it tells


def test_the_log_says_what_was_asked_planned_and_told_and_nothing_else(proxy: FaultProxy) -> None:
    proxy.fault("answer_after", On("PUT"), answer=answer(503))
    ask(proxy, path=f"/a?t={TOKEN}", X_Vault_Token=TOKEN, X_Amz_Target="secretsmanager.GetSecretValue")
    ask(proxy, "PUT", "/b", TOKEN.encode(), Authorization=TOKEN)
    first, second = proxy.log
    assert (first.seen.number, first.seen.method, first.seen.path, first.fault, first.status) == (
        1,
        "GET",
        "/a",
        "",
        200,
    )
    assert first.seen.operation == "secretsmanager.GetSecretValue"
    assert (second.seen.path, second.fault, second.status) == ("/b", "answer_after", 503)
    assert first.at <= first.until <= second.at <= second.until
    assert TOKEN not in repr(proxy.log)


def test_latency_passes_each_way(proxy: FaultProxy) -> None:
    proxy.delay_s = 0.05
    began = time.monotonic()
    ask(proxy)
    assert time.monotonic() - began >= 0.1


def test_it_costs_little(proxy: FaultProxy, upstream: Upstream) -> None:
    through, straight = (quickest_ms(url) for url in (proxy.url, upstream.url))
    assert through < straight + 3.0, "on a quiet machine it is less than one millisecond more"


def quickest_ms(url: str) -> float:
    times = []
    with connected(url) as client:
        for _ in range(50):
            began = time.monotonic()
            client.request("PUT", "/", b"x" * 1000)
            client.getresponse().read()
            times.append((time.monotonic() - began) * 1000)
    return min(times)


def until(check: Callable[[], bool]) -> bool:
    end = time.monotonic() + LIMIT_S
    while not check():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.005)
    return True
