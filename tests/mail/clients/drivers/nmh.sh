#!/bin/sh
# nmh: a draft by comp, repl or forw, an editor's work on it, send
set -eu
PATH=$PATH:/usr/bin/mh
export PATH
rm -rf ~/Mail
mkdir ~/Mail
echo 'Path: Mail' >~/.mh_profile
to=netsysrq@example.net draft=$HOME/Mail/draft
[ ! -e original.eml ] || { mkdir ~/Mail/inbox; cp original.eml ~/Mail/inbox/1; }
write() { # the headers that are given, then the draft that is there
  { printf '%s\n' "$@"; sed '1,/^--------/!d;/^--------/d;/^\(To\|Subject\|Attach\):/d' "$draft"; echo --------; cat text
    sed '1,/^--------/d' "$draft"; } >edited
  cat edited >"$draft"
}
case $(cat manner 2>/dev/null) in
'')
  comp -nowhatnowproc
  set --
  for file in request.txt request.eml; do [ ! -e $file ] || set -- "Attach: $PWD/$file"; done
  write "To: $to" "Subject: $(cat subject)" "$@"
  ;;
reply) repl -nowhatnowproc -filter mhl.reply +inbox 1 && write "To: $to" 'Subject: Re: hello' ;;
forward) forw -nowhatnowproc +inbox 1 && write "To: $to" 'Subject: hello' ;;
attach) forw -nowhatnowproc -mime +inbox 1 && write "To: $to" 'Subject: hello' && mhbuild "$draft" ;;
esac
send -draft
