#!/bin/sh
# swaks, which speaks SMTP
set -eu
set -- --silent --server 127.0.0.1 --from alice@mx.example.net --to netsysrq@example.net
[ ! -e request.txt ] || set -- "$@" --attach-type text/plain --attach @request.txt
[ ! -e request.eml ] || set -- "$@" --attach-type message/rfc822 --attach @request.eml
exec swaks "$@" --header "Subject: $(cat subject)" --body @text
