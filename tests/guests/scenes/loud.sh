# The kernel's log is flooded, or missing; or a report is about a crowd.
first() {
  fresh
  case $how in
  flood)
    for writer in 1 2; do (while :; do echo "<7>$writer: something that nobody needs to know"; done >/dev/kmsg) & done
    ;;
  silent) rm /dev/kmsg ;;
  crowd)
    n=0
    while [ $n -lt $processes ]; do sleep 1000 & n=$((n + 1)); done
    ;;
  esac
  deliver request
}
