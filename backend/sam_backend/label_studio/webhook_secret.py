"""The secret that Label Studio's event webhooks carry where the backend has a password.

Label Studio sends a connected model's password with every call but event webhooks, which have headers of their own.
`connect` writes this secret there: everybody who may see the project's webhooks sees it, so it is not the password.
"""

import functools
import hashlib

HEADER = "X-SAM-Webhook-Secret"
ROUNDS = 200_000  # guessing the password from the secret is as slow as that


@functools.cache
def webhook_secret(user: str, password: str) -> str:
    """Return the secret that belongs to a user name and password."""
    salt = f"label-studio-sam webhook {user}".encode()
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS).hex()
