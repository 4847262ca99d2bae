#!/usr/bin/env bash
# Compile the pinned sets from the ranges in pyproject.toml: `lock.sh UV [--upgrade]`.
#
# Hashes of every platform, no index address inside: an installation takes the packages from
# whatever index the machine is set up for, and accepts only these bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$1
shift
options=(--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@")

"$uv" pip compile "${options[@]}" pyproject.toml --extra local --extra demo --extra dev --output-file requirements/all.txt
# What images hold is what was tested: a part of the whole set.
"$uv" pip compile "${options[@]}" pyproject.toml --constraint requirements/all.txt --output-file requirements/base.txt
"$uv" pip compile "${options[@]}" requirements/develop.in --constraint requirements/all.txt --output-file requirements/develop.txt
echo hatchling | "$uv" pip compile "${options[@]}" - --constraint requirements/all.txt --output-file requirements/build.txt
uv_version=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements/all.txt)
echo "uv==$uv_version" | "$uv" pip compile "${options[@]}" - --output-file requirements/uv.txt
