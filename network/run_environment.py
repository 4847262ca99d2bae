"""What RUN lines of Dockerfiles may know of our environment, captured at the first `up` (rule 42)."""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

PLAIN = (
    *("NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT"),
    *("CURL_CA_BUNDLE", "GIT_SSL_CAINFO"),
)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")
INDEXES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_FIND_LINKS"),
    *("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS"),
)


def capture(environment: Mapping[str, str]) -> dict[str, str]:
    """Proxies, certificates and package indexes; indexes lose their user information.

    >>> capture({"PIP_INDEX_URL": "https://me:secret@host/simple", "HOME": "/h"})
    {'PIP_INDEX_URL': 'https://host/simple'}
    """
    kept = {name: environment[name] for name in (*PLAIN, *PROXIES) if environment.get(name)}
    for name in INDEXES:
        if environment.get(name):
            words = environment[name].split()
            kept[name] = " ".join(_without_user_information(word) for word in words)
    return kept


def _without_user_information(word: str) -> str:
    """A URL (perhaps behind `name=`) without `user:password@`."""
    name, separator, address = word.partition("=")
    if not separator or "://" in name:
        name, separator, address = "", "", word
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return word
    host = parts.netloc.rpartition("@")[2]
    return name + separator + urlunsplit(parts._replace(netloc=host))
