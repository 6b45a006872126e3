"""Ciphertexts of entity secrets, opened by another library; the public key in every form that it was seen in."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable, Mapping
from functools import lru_cache

import pytest
from Crypto.Cipher import PKCS1_OAEP
from Crypto.Hash import SHA1, SHA256
from Crypto.PublicKey import ECC, RSA
from Crypto.Signature import pss

from keyturn.api import Refused, Secret
from keyturn_circle.client_cipher import PublicKey, public_key
from keyturn_circle.simulator_cipher import made_key, opened, pem

SECRET = Secret("0f" * 32)
BITS = 2048
"""Of the keys that are made here: quick."""

PUBLISHED = """-----BEGIN RSA PUBLIC KEY-----
MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAsL4dzMMQX8pYbiyj0g5H
FGwdygAA2xDm2VquY8Sk0xlOC0yKr+rqUrqnZCj09vLuXbg1BreO/BP4F4GEIHgR
BNT+o5Q8k0OqxLXmcm5sz6CPlsFCom+MiOj6s7RD0SXg91WF8MrN88GyN53xkemA
OYU1AlIt4dVIrFyGY8aQ57sbWHyIjim+do1kBX+svIA/FLHG/sycoGiPU1E+Kydf
lEDga4iR2DSbW6Zte9cGDg9Ivw/seNd0TLzJz6oC9XgSK5Et6/ZpOmqJgvISQ6rT
K15DJ8EzIOzZZuEVOefgy1S7rLdSH7DexuR4W7T+KpP/f8Px0bxd4N6MT5V5kBYa
gYHHIvqlJvXe5EzwidIWk1rg1X+YJt2M48h3Pr9HeECcmrnEYOgp32m/9lJ8vKp9
hNh0rEKww/ULd1HqCEm/I0QGuji13XcGxVo5+7KCb/C76CNdW3pdRMn6fwFh4WVu
u99iRc9OZhlkphysWm44hs1ZPpMCAkKttWjhnLZwIatN27x2JUqoCEUOho19iT+F
wlPFA7E0Ju9Rqm68AkCXxHsJsAuGT8m6FLQZLHv4JyO/QEVzD7vY08A2I5dz1mVt
gVam1/05Axju6poRomx/DUxiR0QH1+0Kg15+2A0fRkBggTTn7kvGsgz0cqk9cTm0
EITpIVGcSGrVNRrmSye2OW0CAwEAAQ==
-----END RSA PUBLIC KEY-----
"""
"""The one that Circle's own page shows: a label that promises PKCS#1, and another body (contract 5)."""


@lru_cache
def private() -> RSA.RsaKey:
    return RSA.generate(BITS)


def spki() -> bytes:
    return private().public_key().export_key("DER")


def pkcs1() -> bytes:
    """The bare key in the other form, cut out of the first: both end alike."""
    der = spki()
    return der[der.index(bytes.fromhex("3082"), 4) :]


def armoured(der: bytes, label: str = "RSA PUBLIC KEY", end: str = "\n") -> str:
    body = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return end.join([f"-----BEGIN {label}-----", *body, f"-----END {label}-----"]) + end


FORMS: Mapping[str, Callable[[], str]] = {
    "the label of another form": lambda: armoured(spki()),
    "the right label": lambda: armoured(spki(), "PUBLIC KEY"),
    "on one line": lambda: armoured(spki(), end=""),
    "on one line with spaces": lambda: armoured(spki(), end=" "),
    "with the line ends of Windows": lambda: armoured(spki(), end="\r\n"),
    "with backslashes for line ends": lambda: armoured(spki(), end="\\n"),
    "with backslashes for the line ends of Windows": lambda: armoured(spki(), end="\\r\\n"),
    "indented": lambda: textwrap.indent(armoured(spki()), "    "),
    "as PKCS#1 under its label": lambda: armoured(pkcs1()),
    "as PKCS#1 under the other label": lambda: armoured(pkcs1(), "PUBLIC KEY"),
}
REFUSED: Mapping[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "no base64": lambda: "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----",
    "truncated": lambda: armoured(spki())[:300],
    "cut between two lines": lambda: armoured(spki()[:96]),
    "a certificate's label and no key": lambda: armoured(b"\x30\x03\x02\x01\x05", "CERTIFICATE"),
    "not RSA": lambda: armoured(ECC.generate(curve="P-256").public_key().export_key(format="DER")),
    "an HTML page": lambda: "<html><body>503</body></html>",
}


def opened_by_another_library(sealed: Secret, key: RSA.RsaKey, digest: object = SHA256) -> bytes:
    cipher = PKCS1_OAEP.new(key, hashAlgo=digest)  # type: ignore[arg-type]
    return cipher.decrypt(base64.b64decode(sealed.reveal(), validate=True))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_public_key_is_taken_in_every_form_and_is_the_same(form: Callable[[], str]) -> None:
    key = public_key(form(), bits=BITS)
    assert key.fingerprint == public_key(FORMS["the right label"](), bits=BITS).fingerprint
    assert opened_by_another_library(key.encrypt(SECRET), private()) == bytes.fromhex(SECRET.reveal())


@pytest.mark.parametrize("form", REFUSED.values(), ids=REFUSED)
def test_what_is_no_rsa_key_is_refused_in_words(form: Callable[[], str]) -> None:
    with pytest.raises(Refused) as told:
        public_key(form(), bits=BITS)
    assert told.value.code == "public-key-unusable"
    assert told.value.hint


def test_a_key_of_another_size_is_refused_and_names_the_option() -> None:
    with pytest.raises(Refused, match="4096 bits, got one of 2048") as told:
        public_key(FORMS["the right label"](), bits=4096)
    assert "key_bits: 2048" in told.value.hint


def test_the_published_key_loads_and_makes_684_characters_another_time_others() -> None:
    key = public_key(PUBLISHED, bits=4096)
    made = {key.encrypt(SECRET).reveal() for _ in range(3)}
    assert len(made) == 3
    assert {len(one) for one in made} == {684}


def test_the_published_key_loads_as_a_json_text_quotes_it() -> None:
    quoted = PUBLISHED.replace("\n", "\\n")
    assert public_key(quoted, bits=4096).fingerprint == public_key(PUBLISHED, bits=4096).fingerprint


@pytest.mark.parametrize("value", ["0f" * 32, "00" * 32, "ff" * 32, "0F" * 32])
def test_32_bytes_are_encrypted_never_their_hexadecimal_text(value: str) -> None:
    key = public_key(FORMS["the right label"](), bits=BITS)
    assert opened_by_another_library(key.encrypt(Secret(value)), private()) == bytes.fromhex(value)


@pytest.mark.parametrize(
    "value",
    ["", "0f" * 31, "0f" * 33, "0f" * 31 + "0g", "0x" + "0f" * 31, "0f" * 32 + "\n", " " + "0f" * 32, "éé" * 16],
)
def test_what_is_no_entity_secret_is_never_encrypted_nor_said(value: str) -> None:
    key = public_key(FORMS["the right label"](), bits=BITS)
    with pytest.raises(Refused) as told:
        key.encrypt(Secret(value))
    assert told.value.code == "secret-malformed"
    assert not value or value not in f"{told.value} {told.value.hint}"


def test_another_hash_does_not_open_it() -> None:
    sealed = public_key(FORMS["the right label"](), bits=BITS).encrypt(SECRET)
    for cipher in (
        PKCS1_OAEP.new(private(), hashAlgo=SHA1),
        PKCS1_OAEP.new(private(), hashAlgo=SHA256, mgfunc=lambda seed, size: pss.MGF1(seed, size, SHA1)),
        PKCS1_OAEP.new(private(), hashAlgo=SHA256, label=b"label"),
    ):
        with pytest.raises(ValueError, match=r"decryption|Incorrect"):
            cipher.decrypt(base64.b64decode(sealed.reveal()))


def test_what_another_library_makes_opens_too() -> None:
    """The reverse, with the simulator's own opening: both mean the same scheme."""
    key = made_key(BITS)
    other = RSA.import_key(pem(key, "public-label"))
    made = PKCS1_OAEP.new(other, hashAlgo=SHA256).encrypt(bytes.fromhex(SECRET.reveal()))
    assert opened(key, base64.b64encode(made).decode()) == SECRET.reveal()


def test_neither_a_key_nor_a_secret_is_shown() -> None:
    key = public_key(FORMS["the right label"](), bits=BITS)
    assert isinstance(key, PublicKey)
    assert repr(key) == f"PublicKey(fingerprint={key.fingerprint!r})"
    assert SECRET.reveal() not in repr(key.encrypt(SECRET))
