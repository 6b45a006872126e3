"""Every way to log in, again when the token is gone, with the rights of the plugin's page and not one more."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from contract.vault_kit import BehindProxy, OnVault, policy_of_the_page, town
from keyturn.api import NotSent, PluginError, Refused
from keyturn.testing.proxy import On, answer
from keyturn.testing.sink_contract import id_of
from keyturn_vault.simulator import POLICY, OpenBao
from keyturn_vault.sink import VaultSink

__all__ = ["town"]

CAPABILITY = re.compile(r'"(create|read|update|delete|patch|list)"')


class TestRights(OnVault):
    """The policy of the page is enough, as the contract's cases show, and nothing in it can be left out."""

    def every_verb(self, policy: str) -> set[str]:
        """What each verb is refused with under this policy: the codes, without those that are no refusal."""
        token = self.server.token(policy)
        codes: set[str] = set()

        def attempt(act: Callable[[VaultSink], object]) -> None:
            try:
                act(self.with_token(token))
            except PluginError as error:
                codes.add(error.code)

        attempt(lambda sink: sink.inspect(self.looking()))
        attempt(lambda sink: sink.promote(self.promotion(1, None)))
        for n in (1, 2):
            self.serve(n)  # with all rights, so that one refusal does not hide the next
        attempt(lambda sink: sink.stage(self.staging(3)))
        self.stage(3)
        attempt(lambda sink: sink.read(self.reading()))
        attempt(lambda sink: sink.discard(self.discarding(3)))
        attempt(lambda sink: sink.discard(self.discarding(1)))
        return codes

    def test_with_the_policy_of_the_page_nothing_is_refused(self) -> None:
        assert self.every_verb(policy_of_the_page()) == set()

    @pytest.mark.parametrize("nth", range(len(CAPABILITY.findall(POLICY))))
    def test_each_right_of_the_policy_is_needed(self, nth: int) -> None:
        page = policy_of_the_page()
        right = list(CAPABILITY.finditer(page))[nth]
        without = page[: right.start()] + '"list"' + page[right.end() :]
        assert self.every_verb(without) == {"vault-denied"}

    def test_the_simulators_token_has_the_policy_of_the_page(self) -> None:
        assert policy_of_the_page() == POLICY

    def test_what_is_denied_is_named_with_the_line_that_grants_it(self) -> None:
        policy = re.sub(r'"patch", ', "", policy_of_the_page())
        self.serve(1)
        with pytest.raises(Refused) as caught:
            self.with_token(self.server.token(policy)).stage(self.staging(2))
        path = f"kv/metadata/{self.prefix}/place"
        assert caught.value.code == "vault-denied"
        assert (
            f'PATCH {path}: denied; the policy wants path "{path}" {{ capabilities = ["patch"] }}' in caught.value.why
        )


class TestTokens(BehindProxy):
    """A token as such: from a reference, from a file, gone in the middle."""

    def logins(self) -> int:
        return len([one for one in self.sent() if one.endswith("/login")])

    def test_a_token_that_was_revoked_in_the_middle_is_replaced_by_logging_in_again(self) -> None:
        expected = self.serve(1)
        sink = VaultSink(self.context(), self.account(url=self.proxy.url))
        sink.stage(self.staging(2))
        self.server.call("POST", "sys/leases/revoke-force/auth/approle/login")
        sink.promote(self.promotion(2, expected))
        assert self.consumed() == self.bundle(2).reveal()
        assert self.look().pending is None
        assert self.logins() == 2

    def test_a_denial_by_policy_is_no_reason_to_log_in_again(self) -> None:
        sink = VaultSink(self.context(), self.account(url=self.proxy.url, pending="elsewhere-pending", mount="other"))
        with pytest.raises(Refused) as caught:
            sink.inspect(self.looking())
        assert caught.value.code == "vault-denied"
        assert self.logins() == 1

    def test_a_token_that_can_not_be_renewed_says_so(self) -> None:
        token = self.server.token()
        sink = self.with_token(token)
        sink.read(self.reading())
        self.server.call("POST", "auth/token/revoke", {"token": token})
        with pytest.raises(Refused, match="expired or revoked, and can not be renewed") as caught:
            sink.stage(self.staging(1))
        assert caught.value.code == "vault-token"
        assert token not in repr(caught.value)

    def test_a_token_file_is_read_again_when_its_token_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text(first := self.server.token())
        sink = VaultSink(self.context(), self.account(auth={"token_file": str(file)}))
        sink.read(self.reading())
        self.server.call("POST", "auth/token/revoke", {"token": first})
        file.write_text(f"{self.server.token()}\n")
        sink.stage(self.staging(1))
        assert self.look().pending

    @pytest.mark.parametrize("token", ["two words", "line\nbreak", "ümlaut", "a\x7f"])
    def test_what_can_not_be_a_token_is_refused_without_being_shown(self, token: str) -> None:
        with pytest.raises(Refused) as caught:
            self.with_token(token).read(self.reading())
        assert caught.value.code == "vault-login"
        assert token not in caught.value.why

    def test_nothing_ambient_is_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".vault-token").write_text(self.server.root)
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
        (tmp_path / ".netrc").chmod(0o600)
        nowhere = "http://127.0.0.1:9"
        ambient = {"VAULT_TOKEN": self.server.root, "BAO_TOKEN": self.server.root, "VAULT_ADDR": nowhere}
        ambient |= {"VAULT_NAMESPACE": "none", "VAULT_SKIP_VERIFY": "true", "HOME": str(tmp_path)}
        ambient |= {
            "HTTP_PROXY": nowhere,
            "http_proxy": nowhere,
            "ALL_PROXY": nowhere,
            "NETRC": str(tmp_path / ".netrc"),
        }
        for name, value in ambient.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(Refused) as caught:
            self.with_token("s.not-a-token").read(self.reading())
        assert caught.value.code == "vault-token"
        self.serve(1)

    def test_a_token_of_vault_is_as_good_as_one_of_openbao(self) -> None:
        token = "hvs.CAESIJlU9JMYEhOPYv4igdhm9PnZDrabYTobQ4Ymnlq1qY-hGh4KHGh2cy5HeGdm"
        nothing = answer(404, '{"errors": []}')
        self.proxy.fault("answer", On("GET", "/data/", header=f"^X-Vault-Token: {token}$"), answer=nothing)
        self.proxy.fault("answer", On("GET", "/mounts/"), answer=answer(403, '{"errors": ["permission denied"]}'))
        assert self.with_token(token, url=self.proxy.url).read(self.reading()).bundle is None


class TestAppRole(BehindProxy):
    """Role id and secret id."""

    def test_a_secret_id_that_is_not_known_is_refused_by_name(self) -> None:
        self.secret_id = "not-a-secret-id"
        with pytest.raises(Refused) as caught:
            self.sink().read(self.reading())
        assert caught.value.code == "vault-login"
        assert "not-a-secret-id" not in caught.value.why

    def wrapped(self) -> str:
        """A token that wraps a new secret id."""
        made = self.server.call("POST", "auth/approle/role/keyturn/secret-id", wrap_ttl="60s")
        return str(made["wrap_info"]["token"])

    def approle(self, **changes: Any) -> dict[str, Any]:
        return {"approle": {"role_id": "env:ROLE_ID", "secret_id": "env:SECRET_ID", "wrapped": True, **changes}}

    def test_a_wrapped_secret_id_is_unwrapped_once_and_kept_for_the_whole_process(self) -> None:
        self.secret_id = self.wrapped()
        sink = VaultSink(self.context(), self.account(auth=self.approle()))
        sink.stage(self.staging(1))
        self.server.call("POST", "sys/leases/revoke-force/auth/approle/login")
        sink.promote(self.promotion(1, None))
        another = VaultSink(self.context(), self.account(auth=self.approle()))
        assert another.read(self.reading()).held

    def test_a_secret_id_that_somebody_else_unwrapped_is_called_stolen(self) -> None:
        self.secret_id = self.wrapped()
        self.server.call("POST", "sys/wrapping/unwrap", token=self.secret_id)
        with pytest.raises(Refused, match="it is stolen") as caught:
            VaultSink(self.context(), self.account(auth=self.approle())).read(self.reading())
        assert caught.value.code == "vault-unwrapped"

    def test_an_unwrapping_whose_answer_was_lost_says_what_may_be_needed(self) -> None:
        self.secret_id = self.wrapped()
        self.proxy.fault("cut_after", On("POST", "/wrapping/unwrap"))
        with pytest.raises(NotSent) as caught:
            VaultSink(self.context(), self.account(url=self.proxy.url, auth=self.approle())).read(self.reading())
        assert caught.value.code == "vault-unwrap-lost"

    def test_a_method_that_is_not_enabled_is_named(self) -> None:
        auth = self.approle(mount="nowhere", wrapped=False)
        with pytest.raises(Refused, match=r"auth/nowhere/login: .*that this method is enabled") as caught:
            VaultSink(self.context(), self.account(auth=auth)).read(self.reading())
        assert caught.value.code == "vault-login"

    def test_a_login_that_gets_no_answer_is_not_sent(self) -> None:
        self.proxy.fault("cut_after", On("POST", "/login"), times=None)
        with pytest.raises(NotSent):
            VaultSink(self.context(), self.account(url=self.proxy.url)).promote(self.promotion(1, None))


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens as another service would."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> str:
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return self._key.public_key().public_bytes(*form).decode()

    def token(self, subject: str) -> str:
        now = int(time.time())  # noqa: TID251 - the server compares it with the machine's clock
        claims = {"sub": subject, "aud": "keyturn", "iat": now, "nbf": now - 5, "exp": now + 300}
        head = ".".join(_b64(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, claims))
        r, s = decode_dss_signature(self._key.sign(head.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{head}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.fixture(scope="module")
def issuer(town: Any) -> Issuer:
    """An issuer that the server trusts."""
    issuer, server = Issuer(), town.server
    server.call("POST", "sys/auth/jwt", {"type": "jwt"})
    server.call("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [issuer.public]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_subject": "runner", "bound_audiences": ["keyturn"]}
    server.call("POST", "auth/jwt/role/keyturn", {**role, "token_policies": ["keyturn"], "token_ttl": "1h"})
    return issuer


class TestJwt(BehindProxy):
    """Tokens of another issuer."""

    def sink_with(self, token: str) -> VaultSink:
        context = self.context()
        context.references["env:JWT"] = token
        return VaultSink(context, self.account(auth={"jwt": {"role": "keyturn", "jwt": "env:JWT"}}))

    def test_a_token_of_a_trusted_issuer_logs_in(self, issuer: Issuer) -> None:
        self.sink_with(issuer.token("runner")).promote(self.promotion(1, None))
        assert self.consumed() == self.bundle(1).reveal()

    @pytest.mark.parametrize("who", ["somebody else", "another issuer"])
    def test_any_other_token_does_not(self, issuer: Issuer, who: str) -> None:
        token = issuer.token("mallory") if who == "somebody else" else Issuer().token("runner")
        with pytest.raises(Refused) as caught:
            self.sink_with(token).read(self.reading())
        assert caught.value.code == "vault-login"
        assert token not in caught.value.why

    def test_a_service_account_of_kubernetes_logs_in_with_what_its_file_holds_now(self, tmp_path: Path) -> None:
        """The cluster that would review the token is not here: the server's answers are made up (contract 5.4)."""
        file = tmp_path / "token"
        auth = {"kubernetes": {"role": "keyturn", "jwt_file": str(file)}}
        sink = VaultSink(self.context(), self.account(url=self.proxy.url, auth=auth))
        for n, jwt in enumerate(("first.pod.token", "second.pod.token"), 1):
            file.write_text(f"{jwt}\n")
            given = self.server.token()
            body = f'"role": ?"keyturn".*"jwt": ?"{jwt}"'
            login = answer(200, json.dumps({"auth": {"client_token": given}}), {"Content-Type": "application/json"})
            self.proxy.fault("answer", On("POST", "^/v1/auth/kubernetes/login$", body=body), answer=login)
            sink.stage(self.staging(n))
            self.server.call("POST", "auth/token/revoke", {"token": given})
        pending = self.look().pending
        assert pending
        assert pending.version_id == id_of(2)


class TestNamespaces(OnVault):
    """Everything, the login too, happens in the namespace."""

    def test_a_sink_in_a_namespace_writes_there_and_nowhere_else(self) -> None:
        self.server.call("POST", "sys/namespaces/payments")
        self.server.mount("kv", namespace="payments")
        sink = self.with_token(self.server.token(namespace="payments"), namespace="payments")
        sink.stage(self.staging(1))
        sink.promote(self.promotion(1, None))
        assert sink.inspect(self.looking()).place.endswith(f":payments/kv/{self.prefix}/place")
        assert self.consumed() is None
        assert self.server.call("GET", f"kv/data/{self.prefix}/place", namespace="payments")

    @pytest.mark.parametrize("auth", [{"token": "env:ROOT"}, None])
    def test_a_namespace_that_does_not_exist_is_named(self, auth: dict[str, str] | None) -> None:
        changes = {"auth": auth} if auth else {}
        with pytest.raises(Refused) as caught:
            VaultSink(self.context(), self.account(namespace="nowhere", **changes)).read(self.reading())
        assert caught.value.code == "vault-no-namespace"


@pytest.fixture(scope="module")
def encrypted() -> Any:
    """A server that speaks https with an authority of its own."""
    with OpenBao(tls=True) as server:
        yield server


class TestEncrypted(OnVault):
    """https is verified, always."""

    def sink_of(self, server: OpenBao, **changes: Any) -> VaultSink:
        return self.with_token(server.environment["KEYTURN_VAULT_TOKEN"], url=server.url, **changes)

    def test_with_its_authority_a_private_server_is_trusted(self, encrypted: OpenBao) -> None:
        sink = self.sink_of(encrypted, ca=str(encrypted.ca))
        sink.promote(self.promotion(1, None))
        assert sink.read(self.reading()).held

    def test_without_it_nothing_is_sent(self, encrypted: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "VAULT_CACERT"):
            monkeypatch.setenv(name, str(encrypted.ca))
        with pytest.raises(NotSent) as caught:
            self.sink_of(encrypted).promote(self.promotion(1, None))
        assert caught.value.code == "tls-unverified"

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_an_authority_that_can_not_be_read_is_named(
        self, encrypted: OpenBao, tmp_path: Path, content: str | None
    ) -> None:
        file = tmp_path / "ca.pem"
        if content:
            file.write_text(content)
        with pytest.raises(NotSent) as caught:
            self.sink_of(encrypted, ca=str(file)).read(self.reading())
        assert caught.value.code == ("ca-unusable" if content else "reference-unresolved")
        assert "ca.pem" in caught.value.why
