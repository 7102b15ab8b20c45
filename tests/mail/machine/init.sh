#!/bin/bash
# The first process of a machine, in namespaces of its own (mount, PID, network, UTS, IPC): lays its layers over this
# system's /usr, /etc and /var in memory, becomes root of that, says "ready", and goes on until its standard input ends.
# Then the kernel kills whatever is left in it.
#
#   init.sh LAYER...      topmost first
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
below=
for layer in "$@"; do below+=$layer/DIRECTORY:; done
for directory in usr etc var; do
  mkdir -p "/mnt/$directory" "/mnt/.changes/$directory" "/mnt/.work/$directory"
  mount -t overlay overlay "/mnt/$directory" -o \
    "lowerdir=${below//DIRECTORY/$directory}/$directory,upperdir=/mnt/.changes/$directory,workdir=/mnt/.work/$directory"
done
for link in bin sbin lib lib64; do ln -s "usr/$link" "/mnt/$link"; done
mkdir -p /mnt/{proc,dev/shm,run/lock,root,home}
mkdir -m 1777 /mnt/tmp
mount -t proc proc /mnt/proc
for device in null zero full random urandom tty; do
  touch "/mnt/dev/$device"
  mount --bind "/dev/$device" "/mnt/dev/$device"
done
ln -s /proc/self/fd /mnt/dev/fd
# terminals, for programs that want one
mkdir /mnt/dev/pts
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /mnt/dev/pts
ln -s pts/ptmx /mnt/dev/ptmx
for user in alice netsysrq; do
  install -d -o "$(awk -F: -v u=$user '$1==u {print $3}' /mnt/etc/passwd)" -m 755 "/mnt/home/$user"
done
mkdir /mnt/.old
cd /mnt
pivot_root . .old
umount -l /.old
rmdir /.old
cd /
hostname mx.example.net
ip link set lo up
printf '127.0.0.1 localhost\n127.0.0.1 mx.example.net mx\n' >/etc/hosts
echo mx.example.net >/etc/mailname
exec 3>&1 >/dev/null 2>&1
echo ready >&3
exec 3>&-
# bash collects the children that others leave behind
while read -r _; do :; done
