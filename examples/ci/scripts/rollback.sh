#!/bin/sh
# rollback.sh
# Back to the version before, wherever a release stands:
#
#   under way          it is aborted; returns when all routes are at stable
#   promoted, a pair   all traffic goes to the other Deployment again
#   promoted, in place PREVIOUS_IMAGE is released as a canary of its own, for it
#                      is what users get next; to have it at once, PLAINLY=yes
#   rolled back        users are at stable already
#
# In place PREVIOUS_IMAGE, which deploy.sh printed, is written into the Deployment
# again, so that it asks for what runs. It has to be set always: without it nothing
# was deployed, and nothing is taken back.
#
# IMAGE_BY_DIGEST, if set, is what this pipeline deployed: where the Deployment asks
# for another image by now, that is left alone.
#
# Settings: NAMESPACE, DEPLOYMENT, PREVIOUS_IMAGE, IMAGE_BY_DIGEST, CONTAINER,
# TIMEOUT (default 1h), and whatever deploy.sh needs.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

need NAMESPACE DEPLOYMENT PREVIOUS_IMAGE
programs kubectl kubectl-canary jq
container=${CONTAINER:-$DEPLOYMENT}
asked=$(in_namespace get deployment "$DEPLOYMENT" --output "jsonpath={.spec.template.spec.containers[?(@.name=='$container')].image}")
if [ -n "${IMAGE_BY_DIGEST:-}" ] && [ "${asked##*@}" != "${IMAGE_BY_DIGEST##*@}" ]; then
  say "$DEPLOYMENT asks for $asked by now, which somebody else deployed: it is left alone"
  exit 0
fi
seen=$(canary status "$DEPLOYMENT" --output json) || fail "where the release stands can't be read"
[ "$(printf '%s' "$seen" | jq -r '.view | type' 2>/dev/null)" = object ] || fail "kubectl canary status says nothing that this script knows: are the two of one version?"
phase=$(printf '%s' "$seen" | jq -r '.view.phase')
in_place=$(printf '%s' "$seen" | jq -r '.view.inPlace // false')
weight=$(printf '%s' "$seen" | jq -r '.view.weight')

# What blocks may hold a release or keep one from starting: only the former has steps.
under_way=$(printf '%s' "$seen" | jq -r '.view | .phase as $p | (["Testing", "Progressing", "Paused", "Inconclusive"] | index($p) != null) or ($p == "Blocked" and (.path // []) != [])')

# put_back writes the image before into the Deployment of a release in place.
put_back() {
  case $PREVIOUS_IMAGE in
    */* | *:*) ;;
    *) fail "PREVIOUS_IMAGE is $PREVIOUS_IMAGE: the image that deploy.sh printed is needed" ;;
  esac
  if [ "${DEPLOY_BY:-kubectl}" = kubectl ]; then
    in_namespace set image "deployment/$DEPLOYMENT" "$container=$PREVIOUS_IMAGE" >&2
  else
    IMAGE_BY_DIGEST=$PREVIOUS_IMAGE "$here/deploy.sh" >/dev/null
  fi
}

if [ "$under_way" = true ]; then
  canary abort "$DEPLOYMENT"
  if [ "$in_place" = true ]; then put_back; fi
  # The order has done its work; standing, it would keep the next release back.
  in_namespace annotate deployment "$DEPLOYMENT" serin.dev/command- >&2
  exit 0
fi
if [ "$asked" = "$PREVIOUS_IMAGE" ]; then
  say "$DEPLOYMENT asks for $PREVIOUS_IMAGE already, and no release is under way: nothing is taken back"
  exit 0
fi
case $phase/$in_place/$weight in
  Promoting/* | Finishing/*) fail "a promotion is being finished ($phase): run this again in a minute" ;;
  Succeeded/true/*)
    put_back
    if [ "${PLAINLY:-no}" = yes ]; then
      in_namespace rollout resume "deployment/$DEPLOYMENT" >&2
      in_namespace rollout status "deployment/$DEPLOYMENT" --timeout "${TIMEOUT:-1h}" >&2
    else
      "$here/wait.sh"
    fi
    ;;
  */true/*)
    put_back
    "$here/wait.sh" # passes where this is what runs: then there is nothing to release
    say "users are on the version before, and $DEPLOYMENT asks for it again"
    ;;
  RolledBack/* | RollingBack/*) say "users are on the version before already" ;;
  Succeeded/*/100) canary rollback "$DEPLOYMENT" ;;
  *) fail "no release of $DEPLOYMENT is under way and none was promoted ($phase, $weight%): nothing is taken back. kubectl canary status $DEPLOYMENT -n $NAMESPACE tells where it stands" ;;
esac
