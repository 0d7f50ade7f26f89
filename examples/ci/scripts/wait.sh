#!/bin/sh
# wait.sh
# Waits for the end of the release that the last deployment began, and ends with
# the code of kubectl canary wait: 0 promoted, 3 rolled back, 4 inconclusive,
# 5 timeout, 6 blocked, 8 not a canary, 9 superseded. 7, nothing to release, is
# no failure here: the same image was deployed again; NOTHING=fail makes it one.
# Settings: NAMESPACE, DEPLOYMENT, TIMEOUT (default 1h).
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

need NAMESPACE DEPLOYMENT
programs kubectl kubectl-canary
code=0
canary wait "$DEPLOYMENT" --timeout "${TIMEOUT:-1h}" || code=$?
if [ "$code" = 7 ] && [ "${NOTHING:-pass}" = pass ]; then
  say "nothing to release: users have this version already"
  exit 0
fi
[ "$code" = 0 ] || say "the release of $DEPLOYMENT was not promoted (exit code $code); kubectl canary explain $DEPLOYMENT -n $NAMESPACE tells why"
exit "$code"
