#!/bin/sh
# health.sh
# A gate: HEALTH_URL has to answer 2xx, IN_A_ROW times (default 5), within
# WITHIN seconds (default 120). HEALTH_HEADER is a header to send, such as
# "x-app-version: canary", by which testers reach the new version before users
# do; HOST_HEADER the host to ask for. HEALTH_EXPECT is what the answer, its head
# or body, has to contain, such as the version: without it the old version would
# pass for the new one.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

need HEALTH_URL
programs curl
set -- --silent --show-error --include --max-time 10
[ -z "${HEALTH_HEADER:-}" ] || set -- "$@" --header "$HEALTH_HEADER"
[ -z "${HOST_HEADER:-}" ] || set -- "$@" --header "Host: $HOST_HEADER"

end=$(($(date +%s) + ${WITHIN:-120}))
good=0
while :; do
  if answer=$(curl "$@" --fail "$HEALTH_URL" 2>&1); then
    case $answer in
      *"${HEALTH_EXPECT:-}"*) good=$((good + 1)) why= ;;
      *) good=0 why="it answers, but not with \"$HEALTH_EXPECT\"" ;;
    esac
  else
    good=0 why=$(printf '%s\n' "$answer" | sed -n 's/^curl: //p' | tail -n 1)
  fi
  if [ "$good" -ge "${IN_A_ROW:-5}" ]; then
    say "$HEALTH_URL is well, $good times in a row"
    exit 0
  fi
  [ "$(date +%s)" -lt "$end" ] || fail "$HEALTH_URL is not well within ${WITHIN:-120} s: ${why:-$good good answers}"
  sleep 1
done
