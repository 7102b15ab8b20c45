# The disk is full, or its file system has been made read-only by the kernel after an error.
first() {
  fresh
  case $how in
  full)
    sync
    dd if=/dev/zero of=/disk/rest bs=64k 2>/dev/null
    say "left: $(df /disk | tail -n 1)"
    ;;
  errors)
    mount -o remount,errors=remount-ro /disk
    echo 1 >/sys/fs/ext4/vda/trigger_fs_error
    ;;
  esac
  deliver request
}
