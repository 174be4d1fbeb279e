#!/usr/bin/env bash
# down.sh: ends the cluster of RUN, living or half dead, and removes all of it but its logs. Also clusters whose RUN is gone.
source "$(dirname "$0")/common.sh"

remove_slot() { # SLOT
  use_slot "$1"
  kill_all .
  local namespace top try
  for namespace in $(ip netns list | awk -v name="$name" '$1 == name || index($1, name "-") == 1 {print $1}'); do ip netns delete "$namespace"; done
  ip link delete "$link" 2>/dev/null || true
  for top in $(hierarchies); do
    for try in $(seq 50); do
      find "$top/$name" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      [ -d "$top/$name" ] || break
      sleep 0.1
    done
  done
  rm -f "$slots/$1"
}

for entry in "$slots"/*; do
  [ -L "$entry" ] || continue
  owner=$(readlink "$entry")
  if [ "$owner" = "$RUN" ] || [ ! -e "$owner" ]; then remove_slot "$(basename "$entry")"; fi
done
# The last one takes the mount points with it; where the machine has a kubelet of its own they are not empty.
if rmdir "$slots" 2>/dev/null; then rmdir /var/lib/{cni,containerd,kubelet} 2>/dev/null || true; fi
mkdir -p "$RUN"
find "$RUN" -mindepth 1 -maxdepth 1 ! -name '*.log' -exec rm -rf {} +
