"""Sinks that can not be used: the place, the cause and a way out that works; refused before anything changed, or held.

Each trouble yields what the text tells the operator to do: once that is done the rotation works.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pytest

from crash.harbour import FIELDS, Harbour, harbour, let_in
from crash.town import SECRET, write_private
from keyturn.engine.adoption import repair
from keyturn.engine.outcome import Outcome
from keyturn.testing.proxy import On, Plan, Seen, answer
from keyturn_aws.simulator import StrictFake
from keyturn_vault.simulator import POLICY, READY_S_MAX, OpenBao
from keyturn_vault.simulator_process import poll
from servers.openbao import DurableOpenBao

pytestmark = pytest.mark.sweep

Mend = Callable[[], object]
Trouble = Callable[[Harbour], AbstractContextManager[Mend]]
PAGE = answer(200, "<html>log in first</html>", {"Content-Type": "text/html"})
LIMITED = answer(429, '{"errors": ["request path: rate limit quota exceeded"]}', {"Content-Type": "application/json"})
DENIED = answer(400, json.dumps({"__type": "AccessDeniedException", "Message": "not authorized"}))
THROTTLED = answer(400, json.dumps({"__type": "ThrottlingException", "Message": "Rate exceeded"}))


@pytest.fixture(scope="module")
def bao() -> Iterator[DurableOpenBao]:
    with DurableOpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def quay(tmp_path_factory: pytest.TempPathFactory, bao: DurableOpenBao) -> Iterator[Harbour]:
    """One harbour for all: each test leaves it in order."""
    with StrictFake() as aws, harbour(tmp_path_factory.mktemp("quay") / "harbour", bao, aws) as built:
        built.configure(lambda config: config["limits"].update(call="20s"))
        yield built


@pytest.fixture
def one(quay: Harbour) -> Iterator[Harbour]:
    quay.said.clear()
    yield quay
    for line in (quay.vault_line, quay.aws_line):
        line.clear()
        line.before = line.after = lambda _: None
    if len(set(quay.values().values())) > 1:
        quay._run(lambda estate: repair(estate.bench, estate.job(SECRET)))


def bao_of(one: Harbour) -> DurableOpenBao:
    assert isinstance(one.bao, DurableOpenBao)
    return one.bao


# Troubles


@contextmanager
def mended(mend: Mend) -> Iterator[Mend]:
    """What helps, and is done in any case: it may be done twice."""
    try:
        yield mend
    finally:
        mend()


@contextmanager
def configured(one: Harbour, sink: str, **options: Any) -> Iterator[Mend]:
    """The sink's options, changed; put right again."""
    right = one.config.read_text()
    one.configure(lambda config: config["sinks"][sink].update(options))
    with mended(lambda: write_private(one.config, right)) as mend:
        yield mend


@contextmanager
def with_token(one: Harbour, token: str, **options: Any) -> Iterator[Mend]:
    """Vault with a static token; a good one put into its file."""
    path = one.folder / "state" / "token"
    write_private(path, token)
    with configured(one, "vault", auth={"token": f"file:{path}"}, **options):
        yield lambda: write_private(path, bao_of(one).token())


def vault_sealed(one: Harbour) -> AbstractContextManager[Mend]:
    bao_of(one).seal()
    return mended(bao_of(one).unseal)


@contextmanager
def policy_without_the_path(one: Harbour) -> Iterator[Mend]:
    token = bao_of(one).token('path "kv/data/elsewhere/*" { capabilities = ["read"] }')
    [policy] = set(bao_of(one).call("POST", "auth/token/lookup", {"token": token})["data"]["policies"]) - {"default"}
    with with_token(one, token):
        yield lambda: bao_of(one).call("POST", f"sys/policies/acl/{policy}", {"policy": POLICY})


@contextmanager
def token_revoked(one: Harbour) -> Iterator[Mend]:
    token = bao_of(one).token()
    bao_of(one).call("POST", "auth/token/revoke", {"token": token})
    with with_token(one, token) as mend:
        yield mend


def secret_id_destroyed(one: Harbour) -> AbstractContextManager[Mend]:
    path = one.folder / "state" / "secret-id"
    bao_of(one).call("POST", "auth/approle/role/keyturn/secret-id/destroy", {"secret_id": path.read_text()})
    return mended(lambda: write_private(path, let_in(one.bao)["secret-id"]))


@contextmanager
def version_one(one: Harbour) -> Iterator[Mend]:
    bao_of(one).mount("kv1", version=1)
    with with_token(one, bao_of(one).token(POLICY.replace('"kv/', '"kv1/')), mount="kv1"):
        yield lambda: upgraded(bao_of(one), "kv1")


def upgraded(bao: DurableOpenBao, mount: str) -> None:
    """What `bao kv enable-versioning` does; the upgrade takes a moment."""
    bao.call("POST", f"sys/mounts/{mount}/tune", {"options": {"version": "2"}})
    poll(lambda: bao.did("GET", f"{mount}/config"), "the upgrade takes too long", READY_S_MAX)


def namespace_missing(one: Harbour) -> AbstractContextManager[Mend]:
    return configured(one, "vault", namespace="nobody")


def mount_missing(one: Harbour) -> AbstractContextManager[Mend]:
    return configured(one, "vault", mount="nothing")


@contextmanager
def mount_missing_seen_by_all(one: Harbour) -> Iterator[Mend]:
    token = bao_of(one).token('path "*" { capabilities = ["create", "read", "update", "delete", "patch", "list"] }')
    with with_token(one, token), configured(one, "vault", mount="nothing") as mend:
        yield mend


def a_folder(one: Harbour) -> AbstractContextManager[Mend]:
    folder = f"folder-{one.place}"
    bao_of(one).call("POST", f"kv/data/{folder}/leaf", {"data": {"a": "b"}, "options": {"cas": 0}})
    right = one.config.read_text()
    one.configure(lambda config: config["secrets"][SECRET]["sinks"][0].update(path=folder))
    return mended(lambda: write_private(one.config, right))


def soft_deleted(one: Harbour) -> AbstractContextManager[Mend]:
    newest, _ = one.written()
    bao_of(one).call("DELETE", f"kv/data/{one.place}")
    return mended(lambda: bao_of(one).call("POST", f"kv/undelete/{one.place}", {"versions": [newest]}))


@contextmanager
def foreign_write(one: Harbour) -> Iterator[Mend]:
    newest, _ = one.written()
    write = {"data": {FIELDS["vault"]: "somebody-elses"}, "options": {"cas": newest}}
    bao_of(one).call("POST", f"kv/data/{one.place}", write)

    def move_away_and_repair() -> None:
        bao_of(one).call("DELETE", f"kv/metadata/{one.place}")
        assert one.keyturn("repair", SECRET).returncode == 0

    yield move_away_and_repair


def pending_of_another_journal(one: Harbour) -> AbstractContextManager[Mend]:
    theirs = {"version": "v", "number": "9", "journal": "another-journal", "meta": {}, "fields": {"password": "x"}}
    bao_of(one).call("POST", f"kv/data/keyturn-pending/{one.place}", {"data": theirs, "options": {"cas": 0}})
    return mended(lambda: bao_of(one).call("DELETE", f"kv/metadata/keyturn-pending/{one.place}"))


def vault_unknown_to_the_dns(one: Harbour) -> AbstractContextManager[Mend]:
    return configured(one, "vault", url="https://vault.invalid:8200")


def vault_speaks_no_tls(one: Harbour) -> AbstractContextManager[Mend]:
    return configured(one, "vault", url=bao_of(one).url.replace("http:", "https:"))


def vault_answers_a_page(one: Harbour) -> AbstractContextManager[Mend]:
    one.vault_line.fault("answer", times=None, answer=PAGE)
    return mended(one.vault_line.clear)


def vault_limited(one: Harbour) -> AbstractContextManager[Mend]:
    one.vault_line.fault("answer", On("GET", "kv/"), times=None, answer=LIMITED)
    return mended(one.vault_line.clear)


@contextmanager
def vault_of_an_unknown_authority(one: Harbour) -> Iterator[Mend]:
    with OpenBao(tls=True) as other:
        right = other.configuration(one.folder)["sinks"]["vault-local"]
        write_private(one.folder / "state" / "token", other.environment["KEYTURN_VAULT_TOKEN"])
        ca, auth = one.folder / "state" / "ca.pem", {"token": "file:state/token"}
        write_private(ca, other.ca.read_text())
        with configured(one, "vault", url=right["url"], auth=auth):
            yield lambda: one.configure(lambda config: config["sinks"]["vault"].update(ca=str(ca)))


def aws_throttled(one: Harbour) -> AbstractContextManager[Mend]:
    one.aws_line.fault("answer", times=None, answer=THROTTLED)
    return mended(one.aws_line.clear)


def key_denied(one: Harbour) -> AbstractContextManager[Mend]:
    one.aws.world.switch({"denied_keys": [""]})
    return mended(lambda: one.aws.world.switch({"denied_keys": []}))


def allowed(one: Harbour, *actions: str) -> AbstractContextManager[Mend]:
    """AWS allows these actions only; it allows all again."""
    one.aws.world.allow(one.aws.access_key_id, actions)
    return mended(lambda: one.aws.world.allow(one.aws.access_key_id, None))


def aws_denies(one: Harbour) -> AbstractContextManager[Mend]:
    return allowed(one, "DescribeSecret")


def unknown_to_aws(one: Harbour) -> AbstractContextManager[Mend]:
    one.aws.world.revoke(one.aws.access_key_id)
    return mended(lambda: one.aws.world.allow(one.aws.access_key_id, None))


def scheduled_for_deletion(one: Harbour) -> AbstractContextManager[Mend]:
    one.aws_says("DeleteSecret")
    return mended(lambda: one.aws_says("RestoreSecret"))


def rotated_by_aws(one: Harbour) -> AbstractContextManager[Mend]:
    one.aws.world.mark(one.place, {"RotationEnabled": True})
    return mended(lambda: one.aws.world.mark(one.place, {"RotationEnabled": False}))


@contextmanager
def pending_of_somebody_at_aws(one: Harbour) -> Iterator[Mend]:
    theirs = "0" * 32
    one.aws_says("PutSecretValue", SecretString="x", ClientRequestToken=theirs, VersionStages=["AWSPENDING"])
    yield lambda: one.aws_says("UpdateSecretVersionStage", VersionStage="AWSPENDING", RemoveFromVersionId=theirs)


def aws_unknown_to_the_dns(one: Harbour) -> AbstractContextManager[Mend]:
    return configured(one, "aws", endpoint="https://aws.invalid")


def aws_speaks_no_tls(one: Harbour) -> AbstractContextManager[Mend]:
    return configured(one, "aws", endpoint=one.aws.url.replace("http:", "https:"))


def aws_answers_a_page(one: Harbour) -> AbstractContextManager[Mend]:
    one.aws_line.fault("answer", times=None, answer=PAGE)
    return mended(one.aws_line.clear)


# Before the start


@dataclass(frozen=True)
class Case:
    """`says` what is wrong, and where; `todo` is in the next line. PLACE stands for the place."""

    trouble: Trouble
    code: str
    says: str
    todo: str

    def __str__(self) -> str:
        return self.trouble.__name__


AT_VAULT = (
    Case(vault_sealed, "vault-sealed", r"vault:\S+/PLACE: the server is sealed", "bao operator unseal"),
    Case(policy_without_the_path, "vault-denied", r'path "kv/metadata/PLACE" { capabilities', "add that line"),
    Case(token_revoked, "vault-token", r"token of file:\S+/token is expired or revoked", r"fresh token where file:"),
    Case(secret_id_destroyed, "vault-login", "approle/login: not let in", "bao write -f auth/approle/role/ROLE/secret"),
    Case(version_one, "kv-version", "kv1 is a kv engine of version 1", "bao kv enable-versioning kv1"),
    Case(namespace_missing, "vault-no-namespace", r"nobody/kv/PLACE: .*no such namespace", "correct the option name"),
    Case(mount_missing, "vault-denied", r"nothing/metadata/PLACE.*the mount must exist", "correct mount and path"),
    Case(mount_missing_seen_by_all, "vault-no-mount", r"nothing/metadata/PLACE: nothing is mounted", "secrets list"),
    Case(a_folder, "path-is-folder", r"vault:\S+kv/folder-PLACE: .*secrets below it", "name the whole path"),
    Case(soft_deleted, "sink-soft-deleted", r"vault:\S+PLACE: somebody deleted version \d+", r"undelete .* PLACE"),
    Case(foreign_write, "sink-foreign", r"vault:\S+PLACE serves a value that Keyturn did not", r"keyturn repair"),
    Case(
        pending_of_another_journal,
        "sink-pending-foreign",
        r"vault:\S+PLACE: .*another journal \(another-journal\)",
        r"metadata delete -mount=kv keyturn-pending/PLACE",
    ),
    Case(
        vault_unknown_to_the_dns, "sink-unreachable", "no connection to https://vault.invalid:8200", "vault reachable"
    ),
    Case(vault_speaks_no_tls, "tls-failed", r"https://127\S+ does not speak TLS", "scheme and port of the option url"),
    Case(vault_answers_a_page, "vault-answer", r"login: HTTP 200 with something that is not JSON", "the option url"),
    Case(vault_limited, "throttled", "too many requests, by the server's quota", "rate-limit"),
    Case(vault_of_an_unknown_authority, "tls-unverified", r"https://\S+ shows a certificate that", "the option ca"),
)
AT_AWS = (
    Case(aws_throttled, "aws-throttled", r"aws:\S+PLACE: AWS throttles secretsmanager:DescribeSecret", "try again"),
    Case(key_denied, "aws-kms", r"aws:\S+PLACE: .*can not use the KMS key", "allow kms:GenerateDataKey"),
    Case(
        aws_denies, "aws-denied", r"aws:\S+PLACE: secretsmanager:GetSecretValue is denied", "allow secretsmanager:Get"
    ),
    Case(unknown_to_aws, "aws-credentials", "AWS does not accept the credentials", "get-caller-identity"),
    Case(scheduled_for_deletion, "aws-scheduled-for-deletion", r"aws:\S+PLACE: ", "restore-secret --secret-id PLACE"),
    Case(rotated_by_aws, "aws-rotation-enabled", r"aws:\S+PLACE: ", "cancel-rotate-secret --secret-id PLACE"),
    Case(pending_of_somebody_at_aws, "pending-foreign", r"aws:\S+PLACE: .*AWSPENDING", "--remove-from-version-id 0000"),
    Case(aws_unknown_to_the_dns, "sink-unreachable", "no connection to https://aws.invalid", "aws reachable"),
    Case(aws_speaks_no_tls, "tls-unverified", r"https://127\S+ shows a certificate that is not", "option endpoint"),
    Case(aws_answers_a_page, "aws-answer", "answer to secretsmanager:DescribeSecret is not", "option endpoint"),
)
TOGETHER = [
    (*((at_vault,) if at_vault else ()), *((at_aws,) if at_aws else ()))
    for at_vault, at_aws in zip_longest(AT_VAULT, AT_AWS)
]
"""One at Vault and one at AWS at a time: all that is wrong is said at once."""


def says(one: Harbour, pattern: str, text: str) -> None:
    assert re.search(pattern.replace("PLACE", one.place), text, re.DOTALL), f"{pattern} is not in: {text}"


def secrets_of(one: Harbour) -> list[str]:
    """Values and credentials that may not be said."""
    files = [path.read_text() for path in (one.folder / "state").glob("*") if path.name in KEPT]
    return [*files, *one.values().values(), bao_of(one).root, one.aws._secret_access_key]


KEPT = ("token", "secret-id", "aws-key", "age.key", "pass")


def nothing_said(one: Harbour, *more: str) -> None:
    said = "\n".join(one.said)
    assert "Traceback" not in said
    for secret in (*secrets_of(one), *more):
        assert secret.strip() not in said


@pytest.mark.parametrize("cases", TOGETHER, ids=lambda cases: "+".join(map(str, cases)))
def test_before_the_start_each_place_and_cause_is_named_and_what_is_to_do_helps(
    one: Harbour, cases: tuple[Case, ...]
) -> None:
    old, served, began, asked = one.served(), one.values(), len(one.events()), len(one.sim.log)
    with ExitStack() as stack:
        mends = [stack.enter_context(case.trouble(one)) for case in cases]
        checked = one.keyturn("check", "--online", SECRET)
        refused = one.keyturn("rotate", SECRET, "--yes", "--json")
        assert (checked.returncode, refused.returncode) == (3, 3), refused.stdout
        document = json.loads(refused.stdout)
        error = document["error"]
        for case in cases:
            says(one, rf"refused  [^\n]*{case.says}[^\n]*\[{case.code}\]\n *next: [^\n]*{case.todo}", checked.stdout)
            says(one, case.says, error["message"])
        says(one, cases[0].todo, error["hint"])
        assert (document["exit_code"], error["code"], error["place"]) == (3, cases[0].code, SECRET)
        assert error["fields"]["codes"].split() == [case.code for case in cases]
        assert document["secrets"][0]["text"] == f"{SECRET}: {error['message']}"
        assert (len(one.events()), len(one.sim.log)) == (began, asked), "refused, and yet something was changed"
        for mend in reversed(mends):
            mend()
        assert one.values() == served
        outcome = one.rotate()
        assert isinstance(outcome, Outcome), outcome
        assert outcome.status == "done", outcome.text
    assert one.served() != old
    assert one.pending() == []
    nothing_said(one, *served.values())


def test_whoever_follows_the_policy_lines_one_by_one_has_a_policy_that_works(one: Harbour) -> None:
    token = bao_of(one).token('path "cubbyhole/nothing" { capabilities = ["read"] }')
    [policy] = set(bao_of(one).call("POST", "auth/token/lookup", {"token": token})["data"]["policies"]) - {"default"}
    lines: dict[str, set[str]] = {}
    act = one.rotate
    with with_token(one, token):
        for _ in range(12):
            outcome = act()
            act = one.resume if isinstance(outcome, Outcome) and outcome.status == "unfinished" else one.rotate
            if isinstance(outcome, Outcome) and outcome.status == "done":
                break
            text = outcome.text if isinstance(outcome, Outcome) else str(outcome)
            path, rights = re.findall(r'path "(\S+)" { capabilities = \[(.*?)\] }', text)[-1]
            lines.setdefault(path, set()).update(rights.split(", "))
            whole = [f'path "{path}" {{ capabilities = [{", ".join(sorted(has))}] }}' for path, has in lines.items()]
            bao_of(one).call("POST", f"sys/policies/acl/{policy}", {"policy": "\n".join(whole)})
        assert isinstance(outcome, Outcome), outcome
        assert outcome.status == "done", outcome.text
    assert set(lines) <= {f"kv/{what}/{path}" for what in ("data", "metadata") for path in places_of(one)}


def places_of(one: Harbour) -> tuple[str, str]:
    return one.place, f"keyturn-pending/{one.place}"


# On the way


@dataclass(frozen=True)
class Later:
    """A trouble that comes with the first request of this kind: how the run ends, what it says, and how `run` does."""

    trouble: Trouble
    at: str
    ends: int
    says: str
    code: str = ""
    then: int = 0

    def __str__(self) -> str:
        return f"{self.trouble.__name__} at {self.at}"


def login_lost(one: Harbour) -> AbstractContextManager[Mend]:
    bao_of(one).call("POST", "sys/leases/revoke-prefix/auth/approle/login")
    return secret_id_destroyed(one)


def foreign_write_at_aws(one: Harbour) -> AbstractContextManager[Mend]:
    theirs, current = "f" * 32, one.aws_says("GetSecretValue")["VersionId"]
    one.aws_says("PutSecretValue", SecretString=json.dumps({FIELDS["aws"]: "x"}), ClientRequestToken=theirs)
    back = {"VersionStage": "AWSCURRENT", "MoveToVersionId": current, "RemoveFromVersionId": theirs}
    return once(lambda: one.aws_says("UpdateSecretVersionStage", **back))


@contextmanager
def once(mend: Mend) -> Iterator[Mend]:
    """What helps, and can not be done twice."""
    yield mend


VAULT_STAGE, VAULT_SWITCH = "POST /v1/kv/data/keyturn-pending/PLACE", "POST /v1/kv/data/PLACE"
AWS_STAGE, AWS_SWITCH = "PutSecretValue", "UpdateSecretVersionStage"
LATER = (
    Later(vault_sealed, VAULT_STAGE, 6, r"stage at vault:\S+PLACE did not work yet: the server is sealed: unseal it"),
    Later(login_lost, VAULT_SWITCH, 6, r"vault:\S+PLACE: can not be read: .*login: not let in"),
    Later(unknown_to_aws, AWS_SWITCH, 6, r"aws:\S+PLACE.* AWS does not accept the credentials"),
    Later(key_denied, AWS_STAGE, 4, r"undone; the old version is good: aws:\S+PLACE: .*KMS key", "undone"),
    Later(rotated_by_aws, AWS_STAGE, 5, r"aws:\S+PLACE: PLACE is rotated by AWS itself", "aws-rotation-enabled"),
    Later(scheduled_for_deletion, AWS_STAGE, 6, r"aws:\S+PLACE .*scheduled for deletion", then=4),
    Later(foreign_write_at_aws, AWS_SWITCH, 5, r"aws:\S+PLACE serves a value that Keyturn did not", "sink-foreign"),
)


@pytest.mark.parametrize("case", LATER, ids=str)
def test_on_the_way_it_is_undone_or_held_and_the_next_run_ends_it_once_the_cause_is_gone(
    one: Harbour, case: Later
) -> None:
    old = one.values()
    with arises(one, case) as mend:
        left = one.keyturn("rotate", SECRET, "--yes", "--json")
        assert (left.returncode, len(mend)) == (case.ends, 1), left.stdout
        document = json.loads(left.stdout)
        told = document["secrets"][0]
        says(one, case.says, told["text"])
        assert (document["error"] or {"code": ""})["code"] == case.code
        assert SECRET in (document["error"]["hint"] if document["error"] else told["next"])
        mend[-1]()
        assert [one.accepted(value) for value in one.values().values()] == [[True, True]] * 3
        ended = one.keyturn("run") if case.ends != 5 else one.keyturn("resume", SECRET)
        assert ended.returncode == case.then, ended.stdout + ended.stderr
    assert one.status() == "current"
    assert one.pending() == []
    assert len(set(one.values().values())) == 1
    assert (one.values() == old) == (case.ends == 4 or case.then == 4)
    nothing_said(one, *old.values())


@contextmanager
def arises(one: Harbour, case: Later) -> Iterator[list[Mend]]:
    """The trouble, from the moment that the case names; what helps is in the list then."""
    with ExitStack() as stack:
        mends: list[Mend] = []

        def before(seen: Seen) -> None:
            if not mends and case.at.replace("PLACE", one.place) in f"{seen.operation} {seen.method} {seen.path}":
                mends.append(stack.enter_context(case.trouble(one)))

        one.vault_line.before = one.aws_line.before = before
        yield mends


# Half a publish


@pytest.mark.parametrize("sink", ["vault", "aws"])
def test_while_one_of_three_sinks_fails_status_says_so_of_each(one: Harbour, sink: str) -> None:
    old, before = one.values(), number_of(one)
    failing(one, sink)
    left = one.keyturn("rotate", SECRET, "--yes")
    assert left.returncode == 6, left.stderr
    now = number_of(one)
    says(one, rf"unfinished: promote at {sink}:\S+PLACE did not work yet: ", left.stdout)
    assert {name: value == old[name] for name, value in one.values().items()} == {name: name == sink for name in FIELDS}
    shown = json.loads(one.keyturn("status", "--json").stdout)["secrets"][0]
    places = {place["place"].partition(":")[0]: place for place in shown["sinks"]}
    assert {name: place["state"] for name, place in places.items()} == {
        name: "failed" if name == sink else "published" for name in FIELDS
    }
    assert {name: place["serves"] for name, place in places.items()} == {
        name: before if name == sink else now for name in FIELDS
    }
    assert {name: bool(place["why"]) for name, place in places.items()} == {name: name == sink for name in FIELDS}
    assert (shown["status"], shown["current"], shown["waiting"]["step"]) == ("unfinished", now, "publish")
    said = one.keyturn("status").stdout
    says(one, rf"serving  {sink}:\S+: version {before}, as published; behind: ", said)
    for name in set(FIELDS) - {sink}:
        says(one, rf"serving  {name}:\S+: version {now}, as published\n", said)
    says(one, rf"next: keyturn resume {SECRET}", said)
    one.vault_line.clear()
    one.aws_line.clear()
    assert one.keyturn("resume", SECRET).returncode == 0
    states = {place["state"] for place in json.loads(one.keyturn("status", "--json").stdout)["secrets"][0]["sinks"]}
    assert states == {"published"}
    nothing_said(one, *old.values())


def failing(one: Harbour, sink: str) -> Plan:
    """The switch of this sink does not work."""
    if sink == "vault":
        return one.vault_line.fault("answer", On("POST", f"kv/data/{one.place}"), times=None, answer=LIMITED)
    switch = On(header=r"X-Amz-Target: .*UpdateSecretVersionStage")
    return one.aws_line.fault("answer", switch, times=None, answer=DENIED)


def number_of(one: Harbour) -> int:
    """The current version's."""
    with one.journal() as journal:
        versions = journal.summaries()[SECRET].state["versions"]
    return next(int(each["number"]) for each in versions if each["state"] == "current")
