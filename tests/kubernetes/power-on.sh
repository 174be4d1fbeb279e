#!/usr/bin/env bash
# power-on.sh NODE: boots a node. Its disk, RUN/NODE, is made when it has none.
source "$(dirname "$0")/common.sh"
use_own_slot
number=${1#node}; node=node$number; disk=$RUN/$node; namespace=$name-$node; address=$(node_address "$number")
in_node() { nsenter "--net=/run/netns/$namespace" "$@"; }

if [ -n "$(processes "$node")" ]; then echo "$node is on already"; exit; fi

write_configuration() {
  mkdir -p "$disk"/{etc/cni,volumes,var/{lib/{cni,containerd,kubelet},log}}
  kubeconfig "$node" "system:node:$node" system:nodes
  certificate "$node-serving" "$node" none "DNS:$node,IP:$address"
  local file
  for file in containerd.toml kubelet.yaml kube-proxy.yaml cni/pods.conflist; do
    sed -e "s#@RUN@#$RUN#g; s#@BIN@#$BIN#g; s#@NODE@#$node#g; s#@CGROUP@#/$name/$node#g; s#@DNS@#$dns#g" \
      -e "s#@PODS@#$(pods_of "$number")#g; s#@NETWORK@#$network#g" "$here/node/$(basename "$file")" >"$disk/etc/$file"
  done
}

plug_in() {
  "$here/power-off.sh" "$node"         # what is left of a node that died by itself
  ip netns add "$namespace"
  # The address of the card stays the same, so that nobody asks a dead one after a reboot.
  in_hub ip link add "$node" type veth peer name eth0 address "02:00:00:00:$(printf %02x "$slot"):0$number" netns "$namespace"
  in_hub ip link set "$node" master bridge up
  in_node ip link set lo up; in_node ip address add "$address/24" dev eth0; in_node ip link set eth0 up
  in_node ip route add default via "$hub"; in_node sysctl -qw net.ipv4.ip_forward=1
  in_hub ip route replace "$(pods_of "$number")" via "$address"
}

[ -f "$disk/etc/kubelet.yaml" ] || write_configuration
mkdir -p /var/lib/{cni,containerd,kubelet}      # where the node mounts its own; the machine's stay as they are
plug_in
# In a cgroup below that of the node: kubelet makes the one of the pods beside it.
start "$node/system" nsenter "--net=/run/netns/$namespace" unshare --mount --propagation slave --pid --fork "$here/node/init.sh" "$RUN" "$number" "$address"
echo "$node: started"
