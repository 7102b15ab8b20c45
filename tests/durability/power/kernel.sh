#!/bin/bash
# kernel.sh DIR [NAME...]: Debian's cloud kernels, downloaded and unpacked, never installed: DIR/stock (6.1) and DIR/6.12
# of Debian 12, and by name DIR/5.10 (bullseye) and DIR/newest (trixie-backports). Each is a vmlinuz and what modules a
# guest needs for its disks, its ports and a disk that can be suspended. A second run finds them there.
set -euo pipefail
mkdir -p "$1"
cd "$1"
shift
here=$PWD
modules=(virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk virtio_console dax dm-mod)

foreign() { # SUITE URL: the lists of another Debian, beside this system's own
  local root=$here/apt/$1
  mkdir -p "$root"/{etc/apt/{apt.conf.d,preferences.d,trusted.gpg.d},var/lib/apt/lists/partial,var/cache/apt/archives/partial,var/lib/dpkg}
  touch "$root/var/lib/dpkg/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $2 $1 main" >"$root/etc/apt/sources.list"
  printf 'Dir "%s";\nDir::State::status "%s";\nAPT::Sandbox::User "root";\nAcquire::Check-Valid-Until "false";\n' \
    "$root" "$root/var/lib/dpkg/status" >"$root/apt.conf"
  export APT_CONFIG=$root/apt.conf
  apt-get -q update
}

needs() { # PACKAGE: the packages of kernels that it depends on
  apt-cache depends "$1" | sed -n 's/^ *Depends: \(linux-[a-z]*-[0-9].*\)/\1/p' | sort -u
}

fetch() { # NAME METAPACKAGE [SUITE URL]
  local images part parts module found
  [ ! -e "$1/modules/dm-mod.ko" ] || return 0
  [ -z "${3-}" ] || foreign "$3" "$4"
  images=$(needs "$2")
  [ -n "$images" ] || { echo "kernel.sh: apt knows no $2" >&2; return 1; }
  # from 7 on an image is its parts
  parts=$(for part in $images; do echo "$part"; needs "$part"; done | grep -E '^linux-(image|binary|modules)-' | sort -u)
  rm -rf "$1" new
  mkdir -p new/modules
  (cd new && apt-get -q -o APT::Sandbox::User=root download $parts && for part in ./*.deb; do dpkg -x "$part" root; done)
  for module in "${modules[@]}"; do
    # what is not there is built in
    found=$(find new/root -name "$module.ko" -o -name "$module.ko.xz")
    [ -z "$found" ] || cp "$found" new/modules/
  done
  find new/modules -name '*.xz' -exec unxz {} +
  mv "$(find new/root -name 'vmlinuz*' -type f)" new/vmlinuz
  rm -rf new/root new/*.deb
  mv new "$1"
  unset APT_CONFIG
}

fetch stock linux-image-cloud-amd64
fetch 6.12 linux-image-6.12-cloud-amd64
for name; do
  case $name in
  5.10) fetch 5.10 linux-image-cloud-amd64 bullseye http://deb.debian.org/debian ;;
  newest) fetch newest linux-image-cloud-amd64 trixie-backports http://deb.debian.org/debian ;;
  *) echo "kernel.sh: no kernel $name" >&2; exit 64 ;;
  esac
done
