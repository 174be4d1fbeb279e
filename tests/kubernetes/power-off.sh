#!/usr/bin/env bash
# power-off.sh NODE: a node loses its power: the network first, so that nobody is told, then every process at one moment.
source "$(dirname "$0")/common.sh"
use_own_slot
node=node${1#node}
[ -d "$RUN/$node" ] || { echo "there is no $node" >&2; exit 1; }
in_hub ip link delete "$node" 2>/dev/null || true     # both ends of the cable: what the dying still say goes nowhere
kill_all "$node"
ip netns delete "$name-$node" 2>/dev/null || true
for top in $(hierarchies); do find "$top/$name/$node" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
