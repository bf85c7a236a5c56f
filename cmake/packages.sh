#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh cmake/packages.sh <package>...: installs the Debian packages that are not installed yet.
# Uses apt-get, with sudo when not root. When all are there, it does nothing.
set -eu

if ! command -v apt-get >/dev/null 2>&1; then
  echo "+ no apt-get on this machine; needed, by their Debian names: $*"
  exit 0
fi

missing=
for package in "$@"; do
  case "$(dpkg -s "$package" 2>/dev/null || true)" in
    *"Status: install ok installed"*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "Please install, as root: apt-get install$missing" >&2
    exit 1
  fi
  as_root=sudo
fi

set -x
$as_root apt-get update
# shellcheck disable=SC2086 # one word for each package
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
