#!/bin/bash
# run.sh IMAGE SHARE: boots the node that build.sh made in IMAGE, runs SHARE/run in it as root and ends with its status, or with 125
# where the node wrote none (it panicked, or TIMEOUT seconds were over). The output is in SHARE/log, the console in SHARE/console.
# What the node writes to its disk is thrown away. Emulated (TCG) on one core: exec is some 20 times slower than here, plain loops 10
# times, so an image boots in 15 to 25 seconds. Two choices make that out of 80 times: TCG keeps what it translated by virtual address,
# so nothing may lie elsewhere each time (norandmaps); and its string instructions go byte by byte (erms), its copies to and from
# user space end a block (smap).
set -u
image=$(cd "$1" && pwd) share=$(cd "$2" && pwd)
rm -f "$share"/{status,log,console}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/crio-vm.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
TMPDIR=$tmp nice -n "${NICE:-0}" timeout -k 5 "${TIMEOUT:-600}" qemu-system-x86_64 -M pc,usb=off -accel tcg,tb-size=512 -cpu max,la57=off,erms=off,smap=off,umip=off,pku=off \
	-smp 1 -m "${MEMORY:-2048}" -nodefaults -no-user-config -display none -serial "file:$share/console" -no-reboot -rtc base=utc \
	-kernel "$image/vmlinuz" -initrd "$image/initrd" \
	-append "console=ttyS0 root=/dev/vda mitigations=off nopti nokaslr norandmaps random.trust_cpu=on clocksource=acpi_pm quiet loglevel=3 panic=-1 audit=0 psi=1 apparmor=1 security=apparmor systemd.unified_cgroup_hierarchy=1 ${APPEND:-}" \
	-drive "file=$image/root.img,if=none,id=d,format=raw,cache=unsafe,aio=threads,discard=unmap,snapshot=on" -device virtio-blk-pci,drive=d \
	-device virtio-rng-pci -fsdev "local,id=s,path=$share,security_model=none,multidevs=remap" -device virtio-9p-pci,fsdev=s,mount_tag=share \
	-nic none </dev/null
q=$?
[ -s "$share/status" ] || { echo "run.sh: no status from the node (qemu ended with $q)" >&2; tail -5 "$share/console" >&2; exit 125; }
exit "$(cat "$share/status")"
