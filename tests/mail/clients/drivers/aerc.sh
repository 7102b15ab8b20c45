#!/bin/sh
# aerc, on a terminal: aerc.sh STYLE
set -eu
to=netsysrq@example.net here=$(dirname "$0") box=$PWD/Maildir XDG_RUNTIME_DIR=$PWD XDG_CONFIG_HOME=$PWD
export XDG_RUNTIME_DIR XDG_CONFIG_HOME
mkdir -p aerc "$box/INBOX/cur" "$box/INBOX/new" "$box/INBOX/tmp"
(
  umask 077
  printf '%s\n' '[alice]' "source = maildir://$box" 'outgoing = /usr/sbin/sendmail' \
    'from = Alice <alice@mx.example.net>' >aerc/accounts.conf
)
printf '%s\n' '[compose]' "editor = $here/above.sh" 'address-book-cmd =' >aerc/aerc.conf
cp /usr/share/aerc/binds.conf aerc
[ ! -e original.eml ] || cp original.eml "$box/INBOX/cur/1:2,S"
screen=hello
case $(cat manner 2>/dev/null) in
'') screen='o messages' && echo ":compose -H \"To: $to\" -H \"Subject: $(cat subject)\"" ;;
reply) echo :reply -q ;;
forward) echo ":forward $to" ;;
attach) echo ":forward -A $to" ;;
esac >begin
set --
for name in request.txt request.eml; do
  [ ! -e $name ] || set -- 'end this email' ":attach $name\r" "ached $name" y
done
[ $# -ne 0 ] || set -- 'end this email' y
# it redraws as little of the screen as it can
exec "$here/drive.py" "$screen" @begin "$@" 'ssage sent' ':quit\r' -- aerc
