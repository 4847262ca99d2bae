"""The texts of a built front end that stand for the API's address and for a watcher's id.

The contract (rest-api.md 23, deployment.md 14.2) says only that the API's root is a constant of build or
deployment, "the address of the backend as the browser sees it": with its scheme, without a slash at the end.
Builds spell the text in several ways, and all of these are taken:

- `__API_URL__`, also with a prefix (`__VITE_API_URL__`), anywhere in a text file;
- `${API_URL}`, `$API_URL`, `%API_URL%` where it is a whole string in straight quotes: elsewhere it may be code;
- with a scheme of the build before it (`https://__API_URL__`), which goes, for the address has its own.

The id of the analytics (`__MICROSOFT_CLARITY_ID__`) becomes empty: nobody watches the users.
"""

import re
from urllib.parse import urlsplit

_PREFIX = rb"(?:[A-Z][A-Z0-9]*_)*"


def _spellings(name: bytes) -> re.Pattern[bytes]:
    word = _PREFIX + name
    quoted = rb"\$\{" + word + rb"\}|\$" + word + rb"|%" + word + rb"%"
    return re.compile(
        rb"(?:(?:https?:)?//)?__" + word + rb"__|(?<=[\"'])(?:" + quoted + rb")(?=[\"'])"
    )


_ADDRESS = _spellings(rb"API_URL")
_WATCHER = _spellings(rb"CLARITY_ID")
_POLICY = re.compile(rb"<meta\b[^>]*\bcontent-security-policy\b[^>]*>", re.IGNORECASE)


class Texts:
    """The replacement for one address of the API."""

    def __init__(self, api: str) -> None:
        self._api = api.rstrip("/").encode()
        parts = urlsplit(api)
        self._origin = f"{parts.scheme}://{parts.netloc}".encode()

    def replace(self, content: bytes, *, page: bool) -> bytes:
        """The content with our values; `page` for HTML.

        In a Content-Security-Policy an address without a slash at its end would allow that one path only, so it
        becomes the origin there.
        """
        if page:
            content = _POLICY.sub(
                lambda found: _ADDRESS.sub(lambda _: self._origin, found[0]), content
            )
        content = _ADDRESS.sub(lambda _: self._api, content)
        return _WATCHER.sub(lambda _: b"", content)

    def stand_in(self, content: bytes) -> bool:
        """Whether the content names the API by a text."""
        return _ADDRESS.search(content) is not None
