#!/bin/sh
# Alpine, on a terminal: alpine.sh STYLE
set -eu
{
  echo user-domain=mx.example.net
  echo smtp-server=127.0.0.1
  echo inbox-path=/var/mail/alice
  echo 'default-fcc=""'
  echo last-version-used=6.26
  echo alt-addresses=them@example.net
  printf feature-list=quit-without-confirm,include-text-in-reply,reply-always-uses-reply-to
  [ "$1" = plain ] || printf ,quell-flowed-text
  echo
} >pinerc
on_a_terminal() { exec "$(dirname "$0")/drive.py" "$@"; }
compose() { # KEYS ALPINE'S ARGUMENTS...: KEYS lead to the text
  keys=$1
  shift
  on_a_terminal 'Message Text' "$keys" '' @text '' '\x18' 'Send message' y -- alpine -p pinerc "$@"
}
in_box() { # KEY [PATTERN KEYS]... PATTERN: to the text of an answer to the mail in the box
  on_a_terminal hello "$@" @text '' '\x18' 'Send message' y 'MESSAGE INDEX' q -- alpine -p pinerc -i -f "$PWD/box"
}
to_text='\x0e\x0ehello\x0e' # down twice, the subject, down
case $(cat manner 2>/dev/null) in
'')
  for file in request.txt request.eml; do
    [ ! -e $file ] || compose "$to_text" -attach "$PWD/$file" netsysrq@example.net
  done
  subject=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1]))' "$(cat subject)")
  compose '' -url "mailto:netsysrq@example.net?subject=$subject"
  ;;
reply) in_box r 'Message Text' ;;
forward) in_box f 'Message Text' 'netsysrq@example.net\x0e\x0e\x0e\x0e' '' ;;
esac
