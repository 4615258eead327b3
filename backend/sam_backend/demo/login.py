"""The demo's user: created once, stored in a file that only its owner can read."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

EMAIL = "demo@example.com"


@dataclass(frozen=True)
class Login:
    """The demo's user. `api_key` is the personal access token, empty until Label Studio created one."""

    email: str
    password: str
    api_key: str = ""


def load_or_make_login(file: Path) -> Login:
    """Return the login stored in `file`, or a new one with a random password."""
    if file.exists():
        return Login(**json.loads(file.read_text()))
    login = Login(EMAIL, secrets.token_urlsafe(12))
    save_login(login, file)
    return login


def save_login(login: Login, file: Path) -> None:
    """Write the login to `file`, readable by its owner only from the start."""
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as output:
        json.dump(asdict(login), output, indent=1)
    part.replace(file)
