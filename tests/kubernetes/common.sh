# Read by the other scripts: the names, addresses and cgroups of one cluster.
#
# RUN is the folder of its state, BIN that of the programs. On the machine a cluster is a number, its slot; everything
# of it that is not in RUN is named gfs-testbed-SLOT, so that it can be removed by somebody who knows nothing else.
set -euo pipefail
: "${RUN:?the folder of the state of the cluster; run these scripts by cargo xtask cluster}" "${BIN:?the folder of the programs}"
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
slots=/run/gfs-testbed               # a link for each slot in use, to the RUN of its owner

use_slot() { # SLOT
  slot=$1
  name=gfs-testbed-$slot             # the network namespace of the control plane, and the cgroup
  link=gfs-testbed$slot              # this machine's end of the only way in
  # 198.18.0.0/15 is set aside for tests of networks (RFC 2544): no office and no cloud uses it. A slot has a /20 of it.
  part=$((slot * 16))
  network=198.18.$part.0/20
  hub=198.18.$part.1                 # the control plane, and the way of everybody to everybody
  machine=198.18.$part.2
  services=198.18.$((part + 12)).0/22
  kubernetes_service=198.18.$((part + 12)).1
  dns=198.18.$((part + 12)).10
}
use_own_slot() {
  [ -f "$RUN/slot" ] || { echo "no cluster is up: start one with cargo xtask cluster up" >&2; exit 1; }
  use_slot "$(cat "$RUN/slot")"
}
node_address() { echo "198.18.$part.1$1"; }      # of node NUMBER, 1 to 9
pods_of() { echo "198.18.$((part + $1)).0/24"; }

in_hub() { nsenter "--net=/run/netns/$name" "$@"; }   # not `ip netns exec`: that mounts another /sys, without cgroups

# The environment is made anew: a proxy, GOFLAGS or KUBECONFIG of the caller is nothing to the cluster.
clean=(env -i "PATH=$BIN:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin" "HOME=$RUN")

start() { # NAME COMMAND...: in the cgroup of that name, its words in NAME.log
  local what=$1; shift
  (join_cgroup "$what"; cd "$RUN"; exec "${clean[@]}" setsid "$@") >>"$RUN/${what//\//-}.log" 2>&1 </dev/null &
  until [ -n "$(processes "$what")" ]; do kill -0 $! 2>/dev/null || return 1; sleep 0.02; done   # whoever asks now finds it
}
started() { # NAME COMMAND...: waits until the command succeeds
  local what=$1 try; shift
  for try in $(seq 300); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
    [ -n "$(processes "$what")" ] || break
  done
  echo "$what did not come up; the end of $RUN/${what//\//-}.log:" >&2; tail -n 20 "$RUN/${what//\//-}.log" >&2; return 1
}

kubeconfig() { # FILE COMMON-NAME ORGANISATION: who that is, for the API server
  certificate "$1" "$2" "$3" DNS:none
  local k=("$BIN/kubectl" config "--kubeconfig=$RUN/$1.conf")
  { "${k[@]}" set-cluster gfs-testbed --server="https://$hub:6443" --certificate-authority="$RUN/ca.crt" --embed-certs
    "${k[@]}" set-credentials "$1" --client-certificate="$RUN/$1.crt" --client-key="$RUN/$1.key" --embed-certs
    "${k[@]}" set-context gfs-testbed --cluster=gfs-testbed --user="$1"; "${k[@]}" use-context gfs-testbed; } >/dev/null
}
certificate() { # FILE COMMON-NAME ORGANISATION ALTERNATIVE-NAMES
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$RUN/$1.key" -subj "/O=$3/CN=$2" 2>/dev/null |
    openssl x509 -req -CA "$RUN/ca.crt" -CAkey "$RUN/ca.key" -CAcreateserial -days 365 -out "$RUN/$1.crt" \
      -extfile <(echo "subjectAltName=$4") 2>/dev/null
}

# Cgroups: what runs in `gfs-testbed-SLOT/NAME` is NAME, however it was started. No process is looked for by its name or number.

hierarchies() { # one with cgroup v2, one a controller with v1
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; return; fi
  local folder
  for folder in /sys/fs/cgroup/*; do
    if [ ! -L "$folder" ] && [ -f "$folder/cgroup.procs" ]; then echo "$folder"; fi
  done
}
join_cgroup() { # NAME: this shell, and all it starts
  local top controller
  for top in $(hierarchies); do
    mkdir -p "$top/$name"
    if [ -f "$top/cgroup.controllers" ]; then # v2: a cgroup has the controllers that the one above it hands down
      for controller in $(cat "$top/cgroup.controllers"); do
        { echo "+$controller" >"$top/cgroup.subtree_control"; echo "+$controller" >"$top/$name/cgroup.subtree_control"; } 2>/dev/null || true
      done
    elif [ -f "$top/cpuset.cpus" ]; then      # v1: a set of processors is empty until somebody fills it
      cat "$top/cpuset.cpus" >"$top/$name/cpuset.cpus"; cat "$top/cpuset.mems" >"$top/$name/cpuset.mems"
      echo 1 >"$top/$name/cgroup.clone_children"
    fi
    mkdir -p "$top/$name/$1"; echo "$BASHPID" >"$top/$name/$1/cgroup.procs"
  done
}
freezer() { # the hierarchy by which processes are found and stopped
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/freezer; fi
}
processes() { # NAME
  find "$(freezer)/$name/$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}
kill_all() { # NAME: SIGKILL to all of it at one moment
  local cgroup try; cgroup=$(freezer)/$name/$1
  [ -d "$cgroup" ] || return 0
  if [ -f "$cgroup/cgroup.kill" ]; then
    echo 1 >"$cgroup/cgroup.kill"
  else
    echo FROZEN >"$cgroup/freezer.state"     # nobody acts between the first death and the last
    processes "$1" | xargs -r kill -9 2>/dev/null || true
    echo THAWED >"$cgroup/freezer.state"
  fi
  for try in $(seq 100); do [ -n "$(processes "$1")" ] || return 0; sleep 0.1; done
  echo "processes of $name/$1 outlived SIGKILL by 10 s:" $(processes "$1") >&2; return 1
}
