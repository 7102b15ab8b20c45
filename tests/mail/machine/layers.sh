#!/bin/bash
# Builds the layers of the machines that tests/mail runs: Debian's own packages, installed by apt, each mail transfer
# agent in a layer of its own, since no two of them can be installed together.
#
#   layers.sh DIRECTORY
#
# A layer is what an installation changes below /usr, /etc and /var of this system, whose own files stay as they are.
# Needs root, overlayfs and Debian's archive. Layers that these scripts have made are left alone.
set -euo pipefail
layers=$1
here=$(dirname "$(readlink -f "$0")")

common="iproute2 openssl procps procmail maildrop fdm fetchmail getmail6 msmtp swaks sudo
  dovecot-core dovecot-sieve dovecot-lmtpd dovecot-imapd"
# what people and programs write mails with; swaks and Python are there
clients="mutt neomutt s-nail alpine bsd-mailx mailutils nmh sendemail mpack aerc emacs-nox
  libmime-lite-perl libemail-stuffer-perl libphp-phpmailer php-cli nodejs node-nodemailer ruby-mail"

update() { apt-get -q -o DPkg::Lock::Timeout=300 update; }

layer() { # NAME BELOW PACKAGES...: BELOW is the layers under it, topmost first, separated by colons, or nothing
  local name=$1 below=$2 pause
  shift 2
  local making=$layers/.making-$name
  # a network that fails at times gets three tries, the second and third with new lists
  for pause in 10 60 ''; do
    rm -rf "$making"
    mkdir -p "$making"
    # a mount namespace of its own: what is mounted goes with it, however this ends
    ! unshare --mount --pid --ipc --uts --fork --kill-child \
      bash "$here/install.sh" "$making" "$below" "$@" >"$making.log" 2>&1 || break
    tail -n 40 "$making.log" >&2
    [ -n "$pause" ] || return 1
    sleep "$pause"
    update || true
  done
  rm -rf "$making/work"
  mv "$making" "$layers/$name"
}

scripts=$(cat "$here/layers.sh" "$here/install.sh" | sha256sum)
[ "$(cat "$layers/.made-by" 2>/dev/null)" != "$scripts" ] || exit 0
rm -rf "$layers"
mkdir -p "$layers"
update || { sleep 20; update; }
# shellcheck disable=SC2086 # words
layer common "" $common
layer postfix "$layers/common" postfix
layer exim "$layers/common" exim4-daemon-light
layer opensmtpd "$layers/common" opensmtpd
# shellcheck disable=SC2086 # words
layer clients "$layers/postfix:$layers/common" $clients
layer webmail "$layers/postfix:$layers/common" roundcube-core roundcube-sqlite3 php-cli chromium chromium-driver python3-selenium
echo "$scripts" >"$layers/.made-by"
