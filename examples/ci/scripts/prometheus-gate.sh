#!/bin/sh
# prometheus-gate.sh
# A gate on a number that Prometheus has: QUERY, asked of PROMETHEUS_URL, has to
# give one number, at most AT_MOST. No answer, no data and several numbers are no
# pass. It is asked again until it is kept or WITHIN seconds (default 0) are over.
# PROMETHEUS_TOKEN is a bearer token, where one is needed.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

need PROMETHEUS_URL QUERY AT_MOST
programs curl jq
printf '%s\n' "$AT_MOST" | jq -e 'type == "number"' >/dev/null 2>&1 || { say "AT_MOST is $AT_MOST: a number is needed"; exit 2; }

ask() {
  { [ -z "${PROMETHEUS_TOKEN:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$PROMETHEUS_TOKEN"; } |
    curl --config - --silent --show-error --fail-with-body --max-time 30 --data-urlencode "query=$QUERY" "${PROMETHEUS_URL%/}/api/v1/query" 2>&1
}

# judge ANSWER: says "kept", or else why it is no pass.
judge() {
  printf '%s' "$1" | jq -r --argjson most "$AT_MOST" '
    if .status != "success" then "Prometheus says: \(.error)"
    else
      (.data | if .resultType == "scalar" then [.result[1]] else [.result[].value[1]] end) as $all
      | if ($all | length) == 0 then "there is no data"
        elif ($all | length) > 1 then "there are \($all | length) numbers: sum them up in the query"
        elif $all[0] == "NaN" then "it is no number: were there no requests?"
        elif ($all[0] | sub("Inf"; "1e999") | tonumber) > $most then "it is \($all[0]), at most \($most) is good"
        else "kept" end
    end' 2>/dev/null || :
}

end=$(($(date +%s) + ${WITHIN:-0}))
while :; do
  answer=$(ask) || :
  why=$(judge "$answer")
  if [ "$why" = kept ]; then
    say "kept: $QUERY is at most $AT_MOST"
    exit 0
  fi
  [ -n "$why" ] || why="Prometheus does not answer as it should: $(printf '%s' "$answer" | head -n 1)"
  [ "$(date +%s)" -lt "$end" ] || fail "$QUERY: $why"
  sleep 5
done
