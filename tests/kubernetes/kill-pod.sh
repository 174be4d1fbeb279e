#!/usr/bin/env bash
# kill-pod.sh NODE UID: SIGKILL to every container of a pod at one moment. Its sandbox stays: the kubelet starts the containers again.
source "$(dirname "$0")/common.sh"
use_own_slot
containers=()
for process in $(find "$(freezer)/$name/node${1#node}" -path "*/pod$2/*" -name cgroup.procs -exec cat {} +); do
  [ "$(cat "/proc/$process/comm" 2>/dev/null || echo pause)" = pause ] || containers+=("$process")
done
[ ${#containers[@]} -gt 0 ] || { echo "no container of pod $2 runs on $1" >&2; exit 1; }
kill -9 "${containers[@]}"
