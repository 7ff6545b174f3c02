#!/usr/bin/env bash
# A base image without a registry: Debian bookworm with Python 3.11, made by debootstrap. Needs root and a docker engine.
# Argument: the tag to import it under. Packages come from DEBIAN_MIRROR, or from where this machine's apt gets its own.
# The machine's CA bundle and package-client configuration come along, so that `docker build --network=host` fetches
# packages as this machine does.
set -euo pipefail
tag=$1
if docker image inspect "$tag" >/dev/null 2>&1; then exit 0; fi
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | head -1)}
if [ -z "$mirror" ]; then
  echo "where are Debian's packages? apt on this machine names no place; set DEBIAN_MIRROR to a mirror's address" >&2
  exit 2
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" "$mirror"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/* "$root"/usr/share/man/*
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
if [ -f /etc/pip.conf ]; then install -m 644 /etc/pip.conf "$root/etc/pip.conf"; fi
# Nothing of the machine's devices or mounts belongs into an image.
tar --create --one-file-system --directory "$root" --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* . \
  | docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' - "$tag"
