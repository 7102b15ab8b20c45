#!/bin/sh
# Emacs, message-mode: emacs.sh STYLE
exec emacs --batch --no-site-file --load "$(dirname "$0")/message.el" "$1" 2>said || { cat said; exit 1; }
