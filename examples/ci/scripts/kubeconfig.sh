#!/bin/sh
# kubeconfig.sh
# Writes the kubeconfig in KUBECONFIG_TEXT to a file that nobody else can read,
# and prints KUBECONFIG=FILE, for the steps that follow.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

need KUBECONFIG_TEXT
umask 077
file=$(mktemp "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/kubeconfig.XXXXXX")
printf '%s\n' "$KUBECONFIG_TEXT" > "$file"
printf 'KUBECONFIG=%s\n' "$file"
