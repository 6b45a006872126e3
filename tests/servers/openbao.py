"""An OpenBao that keeps what it holds: Raft storage in a folder, killed and started again, sealed and unsealed."""

from __future__ import annotations

from keyturn_vault.simulator import MOUNT, READY_S_MAX, OpenBao
from keyturn_vault.simulator_process import free_port, poll

CONFIG = """\
storage "raft" {{
  path = "{folder}/raft"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
log_level = "warn"
"""


class DurableOpenBao(OpenBao):
    """A server on disk. `start` initialises it once and unseals it every time; `url` stays the same.

    `root` and `environment` are good after the first `start`, and stay good over `kill9` and `start`.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._key = ""
        self._cluster = free_port()

    def _start(self) -> None:
        folder = self._server.make_folder()
        config, raft = folder / "config.hcl", folder / "raft"
        if not raft.exists():
            config.write_text(CONFIG.format(folder=folder, port=self._port, cluster=self._cluster))
            raft.mkdir(mode=0o700)
            for path in (config, raft):
                self._server.give(path)
        self._server.start([f"-config={config}"])
        poll(lambda: self._server.running and self.did("GET", "sys/seal-status"), "OpenBao did not start", READY_S_MAX)
        first = not self._key
        if first:
            made = self.call("POST", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self._key, self.root = made["keys"][0], made["root_token"]
        self.unseal()
        if first:
            self._prepare()

    def kill9(self) -> None:
        """Kill it at once, as a power cut would. `start` brings it back."""
        self._server.kill9()

    def seal(self) -> None:
        """Refuse everything until `unseal`."""
        self.call("POST", "sys/seal")

    def unseal(self) -> None:
        """Serve again; returns when it does."""
        self.call("POST", "sys/unseal", {"key": self._key})
        poll(self._serves, "OpenBao did not become active", READY_S_MAX)

    def _serves(self) -> bool:
        """Active, and its engines are there: both come a while after unsealing."""
        return (
            self.did("GET", "sys/health")
            and self.did("GET", "sys/mounts")
            and (not self._token or self.did("GET", f"{MOUNT}/config"))
        )
