#!/bin/sh
# image.sh
# Builds the image of this commit, pushes it under a tag that was never used, and
# prints it with its digest. Settings: IMAGE (registry/name), SOURCE (the URL of
# the repository), and where it takes a login REGISTRY_USER and REGISTRY_PASSWORD.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

need IMAGE SOURCE
programs git docker
version=$("$here/version.sh")
target=$IMAGE:$version
"$here/tag-free.sh" "$target"

if [ -n "${REGISTRY_USER:-}" ]; then
  printf '%s' "${REGISTRY_PASSWORD:-}" | docker login --username "$REGISTRY_USER" --password-stdin "${IMAGE%%/*}" >&2
fi
# The commit's time, not this moment's: building it again gives the same labels.
created=$(TZ=UTC0 git show --no-patch --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd HEAD)
docker build --tag "$target" \
  --build-arg "VERSION=$version" \
  --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.revision=$(git rev-parse HEAD)" \
  --label "org.opencontainers.image.created=$created" \
  --label "org.opencontainers.image.source=$SOURCE" \
  "${CONTEXT:-.}" >&2
# Once more: somebody may have pushed it while we built.
"$here/tag-free.sh" "$target"
docker push "$target" >&2
"$here/digest.sh" "$target"
