"""What a person in the Console is told (contract 2.3, 2.4, 6). Pure."""

from __future__ import annotations

PLACE = "Developer-controlled -> Configurator -> Entity Secret"

CURRENT_CIPHERTEXT = "current_ciphertext"
NEW_CIPHERTEXT = "new_ciphertext"
"""What the person is shown."""


def rotation_steps(entity: str, environment: str) -> str:
    """How to rotate."""
    return (
        f"in Circle's Console, in the {environment} environment of the entity {entity}: "
        f'1. open {PLACE} and choose "Rotate Entity Secret"; '
        f"2. paste {CURRENT_CIPHERTEXT} where it asks for the ciphertext of the current secret, and {NEW_CIPHERTEXT} "
        "where it asks for that of the new one, each whole and on one line; "
        "3. confirm: the new secret is in force at once, and requests with the old one fail"
        f"{_refused('both ciphertexts are')}; "
        "4. download the renewed recovery file, since the former one is void, and hand it in. "
        f"{_protect('The two ciphertexts together are')}"
    )


def reset_steps(entity: str, environment: str) -> str:
    """How to reset with the recovery file."""
    return (
        f"in Circle's Console, in the {environment} environment of the entity {entity}: "
        f"1. open {PLACE} and choose to reset the secret; "
        "2. upload the recovery file that belongs to the secret in force; "
        f"3. paste {NEW_CIPHERTEXT}, whole and on one line, as the ciphertext of the new secret, and confirm: it is in "
        f"force at once{_refused('the ciphertext is')}; "
        "4. download the renewed recovery file and hand it in; keep the former one until that is stored. "
        f"{_protect('With the recovery file, the ciphertext is')}"
    )


def _refused(what: str) -> str:
    """Contract 2.3, 4: what was refused is spent."""
    return f" (if it is refused, {what} used up: give up here, Ctrl-C, and attend again, which shows fresh ones)"


def _protect(what: str) -> str:
    return (
        f"{what} an authorised rotation: protect it like a password, use it once, send it to nobody; "
        "it is void as soon as another rotation is done"
    )
