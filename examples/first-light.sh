#!/bin/sh
# A real file goes into a cluster of one master and three chunkservers, and comes out identical.
#
#   sh examples/first-light.sh [FILE]
#
# Without FILE it stores the program gfs itself. The cluster runs on the loopback interface, keeps its
# state in a temporary folder, and is gone at the end.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cargo build --locked --profile ci --manifest-path "$root/Cargo.toml" --package gfs-cli --bin gfs
programs=$(cd "${CARGO_TARGET_DIR:-$root/target}/ci" && pwd)
PATH=$programs:$PATH
export PATH

file=${1:-$programs/gfs}
copy=$(mktemp)
trap 'rm -f "$copy"' EXIT

gfs dev -- sh -euc '
    gfs put "$1" /first-light
    gfs ls -l /
    gfs locate /first-light
    gfs cat /first-light > "$2"
    cmp "$1" "$2"
    echo "identical: $1"
' first-light "$file" "$copy"
