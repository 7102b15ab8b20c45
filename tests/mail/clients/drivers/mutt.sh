#!/bin/sh
# mutt.sh PROGRAM STYLE
set -eu
program=$1 to=netsysrq@example.net
{
  echo 'set sendmail="/usr/sbin/sendmail -oem -oi" copy=no quit=yes include=yes fast_reply=yes abort_unmodified=no'
  echo 'set folder=. beep=no sleep_time=0 wait_key=no reply_to=yes sort=mailbox-order read_inc=0 write_inc=0 confirmappend=no'
  echo "set editor=\"$(dirname "$0")/above.sh\""
  case $2 in
  plain) ;;
  flowed) echo 'set text_flowed=yes' ;;
  utf-8) echo 'set send_charset=utf-8' ;;
  7bit) echo 'unset allow_8bit' ;;
  esac
} >muttrc
on_a_terminal() { "$(dirname "$0")/drive.py" -- "$program" -n -F muttrc -f box -e "$1"; }
case $(cat manner 2>/dev/null) in
'')
  attach=
  for file in request.txt request.eml; do [ ! -e $file ] || attach="-a $file --"; done
  # shellcheck disable=SC2086 # words
  "$program" -n -F muttrc -s "$(cat subject)" $attach "$to" <text
  ;;
reply) on_a_terminal 'push <reply><send-message><quit>' ;;
forward) on_a_terminal "set mime_forward=no; push <forward-message>$to<enter><send-message><quit>" ;;
attach) on_a_terminal "set mime_forward=yes; push <forward-message>$to<enter><send-message><quit>" ;;
esac
