#!/bin/sh
# A base for the images where no registry is reachable: Debian's own Python, put together by mmdebstrap.
#
#   deploy/docker/base.sh localhost/rag-base:bookworm [SUITE]     # then: make images BASE=localhost/rag-base:bookworm
#
# A base has Python 3.11 or newer with pip, libstdc++ and authorities; python:3.12-slim is one.
# Needs root, mmdebstrap and buildah. BUILDAH holds buildah with its global options, where the defaults do not do.
set -eu

tag=$1
suite=${2:-bookworm}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mmdebstrap --quiet --variant=essential --include=python3,python3-pip,libstdc++6,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/apt/lists/*' \
    "$suite" "$scratch/base.tar"
printf 'FROM scratch\nADD base.tar /\nCMD ["python3"]\n' > "$scratch/Dockerfile"
${BUILDAH:-buildah --storage-driver vfs} build --quiet --format docker --tag "$tag" "$scratch"
