"""The first container of a build in the cluster: `python -m backend.engine.images.fetch_context FOLDER`.

Fetches the archive from CONTEXT_URL, compares it with CONTEXT_SHA256, unpacks it with the checks of an upload,
and needs a Dockerfile at its root. One line in the termination message says what went wrong. Ends with 0; with
3 when the archive is to blame; with 1 when it could not be fetched, which may be tried again.
"""

import hashlib
import os
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from backend.engine.images.build_states import BAD_ARCHIVE
from backend.engine.images.context import ContextError, unpack_context

TIMEOUT_S = 60.0
ATTEMPTS = 6
PAUSE_S = 0.5
"""After the first attempt, then twice as long each time: policies learn of a new pod a moment late."""
MESSAGE = Path("/dev/termination-log")


class NotFetched(Exception):
    """The archive did not come, or came with other bytes."""


def main(variables: Mapping[str, str], target: Path) -> int:
    """Bring the context to `target`/content; the exit status. The archive lies beside it for a moment."""
    archive = target / ".archive"
    try:
        fetch(variables["CONTEXT_URL"], archive, variables["CONTEXT_SHA256"], _trusted(variables))
        (target / "content").mkdir()
        unpack_context(archive, target / "content")
        if not (target / "content" / "Dockerfile").is_file():
            raise ContextError("the archive has no file named Dockerfile at its root")
    except (NotFetched, OSError) as error:
        return _say(1, str(error))
    except ContextError as error:
        return _say(BAD_ARCHIVE, str(error))
    finally:
        archive.unlink(missing_ok=True)
    return 0


def fetch(url: str, target: Path, checksum: str, trusted: ssl.SSLContext) -> None:
    """Download to `target`, several times where the connection breaks.

    Raises:
        NotFetched: it did not come, or its SHA-256 is not `checksum`. The URL is not repeated: it is a secret.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
        digest = hashlib.sha256()
        try:
            with (
                httpx.stream("GET", url, timeout=TIMEOUT_S, verify=trusted) as answer,
                target.open("wb") as file,
            ):
                if answer.status_code != 200:
                    raise NotFetched(f"the archive's store answers {answer.status_code}")
                for piece in answer.iter_raw(1 << 18):
                    digest.update(piece)
                    file.write(piece)
        except httpx.HTTPError as error:
            reason = f"the archive's store cannot be reached ({type(error).__name__})"
            continue
        if digest.hexdigest() == checksum:
            return
        reason = "the archive came with other bytes than were uploaded"
    raise NotFetched(reason)


def _trusted(variables: Mapping[str, str]) -> ssl.SSLContext:
    """The public authorities, and those of the files in CONTEXT_CERTIFICATES."""
    context = ssl.create_default_context()
    folder = variables.get("CONTEXT_CERTIFICATES")
    for path in sorted(Path(folder).iterdir()) if folder else ():
        if path.is_file():
            context.load_verify_locations(path)
    return context


def _say(status: int, text: str) -> int:
    sys.stderr.write(f"{text}\n")
    if MESSAGE.is_file():
        MESSAGE.write_text(text, "utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(os.environ, Path(sys.argv[1])))
