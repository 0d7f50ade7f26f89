# shellcheck shell=sh
# The registry's own HTTP API (OCI Distribution), by curl. Credentials go to curl
# on its standard input, so that no list of processes shows them. Set REGISTRY_API
# where the API has another host than the images' names, as with Docker Hub.

MANIFESTS='application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json'

# split IMAGE:TAG into $registry, $name and $tag.
split() {
  registry=${1%%/*}
  name=${1#*/}
  tag=${name##*:}
  name=${name%:*}
  case $1 in
    */*:*) ;;
    *) fail "write the image as registry/name:tag, not $1" ;;
  esac
  case $registry in
    *.* | *:* | localhost) ;;
    *) fail "name the registry too: registry.example.com/shop/web:1.2.3, not $1" ;;
  esac
  registry=${REGISTRY_API:-$registry}
  # Without TLS to this machine alone, which is for tests.
  case $registry in
    localhost | localhost:* | 127.0.0.1:*) base=http://$registry/v2/$name ;;
    *) base=https://$registry/v2/$name ;;
  esac
}

# ask URL: the answer's head, in small letters; the last line is its status.
ask() {
  {
    printf 'header = "Accept: %s"\n' "$MANIFESTS"
    if [ -n "${token:-}" ]; then
      printf 'header = "Authorization: Bearer %s"\n' "$token"
    elif [ -n "${REGISTRY_USER:-}" ]; then
      login
    fi
  } | curl --config - --silent --show-error --head --retry 3 --max-time 30 \
    --write-out '\n%{http_code}\n' "$1" | tr -d '\r' | tr '[:upper:]' '[:lower:]'
}

login() { printf 'user = "%s:%s"\n' "$(quoted "$REGISTRY_USER")" "$(quoted "${REGISTRY_PASSWORD:-}")"; }

quoted() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

# authorize HEAD: gets a token from where the registry says.
authorize() {
  challenge=$(printf '%s\n' "$1" | sed -n 's/^www-authenticate: bearer //p')
  [ -n "$challenge" ] || return 0
  realm=$(printf '%s\n' "$challenge" | sed -n 's/.*realm="\([^"]*\)".*/\1/p')
  service=$(printf '%s\n' "$challenge" | sed -n 's/.*service="\([^"]*\)".*/\1/p')
  case $realm in
    https://* | http://localhost* | http://127.0.0.1*) ;;
    *) fail "$registry asks for a token from $realm, which is not encrypted" ;;
  esac
  token=$({
    if [ -n "${REGISTRY_USER:-}" ]; then login; fi
  } | curl --config - --silent --show-error --fail --retry 3 --max-time 30 --get \
    --data-urlencode "service=$service" --data-urlencode "scope=repository:$name:pull" "$realm" \
    | jq -r '.token // .access_token // empty')
  [ -n "$token" ] || fail "$registry gives no token: are REGISTRY_USER and REGISTRY_PASSWORD right?"
}

# manifest: the head of the manifest $tag, with its status in the last line.
manifest() {
  token=
  head=$(ask "$base/manifests/$tag")
  if [ "$(printf '%s\n' "$head" | tail -n 1)" = 401 ]; then
    authorize "$head"
    head=$(ask "$base/manifests/$tag")
  fi
  # shellcheck disable=SC2034 # for those that ask
  status=$(printf '%s\n' "$head" | tail -n 1)
  [ "$status" != 000 ] || fail "$registry does not answer"
}
