#!/bin/sh
# An editor: writes the text above what is in the file.
cat text "$1" >edited
cat edited >"$1"
