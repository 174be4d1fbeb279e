#!/bin/sh
# A real file goes into a cluster of one master and three chunkservers, and comes out identical.
#
#   sh examples/first-light.sh [FILE]
#
# Without FILE it stores the program gfs itself. The cluster runs on the loopback interface, keeps its
# state in a temporary folder, and is gone at the end.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
# In the clone, so that rustup takes the toolchain it names.
(cd "$root" && cargo build --locked --profile ci --package gfs-cli --bin gfs)
programs=$(cd "$root" && cd "${CARGO_TARGET_DIR:-target}/ci" && pwd)

file=${1:-$programs/gfs}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# `gfs dev -- COMMAND` sets GFS_MASTERS, puts this same gfs first in PATH, and ends the cluster after COMMAND.
"$programs/gfs" dev -- sh -euc '
    gfs put "$1" /first-light
    gfs ls -l /
    gfs locate /first-light
    gfs get /first-light "$2/copy"
    cmp "$1" "$2/copy"
    echo "identical: $1"
' first-light "$file" "$out"
