"""The one-use ciphertext of a secret (contract 5): RSA-OAEP with SHA-256 and MGF1-SHA-256, base64."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from keyturn.api import Refused, Secret

SECRET_BYTES = 32
SECRET = re.compile(r"[0-9a-fA-F]{64}")
ARMOUR = re.compile(r"-----(?:BEGIN|END) [A-Z ]+-----")
BYTES_MAX = 16_384

BAD_KEY = "public-key-unusable"
KEY_HINT = "do not rotate: ask Circle, or look on the way there for what changes answers"


@dataclass(frozen=True, kw_only=True, eq=False)
class PublicKey:
    """An entity's public key. `fingerprint`: SHA-256 of its DER form, which tells it from a later one."""

    fingerprint: str
    key: RSAPublicKey = field(repr=False)

    def encrypt(self, secret: Secret) -> Secret:
        """A ciphertext, another one each time: never send one twice. Raises Refused `secret-malformed`."""
        text = secret.reveal()
        if not SECRET.fullmatch(text):
            raise Refused(
                f"expected an entity secret of 64 hexadecimal digits, got {len(text)} characters",
                code="secret-malformed",
                hint="put the value back as it was registered, hexadecimal, without quotes or spaces",
            )
        plaintext = bytes.fromhex(text)
        sealed = self.key.encrypt(plaintext, OAEP(mgf=MGF1(algorithm=SHA256()), algorithm=SHA256(), label=None))
        made = base64.b64encode(sealed).decode()
        # The hexadecimal text by mistake would give as many characters (contract 5).
        if len(plaintext) != SECRET_BYTES or len(made) != ciphertext_chars(self.key.key_size):
            raise Refused("the ciphertext came out in another size than it must have", code="cipher-broken")
        return Secret(made)


def ciphertext_chars(bits: int) -> int:
    """How long a ciphertext is: 684 characters with a key of 4096 bits."""
    return 4 * -(-(bits // 8) // 3)


def public_key(text: str, *, bits: int) -> PublicKey:
    """The key in an answer, by the rule of contract 5, which takes both PEM labels and any kind of line ends.

    Raises Refused `public-key-unusable` where it is no RSA key of that many bits.
    """
    body = "".join(ARMOUR.sub("", text.replace("\\r", "\r").replace("\\n", "\n")).split())
    try:
        key = load_der_public_key(base64.b64decode(body[:BYTES_MAX], validate=True))
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("expected a public key in PEM form, got something else", code=BAD_KEY, hint=KEY_HINT) from None
    if not isinstance(key, RSAPublicKey):
        raise Refused("expected an RSA public key, got one of another kind", code=BAD_KEY, hint=KEY_HINT)
    if key.key_size != bits:
        raise Refused(
            f"expected a public key of {bits} bits, got one of {key.key_size}",
            code=BAD_KEY,
            hint=f"if Circle says that its keys have that size now, set key_bits: {key.key_size}",
        )
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(fingerprint=hashlib.sha256(der).hexdigest(), key=key)
