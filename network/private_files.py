"""Files and folders that only we may read: secrets, settings, sockets."""

import os
import secrets
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make the folder (and its parents), mode 0700."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path


def write_private(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a file at once, mode 0600: a reader sees the old or the new text, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_or_create_secret(path: Path) -> str:
    """A random secret, made at the first call and kept in a 0600 file."""
    try:
        found = path.read_text("ascii").strip()
    except FileNotFoundError:
        found = ""
    if not found:
        found = secrets.token_urlsafe(32)
        write_private(path, found)
    return found
