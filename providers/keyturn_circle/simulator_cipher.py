"""The simulated Circle's key pair: what its public key looks like, and what it can open. Made when first needed."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable, Mapping
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RSA = "RSA PUBLIC KEY"
SPKI = "PUBLIC KEY"
SECRET_BYTES = 32
SMALL_BITS = 2048


@lru_cache
def made_key(bits: int = 4096, number: int = 1) -> rsa.RSAPrivateKey:
    """One of this process's key pairs; the first call for each takes a second or more."""
    del number  # tells key pairs of one size apart
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@lru_cache
def made_curve_key() -> ec.EllipticCurvePublicKey:
    """A public key that is not RSA."""
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def oaep() -> padding.OAEP:
    """Contract 5: SHA-256, MGF1 with SHA-256, no label."""
    return padding.OAEP(mgf=padding.MGF1(algorithm=SHA256()), algorithm=SHA256(), label=None)


def opened(key: rsa.RSAPrivateKey, ciphertext: str) -> str | None:
    """The 32 bytes in a ciphertext as hex; None where it is none (contract 5, 8.3)."""
    try:
        sealed = base64.b64decode(ciphertext, validate=True)
        plain = key.decrypt(sealed, oaep()) if len(sealed) == key.key_size // 8 else b""
    except ValueError:
        return None
    return plain.hex() if len(plain) == SECRET_BYTES else None


def sealed(key: rsa.RSAPrivateKey, value: str) -> str:
    """A fresh ciphertext of a secret in hex, as a careful client makes it."""
    return base64.b64encode(key.public_key().encrypt(bytes.fromhex(value), oaep())).decode()


def pem(key: rsa.RSAPrivateKey, form: str) -> str:
    """The public key in one of the forms of contract 8.1."""
    return FORMS[form](key)


def _spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _armoured(der: bytes, label: str = RSA, end: str = "\n") -> str:
    body = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "".join(f"{line}{end}" for line in (f"-----BEGIN {label}-----", *body, f"-----END {label}-----"))


def _usual(key: rsa.RSAPrivateKey) -> str:
    return _armoured(_spki(key.public_key()))


def _pkcs1(key: rsa.RSAPrivateKey) -> str:
    return _armoured(key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1))


FORMS: Mapping[str, Callable[[rsa.RSAPrivateKey], str]] = {
    "rsa-label": _usual,
    "public-label": lambda key: _armoured(_spki(key.public_key()), SPKI),
    "one-line": lambda key: _usual(key).replace("\n", ""),
    "crlf": lambda key: _armoured(_spki(key.public_key()), end="\r\n"),
    "literal-n": lambda key: _armoured(_spki(key.public_key()), end="\\n"),
    "pkcs1": _pkcs1,
    "small": lambda key: _usual(made_key(min(SMALL_BITS, key.key_size // 2))),
    "not-rsa": lambda _: _armoured(_spki(made_curve_key())),
    "truncated": lambda key: _usual(key)[:400],
    "empty": lambda _: "",
}
"""Contract 8.1. The label of the first one promises PKCS#1, its body is a SubjectPublicKeyInfo: as it is live."""
