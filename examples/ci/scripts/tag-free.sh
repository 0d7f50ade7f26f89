#!/bin/sh
# tag-free.sh IMAGE:TAG
# Ends well if nothing was pushed under this tag yet. A tag that is pushed twice
# means two things: a node may run either, and nobody can go back to the first.
# Set REGISTRY_USER and REGISTRY_PASSWORD where reading takes a login.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"
. "$here/registry.sh"

[ $# -eq 1 ] || { say "usage: tag-free.sh REGISTRY/NAME:TAG"; exit 2; }
programs curl jq
split "$1"
manifest
case $status in
  404) say "$1 is free" ;;
  200) fail "$1 is there already: raise the version, tags are never pushed twice" ;;
  401 | 403) fail "$registry does not let us look ($status): set REGISTRY_USER and REGISTRY_PASSWORD" ;;
  *) fail "$registry answers $status: whether the tag is free is not known, so nothing is pushed" ;;
esac
