#!/bin/sh
# plugin.sh FOLDER
# Builds kubectl-canary into a folder, which has to be in the PATH of what follows.
# Settings: SERIN_SOURCE (the URL of Serin's repository) and SERIN_REVISION (the
# commit or tag that runs in the cluster).
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

[ $# -eq 1 ] || { say "usage: plugin.sh FOLDER"; exit 2; }
need SERIN_SOURCE SERIN_REVISION
programs git go
mkdir -p "$1"
folder=$(cd "$1" && pwd)
sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
git -C "$sources" init --quiet
git -C "$sources" fetch --quiet --depth 1 "$SERIN_SOURCE" "$SERIN_REVISION"
git -C "$sources" checkout --quiet FETCH_HEAD
(cd "$sources" && go build -ldflags "-s -w -X main.version=$SERIN_REVISION" -o "$folder/kubectl-canary" ./cmd/kubectl-canary)
say "kubectl-canary of $SERIN_REVISION is in $folder"
