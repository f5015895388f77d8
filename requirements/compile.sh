#!/bin/sh
# Writes the lock files: every package that is installed, by version and hash, for every Python from 3.11 on.
# They agree with each other, and name no index: whichever one pip is set up for serves.
set -eu
cd "$(dirname "$0")/.."
compile() { # extra constraints...
    extra=$1; shift
    "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
        --no-emit-index-url --no-emit-find-links --extra "$extra" "$@" -o "requirements/$extra.txt" pyproject.toml
}
compile dev
compile operator -c requirements/dev.txt
compile serving -c requirements/dev.txt
compile router -c requirements/dev.txt
