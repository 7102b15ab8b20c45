#!/bin/bash
# Installs packages into a layer; run by layers.sh in namespaces of its own.
#
#   install.sh LAYER BELOW PACKAGES...     BELOW: layers, topmost first, separated by colons
set -euo pipefail
layer=$1 below=$2
shift 2
root=$(mktemp -d)
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
for directory in usr etc var; do
  mkdir -p "$root/$directory" "$layer/$directory" "$layer/work/$directory"
  lower=${below:+${below//://$directory:}/$directory:}/$directory
  mount -t overlay overlay "$root/$directory" -o \
    "lowerdir=$lower,upperdir=$layer/$directory,workdir=$layer/work/$directory"
done
for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done
mkdir -p "$root"/{proc,dev,tmp,run,root,home}
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
# no package starts a daemon
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$root" "$@"; }
inside apt-get -q -y -o APT::Sandbox::User=root install --no-install-recommends "$@"
inside apt-get clean
# a person with a mailbox, and the owner of an address of our own
for user in alice netsysrq; do
  inside id "$user" >/dev/null 2>&1 || inside useradd --user-group --shell /bin/sh "$user"
done
