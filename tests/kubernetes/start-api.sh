#!/usr/bin/env bash
# start-api.sh: starts the API server and waits until it is ready. To stop it: stop-api.sh.
source "$(dirname "$0")/common.sh"
use_own_slot

if [ -n "$(processes api)" ]; then echo "the API server runs already"; exit; fi
start api nsenter "--net=/run/netns/$name" kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --advertise-address="$hub" \
  --tls-cert-file=api.crt --tls-private-key-file=api.key --client-ca-file=ca.crt \
  --service-account-key-file=service-account.key --service-account-signing-key-file=service-account.key \
  --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range="$services" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key --kubelet-preferred-address-types=InternalIP
started api "${clean[@]}" "$BIN/kubectl" "--kubeconfig=$RUN/admin.conf" get --raw /readyz
