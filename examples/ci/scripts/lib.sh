# shellcheck shell=sh
# What all scripts share. Every script is POSIX sh, reads its settings from the
# environment, says on stderr what it does, and writes results to stdout.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# need NAME...: each variable is set, or the script ends naming all that are not.
need() {
  missing=
  for name; do
    eval "value=\${$name:-}"
    # shellcheck disable=SC2154 # set by the line above
    [ -n "$value" ] || missing="$missing $name"
  done
  [ -z "$missing" ] || { say "set$missing"; exit 2; }
}

# programs NAME...: each program is there.
programs() {
  for name; do
    command -v "$name" >/dev/null || { say "$name is missing: install it"; exit 2; }
  done
}

# in_namespace: kubectl with the pipeline's namespace.
in_namespace() { kubectl --namespace "$NAMESPACE" "$@"; }

# canary VERB...: the plugin with the pipeline's namespace. kubectl takes no flags
# before a plugin's name. CANARY_FLAGS are further ones, such as
# --serin-namespace=releases.
# shellcheck disable=SC2086 # they are several words
canary() { kubectl canary "$@" --namespace "$NAMESPACE" ${CANARY_FLAGS:-}; }
