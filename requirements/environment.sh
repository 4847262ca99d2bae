#!/usr/bin/env bash
# Make the virtual environment: `environment.sh FOLDER`. Needs nothing but a Python >= 3.11.
#
# SubstraFL 1.0 supports Python up to 3.12, so the environment is 3.12 or 3.11. On a machine that has
# only a newer one, uv is asked for a 3.12.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1

# Prints the version when the interpreter really starts and can make virtual environments.
version_of() {
    "$1" -c 'import ensurepip, ssl, sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

suitable="" newer=""
for candidate in ${PYTHON:-} python3.12 python3.11 python3 python3.13 python3.14; do
    case "$(version_of "$candidate")" in
        3.11 | 3.12) suitable=$candidate; break ;;
        3.1[3-9]) newer=${newer:-$candidate} ;;
    esac
done

if [ -n "$suitable" ]; then
    rm -rf "$target"
    "$suitable" -m venv "$target"
    "$target/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
elif [ -n "$newer" ]; then
    rm -rf "$target" "$target.uv"
    "$newer" -m venv "$target.uv"
    "$target.uv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
    if ! "$target.uv/bin/uv" venv --quiet --seed --python 3.12 "$target"; then
        echo "Substra Ray needs Python 3.11 or 3.12 (SubstraFL 1.0 supports no newer one): install python3.12 and call make again." >&2
        exit 1
    fi
    "$target.uv/bin/uv" pip install --quiet --python "$target/bin/python" --require-hashes --requirement requirements/uv.txt
    rm -rf "$target.uv"
else
    echo "Substra Ray needs Python 3.11 or 3.12 with its venv module: install python3.12 (on Debian and Ubuntu also python3.12-venv) and call make again." >&2
    exit 1
fi

echo "Installing into $target ($("$target/bin/python" --version)) ..."
# uv honours SSL_CERT_FILE; a machine that told only pip about its CA bundle has told us too.
if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
    export SSL_CERT_FILE=$PIP_CERT
fi
"$target/bin/uv" pip install --quiet --python "$target/bin/python" --compile-bytecode --require-hashes --requirement requirements/all.txt
"$target/bin/uv" pip install --quiet --python "$target/bin/python" --no-deps --no-build-isolation --editable .
