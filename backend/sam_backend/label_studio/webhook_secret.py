"""Secret of Label Studio's event webhooks, for a backend with a password.

Label Studio sends the password of a connected model with every request except event webhooks, which have headers of
their own. `connect` writes this secret there. It is not the password itself, because every user who may see the
project's webhooks can read it.
"""

import functools
import hashlib

HEADER = "X-SAM-Webhook-Secret"
ROUNDS = 200_000  # slows down guessing the password from the secret


@functools.cache
def webhook_secret(user: str, password: str) -> str:
    """Return the secret for a user name and password."""
    salt = f"label-studio-sam webhook {user}".encode()
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS).hex()
