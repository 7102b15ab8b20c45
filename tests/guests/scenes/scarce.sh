# No process and no thread can be made, by nobody: the kernel's own bound. The delivery was started before. This shell is
# process 1, so it must not even try: a fork that fails would end it.
first() {
  fresh
  prepare request netsysrq-mail deliver --profile mailbox $options
  nap 1
  echo 20 >/proc/sys/kernel/threads-max
  release request
  wait $!
  say "status request $?"
}
