#!/usr/bin/env bash
# init.sh RUN NUMBER ADDRESS: process 1 of a node, in network, mounts and processes of its own. When it dies, all of the node dies,
# and nothing of it stays mounted; what lies on its disk, RUN/nodeNUMBER, is there at the next boot.
set -euo pipefail
run=$1 number=$2 address=$3 node=node$2 disk=$1/node$2
read -r pid _ </proc/self/stat        # /proc is still that of the machine: this is the number by which others know this process
echo "$pid" >"$disk/pid"

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
for folder in lib/cni lib/containerd lib/kubelet log; do mount --bind "$disk/var/$folder" "/var/$folder"; done

# kubelet sets these of the kernel. They are the machine's, so it gets files of the same names; and every boot has a name.
mkdir /run/kernel
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  [ -f "/proc/sys/$setting" ] || continue
  file=/run/kernel/${setting//\//-}; cat "/proc/sys/$setting" >"$file"; mount --bind "$file" "/proc/sys/$setting"
done
cat /proc/sys/kernel/random/uuid >/run/kernel/boot; mount --bind /run/kernel/boot /proc/sys/kernel/random/boot_id

containerd --config "$disk/etc/containerd.toml" >>"$run/$node-containerd.log" 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.2; done
kubelet --config="$disk/etc/kubelet.yaml" --kubeconfig="$run/$node.conf" --hostname-override="$node" --node-ip="$address" \
  --node-labels="topology.kubernetes.io/zone=zone$number" >>"$run/$node-kubelet.log" 2>&1 &
kube-proxy --config="$disk/etc/kube-proxy.yaml" >>"$run/$node-kube-proxy.log" 2>&1 &
wait -n                               # a node without one of them is no node: it ends, and is seen to
echo "containerd, kubelet or kube-proxy of $node ended: see $run/$node-*.log"
