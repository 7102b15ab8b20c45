#!/bin/sh
# The programs named mail and mailx: mailx.sh PROGRAM STYLE
set -eu
to=netsysrq@example.net program=$1 style=$2 batch=-I attach=
case $program in
s-nail)
  batch='-#'
  set -- -n -S reply-to-honour=yes
  [ "$style" = plain ] || set -- "$@" -S "mime-encoding=$style"
  for file in request.txt request.eml; do [ ! -e $file ] || attach="-a $file"; done
  ;;
mail.mailutils)
  set -- -n
  [ ! -e request.txt ] || attach="--content-type=text/plain -A request.txt"
  [ ! -e request.eml ] || attach="--content-type=message/rfc822 --encoding=8bit -A request.eml"
  ;;
*) set -- -n ;;
esac
export MAILCAPS=/dev/null
type() { printf '%s\n' "$@"; }
if [ ! -e manner ]; then
  # shellcheck disable=SC2086 # words
  exec "$program" "$@" -s "$(cat subject)" $attach "$to" <text
fi
case $(cat manner) in
reply) { type 'reply 1'; cat text; type '~m 1' '~.' quit; } ;;
forward) { type "mail $to"; cat text; type '~f 1' '~.' quit; } ;;
attach) { type "set forward-as-attachment" "forward 1 $to"; cat text; type '~.' quit; } ;;
esac | "$program" "$@" "$batch" -f box
