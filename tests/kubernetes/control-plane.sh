#!/usr/bin/env bash
# control-plane.sh: takes a free slot and starts etcd, API server, controllers and scheduler in a network namespace of their own.
source "$(dirname "$0")/common.sh"

take_slot() {
  mkdir -p "$slots"
  for slot in $(seq 0 15); do
    if ln -sT "$RUN" "$slots/$slot" 2>/dev/null; then echo "$slot" >"$RUN/slot"; use_slot "$slot"; return; fi
  done
  echo "sixteen clusters run on this machine: $slots names the folders of their owners; end one by cargo xtask cluster down" >&2; exit 1
}

make_network() { # a bridge in a namespace, and one link into it; this machine's own rules and settings stay as they are
  ip netns add "$name"
  in_hub ip link set lo up
  in_hub ip link add bridge type bridge; in_hub ip address add "$hub/24" dev bridge; in_hub ip link set bridge up
  in_hub sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0
  ip link add "$link" type veth peer name machine netns "$name"
  in_hub ip link set machine master bridge up
  ip address add "$machine/24" dev "$link"; ip link set "$link" up
  ip route add "$network" via "$hub" src "$machine"
}

make_certificates() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 365 -subj /CN=gfs-testbed 2>/dev/null
  openssl genrsa -out service-account.key 2048 2>/dev/null
  certificate api kube-apiserver none "IP:$hub,IP:$kubernetes_service,DNS:localhost,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate kubelet-client apiserver-kubelet-client system:masters DNS:none
  kubeconfig admin admin system:masters
  kubeconfig controllers system:kube-controller-manager none
  kubeconfig scheduler system:kube-scheduler none
}

rm -f "$RUN"/*.log
# For tests, which know nothing of RUN and BIN: `testbed power-off node2`, and what else is a script here.
write_buttons() {
  printf '#!/bin/sh\naction=$1; shift\nRUN=%q BIN=%q exec %q/"$action.sh" "$@"\n' "$RUN" "$BIN" "$here" >testbed; chmod +x testbed
}

take_slot
cd "$RUN"
write_buttons
make_network
make_certificates
start etcd nsenter "--net=/run/netns/$name" etcd --data-dir etcd --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
"$here/start-api.sh"
start controllers nsenter "--net=/run/netns/$name" kube-controller-manager --kubeconfig=controllers.conf \
  --use-service-account-credentials --leader-elect=false --allocate-node-cidrs=false --node-monitor-grace-period=10s \
  --service-account-private-key-file=service-account.key --root-ca-file=ca.crt --cluster-signing-cert-file=ca.crt --cluster-signing-key-file=ca.key
start scheduler nsenter "--net=/run/netns/$name" kube-scheduler --kubeconfig=scheduler.conf --leader-elect=false
"$BIN/kubectl" --kubeconfig=admin.conf create clusterrolebinding nodes-run-kube-proxy --clusterrole=system:node-proxier --group=system:nodes >/dev/null
echo "control plane: ready, slot $slot, https://$hub:6443"
