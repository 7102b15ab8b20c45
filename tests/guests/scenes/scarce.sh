# No process and no thread can be made, by nobody: the kernel's own bound. The delivery was started before.
first() {
  fresh
  prepare request netsysrq-mail deliver --profile mailbox $options
  nap 1
  echo 20 >/proc/sys/kernel/threads-max
  (:) 2>/dev/null && say "a process can be made"
  release request
  wait $!
  say "status request $?"
}
