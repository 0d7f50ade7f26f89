#!/bin/sh
# digest.sh IMAGE:TAG
# Prints IMAGE:TAG@sha256:..., which says for people which version it is, and for
# machines exactly what runs.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"
. "$here/registry.sh"

[ $# -eq 1 ] || { say "usage: digest.sh REGISTRY/NAME:TAG"; exit 2; }
programs curl jq
split "$1"
manifest
[ "$status" = 200 ] || fail "$registry answers $status for $1: was it pushed?"
digest=$(printf '%s\n' "$head" | sed -n 's/^docker-content-digest: *\(sha256:[0-9a-f]*\).*/\1/p' | tail -n 1)
[ -n "$digest" ] || fail "$registry names no digest for $1"
printf '%s@%s\n' "$1" "$digest"
