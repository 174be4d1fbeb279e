#!/usr/bin/env bash
# images.sh OUT: the two images that a cluster itself needs, as archives in OUT; no registry is asked.
set -euo pipefail
: "${BIN:?the folder of the programs}"
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
mkdir -p "$1"; out=$(realpath "$1")
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
buildah=(buildah --root "$scratch/store" --runroot "$scratch/run" --storage-driver vfs)

image() { # NAME CONTEXT
  local reference=localhost/gfs-testbed-$1:1
  "${buildah[@]}" build --quiet --isolation chroot --tag "$reference" --file "$here/images/$1.Containerfile" "$2" >/dev/null
  rm -f "$out/$1.tar"; "${buildah[@]}" push --quiet "$reference" "oci-archive:$out/$1.tar:$reference"
}

mkdir -p "$scratch/busybox/bin" "$scratch/coredns"
cp "$(command -v busybox)" "$scratch/busybox/bin/busybox"
for command in sh mkdir rm sleep; do ln -s busybox "$scratch/busybox/bin/$command"; done
cp "$BIN/coredns" "$scratch/coredns/"
image busybox "$scratch/busybox"
image coredns "$scratch/coredns"
