# Something hangs in the kernel: a process that touches it cannot even be killed. `hung` says what, `when` when.
first() {
  if [ "$hung" = spool ]; then
    over /dev/vda spool
    disk=/dev/mapper/spool
  fi
  fresh
  over /dev/vdb other
  mount -t ext4 /dev/mapper/other /other
  echo busy >/other/busy
  case $hung in
  queue)
    echo 'dd of=/other/mail conv=fsync 2>/dev/null; exit' >/run/sendmail
    hang other
    ;;
  other) hang other ;;
  command) hang other ;;
  spool) [ "$when" = settle ] || hang spool ;;
  esac
  # a delivery that hangs is not to stop the shell that the host speaks to
  deliver request &
  [ "$hung" != command ] || until stuck=$(grep -l '^State:.D' /proc/[0-9]*/status 2>/dev/null); do nap 0.2; done
  for status in $stuck; do say "in D state: $(sed -n 's/^Name:.//p' $status)"; done
}
