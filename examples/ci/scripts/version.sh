#!/bin/sh
# version.sh
# Prints the version of the commit: of the tag v1.2.3 it is 1.2.3; of the fourth
# commit after that 1.2.4-dev.4.g1a2b3c4, which SemVer sorts between the two, and
# which is a valid tag of an image. Before the first tag it is 0.0.0-dev.N.gSHA.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

programs git
[ "$(git rev-parse --is-shallow-repository)" = false ] || fail "the clone is shallow: fetch all history (fetch-depth: 0, GIT_DEPTH: 0)"
[ -z "$(git status --porcelain --untracked-files=no)" ] || fail "files differ from the commit: commit them first, or the image can't be told by its revision"
sha=$(git rev-parse --short=7 HEAD)
if last=$(git describe --tags --long --abbrev=7 --match 'v[0-9]*.[0-9]*.[0-9]*' 2>/dev/null); then
  tag=${last%-*-g*}
  count=${last#"$tag"-}
  count=${count%-g*}
  version=${tag#v}
else
  version=0.0.0
  count=$(git rev-list --count HEAD)
fi
printf '%s\n' "$version" | grep -Eq '^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$' || fail "the tag v$version is no SemVer: write it as v1.2.3"
if [ "$count" -gt 0 ]; then
  case $version in
    *-*) version=$version.dev.$count.g$sha ;;
    0.0.0) version=0.0.0-dev.$count.g$sha ;;
    *) version=${version%.*}.$((${version##*.} + 1))-dev.$count.g$sha ;;
  esac
fi
printf '%s\n' "$version"
