#!/bin/sh
# mpack, which sends a file; what is not attached goes into the description
set -eu
file=request.txt
[ -e $file ] || { file=note.txt; echo hello >note.txt; }
exec mpack -s "$(cat subject)" -d text "$file" netsysrq@example.net
