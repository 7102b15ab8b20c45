#!/bin/bash
# initramfs.sh OUT TREE KERNEL PROGRAM...: an initramfs of TREE, busybox, the kernel's modules, and each PROGRAM
# with the libraries that it has. A program goes to /bin, without its debugging symbols.
set -euo pipefail
out=$1 tree=$2 kernel=$3
shift 3
cd "$tree"
mkdir -p bin dev disk etc mods proc sys tmp
cp /usr/bin/busybox bin/busybox 2>/dev/null || cp /bin/busybox bin/busybox
cp "$kernel"/modules/*.ko mods/
for program; do
  strip -o "bin/$(basename "$program")" "$program"
  { ldd "$program" || :; } 2>/dev/null | { grep -o '/[^ ]*' || :; } | while read -r library; do
    [ -e ".$library" ] || cp -L --parents "$library" .
  done
done
find . -mindepth 1 | cpio --quiet -o -H newc -R 0:0 >"$out"
