"""The programs that come first in PATH while an image is built, and the variables that serve pip through uv."""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import uv

from backend.engine.images.interpreters import Interpreter

_NOTHING = (
    *("apt", "apt-get", "apt-cache", "apt-key", "aptitude", "add-apt-repository", "dpkg", "apk"),
    *("addgroup", "adduser", "groupadd", "useradd", "groupmod", "usermod", "chown", "chgrp"),
    *("update-alternatives", "ldconfig", "locale-gen", "update-ca-certificates", "su", "sudo"),
)
_NOTHING_TEXT = """\
#!/bin/sh
echo "[embedded mode] no effect: ${0##*/} $*"
"""
_PYTHON_TEXT = """\
#!/bin/sh
if [ "$1" = -m ] && [ "$2" = venv ]; then shift 2; exec @PYTHON@ -I -S @TOOLS@/venv_stand_in.py "$@"; fi
name="${0##*/}"
IFS=:
for folder in $PATH; do
  if [ "$folder" != @TOOLS@ ] && [ -x "$folder/$name" ]; then exec "$folder/$name" "$@"; fi
done
echo "$name: not found" >&2
exit 127
"""
_PIP_TEXT = """\
#!/bin/sh
exec @PYTHON@ -I -S @TOOLS@/pip_stand_in.py @UV@ "$@"
"""


def write_stand_ins(tools: Path, interpreter: Interpreter) -> None:
    """Fill the folder `tools`; it is readable and executable for RUN lines, never writable."""
    tools.mkdir()
    places = {
        "@PYTHON@": shlex.quote(interpreter.executable),
        "@TOOLS@": shlex.quote(str(tools)),
        "@UV@": shlex.quote(uv.find_uv_bin()),
    }
    version = interpreter.version
    texts = dict.fromkeys(_NOTHING, _NOTHING_TEXT)
    texts |= dict.fromkeys(("python", "python3", f"python{version}"), _PYTHON_TEXT)
    texts |= dict.fromkeys(("pip", "pip3", f"pip{version}"), _PIP_TEXT)
    for name, text in texts.items():
        for mark, place in places.items():
            text = text.replace(mark, place)
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    for name in ("pip_stand_in.py", "venv_stand_in.py"):
        shutil.copyfile(Path(__file__).with_name(name), tools / name)


_PASSED = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
_FOR_PIP = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
_FOR_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT",
    "PIP_TIMEOUT": "UV_HTTP_TIMEOUT",
    "PIP_CERT": "SSL_CERT_FILE",
}


def network_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The captured variables (rule 42) that programs of a build get, said to uv in its own names too."""
    chosen = {
        name: value
        for name, value in given.items()
        if name.upper() in _PASSED or name in _FOR_PIP or name.startswith(("PIP_", "UV_"))
    }
    for name in (
        "UV_CACHE_DIR",
        "PIP_CACHE_DIR",
        "UV_PYTHON_INSTALL_DIR",
        "UV_PROJECT_ENVIRONMENT",
    ):
        chosen.pop(name, None)
    for pip_name, uv_name in _FOR_UV.items():
        if pip_name in given:
            chosen.setdefault(uv_name, given[pip_name])
    if "PIP_FIND_LINKS" in given:
        chosen.setdefault("UV_FIND_LINKS", ",".join(given["PIP_FIND_LINKS"].split()))
    return {
        **chosen,
        "UV_LINK_MODE": "copy",  # a hard link would let functions write into the shared cache
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def readable_places(given: Mapping[str, str]) -> list[str]:
    """Local files and folders that those variables name: certificates (folders apart by colons), wheels."""
    words = [
        word
        for name, value in given.items()
        for word in value.replace(":" if name.endswith("_DIR") else ",", " ").split()
    ]
    return sorted(
        {word.removeprefix("file://") for word in words if word.startswith(("/", "file:///"))}
    )
