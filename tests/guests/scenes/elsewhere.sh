# Keys asked of a runner that the kernel would not spare: root in a pid namespace of its own, or a user whom the
# trigger was given to. A bystander tells whether anybody was killed.
first() {
  fresh
  sleep 1000 &
  bystander=$!
  configured='netsysrq-mail --config /etc/netsysrq-mail/config.toml'
  deliver="$configured"' deliver --profile mailbox --wait </messages/request; echo "status request $?" >&8'
  say "delivering request"
  case $whose in
  namespace)
    # its processes end with the first of them, so that one waits for the answer
    unshare -p -f --mount-proc sh -c "$deliver"
    ;;
  group)
    rm -rf /disk/state
    chown alice /disk /etc/netsysrq-mail/host
    chgrp alice /proc/sysrq-trigger
    chmod 220 /proc/sysrq-trigger
    su alice -c "$configured init >/dev/null; $deliver"
    ;;
  esac
  nap 2
  kill -0 $bystander && say "bystander lives" || say "bystander is dead"
}
