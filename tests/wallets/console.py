"""A person in the Console: reads what the program shows, fills in the page like a browser, and downloads the file."""

from __future__ import annotations

import re
import threading

import httpx

from program import Ran

from .wallets import SECRET, Wallets

CIPHERTEXT = re.compile(r"^[A-Za-z0-9+/]{684}$|^[A-Za-z0-9+/]{682,683}={1,2}$", re.MULTILINE)
SHOWN_S = 30.0


class Person:
    """Attends a rotation with the real program, and does in the Console what it says. `upload`: a file for a reset."""

    def __init__(self, one: Wallets, *, upload: str = "") -> None:
        self._one, self._upload = one, upload
        self.downloaded = ""
        self.shown: list[str] = []

    def attends(self) -> Ran:
        """Until the program ends."""
        with self._one.start("resume", SECRET, "--attend") as process:
            watch = threading.Timer(SHOWN_S, process.kill)
            watch.start()
            try:
                out = "".join(self._read(line) for line in process.stdout or ())
                err = process.stderr.read() if process.stderr else ""
                ran = Ran(code=process.wait(), out=out, err=err)
            finally:
                watch.cancel()
                process.kill()
        self._one.said.append(ran.err)
        return ran

    def _read(self, line: str) -> str:
        if CIPHERTEXT.match(line.strip()):
            self.shown.append(line.strip())
            self._act_when_all_is_shown()
        return line

    def _act_when_all_is_shown(self) -> None:
        if len(self.shown) == (1 if self._upload else 2):
            self.downloaded = self._resets() if self._upload else self._rotates()

    def _rotates(self) -> str:
        current, new = self.shown
        return self._sent("rotate", {"current_ciphertext": current, "new_ciphertext": new})

    def _resets(self) -> str:
        files = {"recovery_file": ("recovery_file.dat", self._upload.encode())}
        answer = httpx.post(
            f"{self._one.sim.console_url}/reset", data={"new_ciphertext": self.shown[0]}, files=files, timeout=10
        )
        return self._downloaded(answer)

    def _sent(self, dialog: str, fields: dict[str, str]) -> str:
        return self._downloaded(httpx.post(f"{self._one.sim.console_url}/{dialog}", data=fields, timeout=10))

    def _downloaded(self, answer: httpx.Response) -> str:
        assert answer.status_code == 200, answer.text
        link = re.search(r'href="(/console/recovery/[^"]+)"', answer.text)
        assert link
        return httpx.get(f"{self._one.sim.url}{link[1]}", timeout=10).text
