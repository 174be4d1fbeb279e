#!/usr/bin/env bash
# addons.sh: names (CoreDNS) and volumes (a StorageClass `local-path`), and waits until nodes and names are ready.
source "$(dirname "$0")/common.sh"
use_own_slot
export KUBECONFIG=$RUN/admin.conf; kubectl() { "${clean[@]}" "KUBECONFIG=$KUBECONFIG" "$BIN/kubectl" "$@"; }

sed "s/@DNS@/$dns/" "$here/addons.yaml" | kubectl apply -f - >/dev/null
{ printf '{"nodePathMap": ['; separator=
  for disk in "$RUN"/node?; do printf '%s{"node": "%s", "paths": ["%s/volumes"]}' "$separator" "$(basename "$disk")" "$disk"; separator=', '; done
  printf ']}'; } >"$RUN/volumes.json"
kubectl --namespace local-path-storage create configmap local-path-config --from-file="config.json=$RUN/volumes.json" \
  --from-file="$here/volumes/setup" --from-file="$here/volumes/teardown" --from-file="$here/volumes/helperPod.yaml" >/dev/null
# The provisioner runs beside the control plane: an image less, and a node that is off takes it with it never.
start volumes nsenter "--net=/run/netns/$name" env POD_NAMESPACE=local-path-storage local-path-provisioner start --config volumes.json \
  --configmap-name local-path-config --namespace local-path-storage --service-account-name local-path --kubeconfig admin.conf \
  --helper-image localhost/gfs-testbed-busybox:1

for disk in "$RUN"/node?; do
  node=$(basename "$disk"); started "$node/system" kubectl get node "$node"
  kubectl wait --for=condition=Ready "node/$node" --timeout=60s
done
if ! kubectl --namespace kube-system rollout status deployment/coredns --timeout=120s >/dev/null; then
  echo "the name server of the cluster does not run; what happened to its pods:" >&2
  kubectl --namespace kube-system get events --sort-by=.lastTimestamp >&2
  exit 1
fi
