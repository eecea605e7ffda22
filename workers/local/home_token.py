"""A token for a local Ray whose user has no home that can be written.

Ray keeps the token that its processes show each other in `~/.ray/auth_token`, and ends where it can't: for a service
user without a home, a container with a read-only root.
"""

import os
import secrets
from pathlib import Path

TOKEN = "RAY_AUTH_TOKEN"


def token_for_this_run() -> dict[str, str]:
    """Variables for Ray's environment; none where Ray finds a token by itself, or can keep one."""
    if TOKEN in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return {}
    try:
        folder = Path.home() / ".ray"
        folder.mkdir(parents=True, exist_ok=True)
        kept = (folder / "auth_token").is_file() or os.access(folder, os.W_OK)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home at all
        kept = False
    return {} if kept else {TOKEN: secrets.token_hex(32)}
