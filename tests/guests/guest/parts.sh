# What scenes are made of. `say`, `nap` and `release` start no process, so they work where nothing can be forked.

say() { echo "$*" >&8; } # to the host
nap() { read -r -t "$1" nothing <&9; }

# the disk with the spool, and data in it that nobody has synced; nothing is written back by the clock
fresh() {
  echo 0 >/proc/sys/vm/dirty_writeback_centisecs
  mount_disk
  netsysrq-mail init >/dev/null || say "init failed"
  unsynced
}

mount_disk() { mount -t ext4 -o rw,commit=900 "${disk:-/dev/vda}" /disk; }

unsynced() {
  seq 100000 >/disk/data
  (while :; do echo more; nap 0.05; done >>/disk/growing) &
}

# MESSAGE [OPTION...]: by a plain pipe, or by the procmail of the case
deliver() {
  local message=$1
  shift
  say "delivering $message"
  if [ "${way:-pipe}" = procmail ]; then
    procmail -d root </messages/$message
  else
    netsysrq-mail deliver --profile mailbox "$@" </messages/$message
  fi
  say "status $message $?"
}

# MESSAGE COMMAND...: a process that waits to become COMMAND on MESSAGE without a fork; `release MESSAGE` lets it
prepare() {
  local message=$1
  shift
  mkfifo /run/$message
  (read -r go <>/run/$message; exec "$@" </messages/$message) &
}
release() { say "delivering $1"; echo go >/run/$1; }

# DEVICE NAME: a device over another one that can be suspended, so that what is written to it hangs
over() {
  dmsetup create $2 --table "0 $(blockdev --getsz $1) linear $1 0"
  dmsetup mknodes
}
hang() { dmsetup suspend --noflush --nolockfs $1; }
unhang() { dmsetup resume $1; }

# all that a second boot does: the same mail again, and whatever is left
again() {
  mount_disk
  deliver request
  netsysrq-mail resume --wait
  say "resumed $?"
}

leave() { umount /disk; poweroff -f; }
