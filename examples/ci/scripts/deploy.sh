#!/bin/sh
# deploy.sh
# Deploys an image by its digest, and prints what the Deployment had before, for
# rollback.sh. Settings: NAMESPACE, DEPLOYMENT, IMAGE_BY_DIGEST, and DEPLOY_BY:
#
#   kubectl    (the default) kubectl set image; CONTAINER is the Deployment's name
#              if not set
#   kustomize  kubectl apply of the folder KUSTOMIZATION with the image in it that
#              the manifests name IMAGE replaced, as kustomize edit set image does,
#              but without a change of your files
#   helm       helm upgrade of RELEASE with the chart CHART, whose values
#              image.repository, image.tag and image.digest are set
#
# None of them waits: wait.sh does.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

need NAMESPACE DEPLOYMENT IMAGE_BY_DIGEST
programs kubectl
printf '%s\n' "$IMAGE_BY_DIGEST" | grep -Eq '@sha256:[0-9a-f]{64}$' || fail "IMAGE_BY_DIGEST is $IMAGE_BY_DIGEST: deploy by digest, REGISTRY/NAME:TAG@sha256:..., which digest.sh prints"
container=${CONTAINER:-$DEPLOYMENT}
before=$(in_namespace get deployment "$DEPLOYMENT" --output "jsonpath={.spec.template.spec.containers[?(@.name=='$container')].image}")
[ -n "$before" ] || fail "Deployment $DEPLOYMENT has no container $container: set CONTAINER"

case ${DEPLOY_BY:-kubectl} in
  kubectl)
    in_namespace set image "deployment/$DEPLOYMENT" "$container=$IMAGE_BY_DIGEST" >&2
    ;;
  kustomize)
    need KUSTOMIZATION IMAGE
    folder=$(cd "$KUSTOMIZATION" && pwd)
    overlay=$(mktemp -d "${folder%/*}/.deploy.XXXXXX")
    trap 'rm -rf "$overlay"' EXIT
    tagged=${IMAGE_BY_DIGEST%@*}
    cat > "$overlay/kustomization.yaml" <<OVERLAY
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: ["../${folder##*/}"]
images:
- {name: "$IMAGE", newName: "${tagged%:*}", newTag: "${tagged##*:}", digest: "${IMAGE_BY_DIGEST#*@}"}
OVERLAY
    in_namespace apply --kustomize "$overlay" >&2
    ;;
  helm)
    need RELEASE CHART
    programs helm
    tagged=${IMAGE_BY_DIGEST%@*}
    helm upgrade "$RELEASE" "$CHART" --namespace "$NAMESPACE" --reuse-values \
      --set-string "image.repository=${tagged%:*}" --set-string "image.tag=${tagged##*:}" \
      --set-string "image.digest=${IMAGE_BY_DIGEST#*@}" >&2
    ;;
  *) fail "DEPLOY_BY is ${DEPLOY_BY}: kubectl, kustomize or helm" ;;
esac
say "$DEPLOYMENT asks for $IMAGE_BY_DIGEST; before it was $before"
printf '%s\n' "$before"
