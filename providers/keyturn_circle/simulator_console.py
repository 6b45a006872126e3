"""The simulated Console: one page with plain forms, for a person with a browser, or for a test (contract 2.3, 8.9)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from html import escape
from typing import Protocol
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from keyturn_circle.simulator_answers import Refusal
from keyturn_circle.simulator_world import Entity

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{font-family: sans-serif; max-width: 50em; margin: 2em auto}} textarea {{width: 100%; height: 6em}}
.error {{color: #a00}} section {{border-top: 1px solid #ccc}}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""
HOME = """<p>Developer-controlled &rsaquo; Configurator &rsaquo; Entity Secret</p>
<dl><dt>Entity (app id)</dt><dd id="app-id">{app_id}</dd><dt>Environment</dt><dd id="environment">{environment}</dd>
<dt>Entity secret registered</dt><dd id="registered">{registered}</dd></dl>
{forms}"""
REGISTER = """<section><h2>Register</h2><form method="post" action="/console/register">
<p><label>Entity secret ciphertext<textarea name="new_ciphertext" required></textarea></label></p>
<button>Register</button></form></section>"""
ROTATE = """<section><h2>Rotate Entity Secret</h2><form method="post" action="/console/rotate">
<p><label>Current entity secret ciphertext<textarea name="current_ciphertext" required></textarea></label></p>
<p><label>New entity secret ciphertext<textarea name="new_ciphertext" required></textarea></label></p>
<button>Rotate</button></form></section>"""
RESET = """<section><h2>Reset</h2><form method="post" action="/console/reset" enctype="multipart/form-data">
<p><label>Recovery file <input type="file" name="recovery_file" required></label></p>
<p><label>New entity secret ciphertext<textarea name="new_ciphertext" required></textarea></label></p>
<button>Reset</button></form></section>"""
DONE = """<p id="done">Your entity secret is set. It is in force now. Older recovery files are void.</p>
<p><a id="recovery-file" href="/console/recovery/{key}" download="recovery_file.dat">Download the recovery file</a></p>
<p><a href="/console">Back</a></p>"""
FAILED = """<p class="error"><span id="code">{code}</span> <span id="message">{text}</span></p>
<p><a href="/console">Back</a></p>"""


class Clerk(Protocol):
    """What the Console does with what somebody filled in; each answers with the recovery file, or raises Refusal."""

    @property
    def entity(self) -> Entity:
        """Whose Console it is."""

    def console_register(self, ciphertext: str) -> str:
        """Set the first secret."""

    def console_rotate(self, current_ciphertext: str, new_ciphertext: str) -> str:
        """Replace it, with the one in force."""

    def console_reset(self, file: str, new_ciphertext: str) -> str:
        """Replace it, with the recovery file in force."""


@dataclass(frozen=True)
class _Form:
    texts: Mapping[str, str]

    def pasted(self, name: str) -> str:
        """What was filled in, without the white space that pasting brings along. Raises Refusal where nothing was."""
        return self._given(name, "".join(self.texts.get(name, "").split()))

    def uploaded(self, name: str) -> str:
        """A file as it is, to the last byte. Raises Refusal where it is empty or there is none."""
        return self._given(name, self.texts.get(name, ""))

    def _given(self, name: str, text: str) -> str:
        if not text:
            raise Refusal(2, f"{name} is empty")
        return text


class Console:
    """The pages, at `/console`. A link to a recovery file can be used again."""

    def __init__(self, clerk: Clerk) -> None:
        self._clerk = clerk
        self._files: dict[str, str] = {}

    def routes(self) -> list[Route]:
        """What the application serves."""
        clerk = self._clerk
        forms: Mapping[str, Callable[[_Form], str]] = {
            "register": lambda form: clerk.console_register(form.pasted("new_ciphertext")),
            "rotate": lambda form: clerk.console_rotate(
                form.pasted("current_ciphertext"), form.pasted("new_ciphertext")
            ),
            "reset": lambda form: clerk.console_reset(form.uploaded("recovery_file"), form.pasted("new_ciphertext")),
        }

        async def submitted(request: Request) -> Response:
            act = forms[request.url.path.rpartition("/")[2]]
            return self._done(act, _parsed(request.headers.get("content-type", ""), await request.body()))

        return [
            Route("/console", self._home),
            *(Route(f"/console/{name}", submitted, methods=["POST"]) for name in forms),
            Route("/console/recovery/{key}", self._download),
        ]

    async def _home(self, _: Request) -> Response:
        entity = self._clerk.entity
        current = entity.current
        registered = datetime.fromtimestamp(current.since, UTC).isoformat(timespec="seconds") if current else "not yet"
        body = HOME.format(
            app_id=escape(entity.app_id),
            environment=entity.environment.upper(),
            registered=registered,
            forms=ROTATE + RESET if current else REGISTER,
        )
        return _page("Entity Secret", body)

    def _done(self, act: Callable[[_Form], str], form: _Form) -> Response:
        try:
            file = act(form)
        except Refusal as refusal:
            return _page("Entity Secret", FAILED.format(code=refusal.code, text=escape(refusal.text)), refusal.status)
        key = secrets.token_urlsafe(16)
        self._files[key] = file
        return _page("Entity Secret", DONE.format(key=key))

    async def _download(self, request: Request) -> Response:
        file = self._files.get(request.path_params["key"])
        if file is None:
            return _page("Entity Secret", FAILED.format(code=404, text="no such file"), 404)
        return PlainTextResponse(file, headers={"Content-Disposition": 'attachment; filename="recovery_file.dat"'})


def _page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(PAGE.format(title=title, body=body), status)


def _parsed(kind: str, body: bytes) -> _Form:
    """The fields of a form as a browser sends it, with or without files in it."""
    if not kind.startswith("multipart/form-data"):
        return _Form({name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()})
    whole = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    parts = {}
    for part in whole.iter_parts():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            parts[name] = content.decode(errors="replace")
    return _Form(parts)
