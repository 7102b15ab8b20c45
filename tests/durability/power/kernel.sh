#!/bin/bash
# kernel.sh DIR: Debian 12's two cloud kernels, downloaded and unpacked, never installed: DIR/stock (6.1) and DIR/6.12,
# each a vmlinuz and what modules a virtio disk needs. A second run finds them there.
set -euo pipefail
mkdir -p "$1"
cd "$1"

fetch() { # NAME METAPACKAGE
  local image module found
  [ ! -e "$1/vmlinuz" ] || return 0
  image=$(apt-cache depends "$2" | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
  [ -n "$image" ] || { echo "kernel.sh: apt knows no $2" >&2; return 1; }
  rm -rf "$1" new
  mkdir -p new/modules
  (cd new && apt-get -q -o APT::Sandbox::User=root download "$image" && dpkg -x ./*.deb root)
  for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    # what is not there is built in
    found=$(find new/root -name "$module.ko" -o -name "$module.ko.xz")
    [ -z "$found" ] || cp "$found" new/modules/
  done
  find new/modules -name '*.xz' -exec unxz {} +
  mv new/root/boot/vmlinuz-* new/vmlinuz
  rm -rf new/root new/*.deb
  mv new "$1"
}

fetch stock linux-image-cloud-amd64
fetch 6.12 linux-image-6.12-cloud-amd64
