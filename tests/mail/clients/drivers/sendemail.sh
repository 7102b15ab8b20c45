#!/bin/sh
# sendemail.sh STYLE
set -eu
style=$1
set -- -o message-charset=utf-8
[ "$style" != plain ] || shift 2
[ ! -e request.txt ] || set -- "$@" -a request.txt
[ ! -e request.eml ] || set -- "$@" -a request.eml
file=text
[ ! -e html ] || { file=html; set -- "$@" -o message-content-type=html; }
exec sendemail -q -f alice@mx.example.net -t netsysrq@example.net -s 127.0.0.1 -o tls=no -u "$(cat subject)" "$@" <$file
