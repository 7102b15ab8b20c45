# netsysrq-mail under Dovecot's Sieve (Pigeonhole), before everybody's own scripts: commands run as the user whose mail
# it is, with that user's configuration.
#
# This is /etc/dovecot/sieve/netsysrq.sieve; the example 90-netsysrq.conf says the rest. After a change, as root:
#
#     sievec /etc/dovecot/sieve/netsysrq.sieve
#
# It works without that too, but with two errors in Dovecot's log for each mail.
#
# What becomes of a mail:
#
#     netsysrq-mail says                     Sieve                             the mail
#     0   a request, accepted or denied      discards it                       has been dealt with
#     1   not for us                         goes on to the user's script      is ordinary mail
#     75  a request, and we are not ready    goes on to the user's script      is ordinary mail
#     anything else, killed, not installed   goes on to the user's script      is ordinary mail
#     longer than the time limit             ends it, goes on likewise         is ordinary mail
#
# Sieve cannot defer a mail. A request that meets a full disk or a broken configuration therefore ends up in the inbox,
# not in the queue, and nobody runs it: mend that, and send it again, or "netsysrq-mail deliver < mail" as that user.
require "vnd.dovecot.execute";

# Conditions, if you want any, go here: if allof (envelope :localpart "to" "alice", execute ...), with "envelope"
# required too, saves a process for each mail to others. Never look into the body, which may be base64, and never at
# From, which may be root or a daemon. There is no limit of size, since a request may come with a photograph.
#
# A test, not the action "pipe", which runs at the end and cannot say "not for us".
if execute :pipe "netsysrq-mail" ["deliver", "--profile", "mailbox"] {
  discard;
  stop;
}
