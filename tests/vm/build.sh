#!/bin/bash
# build.sh OUT: a Debian node for QEMU from Debian's packages: OUT/vmlinuz, OUT/initrd and OUT/root.img. Made once, and again when
# this file or packages.txt has changed. Needs root. Nothing is installed on this machine; the packages come from where its
# apt gets them.
set -euo pipefail
# What it mounts is nobody else's to see.
[ "${VM_MOUNTS:-}" = own ] || VM_MOUNTS=own exec unshare --mount --propagation private -- bash "$0" "$@"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"; out=$(cd "$1" && pwd)
exec 9>"$out/lock"; flock 9
stamp=$(cat "$here/build.sh" "$here/packages.txt" "$here/container.cil" | sha256sum)
[ "$(cat "$out/stamp" 2>/dev/null)" != "$stamp" ] || exit 0
rm -f "$out/stamp"
suite=$(. /etc/os-release; echo "$VERSION_CODENAME")
# In memory where there is room: it is a few ten thousand small files.
base=$out; [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)" -lt 4000000 ] 2>/dev/null || base=/dev/shm
tmp=$(mktemp -d "$base/crio-vm.XXXXXX"); root=$tmp/root
trap 'rm -rf --one-file-system "$tmp"' EXIT
chmod 755 "$tmp"; mkdir "$tmp/kernel" "$tmp/tmp" "$tmp/initrd"

# Unpacked and not installed: the kernel, criu (whose package wants a python that the node has no use for) and the policy (which would
# be compiled whole when it is installed).
kernel=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ {print $2; exit}')
unpacked=(criu selinux-policy-default)
( cd "$tmp/kernel"; apt-get -q download "$kernel" "${unpacked[@]}" >"$tmp/download" 2>&1 || { cat "$tmp/download" >&2; exit 1; }; dpkg -x "$kernel"_*.deb . )
version=${kernel#linux-image-}

# The tree.
list=$(sed 's/#.*//' "$here/packages.txt" | xargs | tr ' ' ,) sources=()
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do [ ! -s "$f" ] || sources+=("$f"); done
TMPDIR=$tmp/tmp mmdebstrap --quiet --variant=minbase --include="$list" --aptopt='Acquire::Languages "none"' \
	--dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$root" "${sources[@]}"
for p in "${unpacked[@]}"; do
	dpkg-deb --fsys-tarfile "$tmp/kernel/$p"_*.deb | tar -xp -C "$root" --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*'
done

# Modules: what a node loads, without the drivers of real machines.
from=$tmp/kernel/lib/modules/$version to=$root/lib/modules/$version
mkdir -p "$to/kernel/drivers/net"
cp "$from"/modules.{builtin,builtin.modinfo,order} "$to"
for d in arch/x86/crypto crypto lib net/{9p,bridge,core,ipv4,ipv6,llc,802,netfilter,netlink,packet,sched,unix,xfrm} fs/{9p,ext4,jbd2,overlayfs,fscache,netfs,fuse} \
	fs/mbcache.ko drivers/{virtio,block} drivers/net/{veth,virtio_net,tun,dummy,net_failover,macvlan}.ko drivers/char/hw_random; do
	[ -e "$from/kernel/$d" ] || continue
	mkdir -p "$to/kernel/$(dirname "$d")"; cp -a "$from/kernel/$d" "$to/kernel/$d"
done
chroot "$root" depmod -a "$version" 2>/dev/null

# Its configuration: boots to node.target, whose only service runs what the shared directory holds.
etc=$root/etc unit=$root/etc/systemd/system
echo node1 >"$etc/hostname"; echo '127.0.0.1 localhost node1' >"$etc/hosts"; echo '/dev/vda / ext4 defaults,noatime 0 0' >"$etc/fstab"
echo 0123456789abcdef0123456789abcdef >"$etc/machine-id"
printf '%s\n' overlay br_netfilter veth >"$etc/modules-load.d/node.conf"
printf 'net.ipv4.ip_forward=1\nnet.bridge.bridge-nf-call-iptables=1\n' >"$etc/sysctl.d/50-node.conf"
mkdir -p "$unit.conf.d" "$root/share"
printf '[Manager]\nDefaultTimeoutStartSec=300\nDefaultTimeoutStopSec=60\nShowStatus=no\n' >"$etc/systemd/system.conf.d/slow.conf"
for u in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
	systemd-timesyncd.service systemd-update-utmp.service getty@tty1.service serial-getty@ttyS0.service ldconfig.service \
	docker-registry.service systemd-journal-flush.service systemd-logind.service systemd-update-utmp-runlevel.service \
	modprobe@{dm_mod,drm,efi_pstore,loop}.service dev-hugepages.mount sys-kernel-tracing.mount; do ln -sf /dev/null "$unit/$u"; done
rm -f "$etc"/apparmor.d/{lsb_release,nvidia_modprobe} # nobody's here, and five seconds to compile
cat >"$root/usr/local/sbin/vm-run" <<'G'
#!/bin/sh
# Runs /share/run, with its output in /share/log and its status in /share/status, and switches the machine off.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=none share /share || echo 'vm-run: no share'
cd /share && { sh -c 'exec ./run' </dev/null >log 2>&1; echo $? >status; cd /; umount /share; }
systemctl poweroff --force --force
G
chmod 755 "$root/usr/local/sbin/vm-run"
cat >"$unit/vm-run.service" <<'G'
[Unit]
After=multi-user.target
[Service]
Environment=HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/local/sbin/vm-run
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS0
LimitNOFILE=1048576
G
cat >"$unit/node.target" <<'G'
[Unit]
Requires=multi-user.target
Wants=vm-run.service
After=multi-user.target
AllowIsolate=yes
G
ln -sf /etc/systemd/system/node.target "$unit/default.target"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*

# For a boot with SELinux: the policy, and the labels of files, which the image keeps. Of the policy's 331 modules, which take 17 s to
# compile, the two that a node without services needs; with the types that the policy lacks.
cp "$here/container.cil" "$root/root/"
p=/usr/share/selinux/default
unshare -m sh -c 'mount -t proc proc "$1/proc" && chroot "$1" semodule -n -s default -X 100 -i "$2/base.pp.bz2" -i "$2/unconfined.pp.bz2" -i /root/container.cil &&
	chroot "$1" setfiles -F /etc/selinux/default/contexts/files/file_contexts /' - "$root" $p >"$tmp/selinux" 2>&1 || { cat "$tmp/selinux" >&2; exit 1; }

# The first root: a static busybox and the modules that the disk needs.
i=$tmp/initrd; mkdir -p "$i"/{bin,proc,sys,dev,root,m}; cp "$root/bin/busybox" "$i/bin/"
for m in virtio_pci virtio_blk ext4; do chroot "$root" modprobe -S "$version" --show-depends $m; done |
	awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r f; do cp "$root/$f" "$i/m/"; basename "$f" >>"$i/m/order"; done
cat >"$i/init" <<'G'
#!/bin/busybox sh
b=/bin/busybox; $b mount -t devtmpfs d /dev; $b mount -t proc p /proc; $b mount -t sysfs s /sys
while read f; do $b insmod /m/$f 2>/dev/null; done </m/order
n=0; while [ ! -b /dev/vda ] && [ $n -lt 400 ]; do $b usleep 50000; n=$((n+1)); done
$b mount -t ext4 -o rw,noatime /dev/vda /root || { echo "no root"; $b poweroff -f; }
$b umount /proc; $b umount /sys; $b mount -o move /dev /root/dev
exec $b switch_root /root /sbin/init "$@"
G
chmod 755 "$i/init"; ( cd "$i"; find . | cpio --quiet -o -H newc | gzip -1 ) >"$out/initrd"
cp "$tmp/kernel/boot/vmlinuz-$version" "$out/vmlinuz"
rm -f "$out/root.img"
mke2fs -q -t ext4 -L root -O ^has_journal -E lazy_itable_init=1,discard -d "$root" "$out/root.img" 3G
echo "$stamp" >"$out/stamp"
