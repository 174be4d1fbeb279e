#!/usr/bin/env bash
# load.sh IMAGE.tar...: puts images onto every node that is on; pods use them with imagePullPolicy IfNotPresent or Never.
source "$(dirname "$0")/common.sh"
use_own_slot
for disk in "$RUN"/node?; do
  node=$(basename "$disk")
  [ -n "$(processes "$node")" ] || continue
  in_node=("${clean[@]}" nsenter --target "$(cat "$disk/pid")" --mount --pid)
  started "$node/system" "${in_node[@]}" ctr version
  for image in "$@"; do # what it says of a machine with cgroup v1 is of use only when it fails
    words=$("${in_node[@]}" ctr --namespace k8s.io images import "$image" 2>&1) || { echo "$node: $image: $words" >&2; exit 1; }
  done
done
