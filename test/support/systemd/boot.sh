#!/bin/bash
# systemd as PID 1 in namespaces of its own, over this machine's files: what it writes goes into memory and ends with it; no port, no
# process and no mount of it is seen outside. Usage: boot.sh WORK PROJECT BACKUP; it runs until it is killed.
set -e
# A tree of control groups of its own, of version 2 as on hosts with systemd, without the controllers that version 1 may have.
root=/sys/fs/cgroup; [ -d $root/unified ] && root=$root/unified
mkdir "$root/hft-systemd-$$"
trap 'for i in 1 2 3 4 5 6 7 8 9 10; do find "$root/hft-systemd-$$" -depth -type d -delete 2>/dev/null && break; sleep 0.1; done' EXIT
trap 'kill -KILL $child 2>/dev/null; wait $child' TERM INT
(
  echo "$BASHPID" > "$root/hft-systemd-$$/cgroup.procs"
  exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child --propagation private bash -ec '
work=$1; project=$2; backup=$3
mkdir -p "$work/memory"; mount -t tmpfs tmpfs "$work/memory"; cd "$work/memory"; mkdir up over new
mount -t overlay overlay -o lowerdir=/,upperdir=up,workdir=over new; cd new
rm -rf etc/systemd/system var/lib/holdfast* usr/bin/holdfast etc/holdfast var/log/journal
mkdir -p etc/systemd/system backup usr/lib/holdfast var/lib etc/holdfast
mount --bind "$project" usr/lib/holdfast; mount -o remount,ro,bind usr/lib/holdfast
mount --bind "$backup" backup
ln -s ../lib/holdfast/dist/holdfast.js usr/bin/holdfast
# Whatever Node runs this test.
[ -e usr/bin/node ] || ln -s "$4" usr/bin/node
: > etc/fstab; rm -f etc/machine-id; echo 0123456789abcdef0123456789abcdef > etc/machine-id
printf "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n" > etc/systemd/system/units-test.target
mount -t proc proc proc; mount --bind proc/sys proc/sys; mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys; mount -t cgroup2 cgroup2 sys/fs/cgroup
for each in run tmp; do mount -t tmpfs tmpfs $each; done
mount -t tmpfs -o mode=755 tmpfs dev; mkdir dev/pts dev/shm dev/net
for each in null zero full random urandom tty fuse kvm net/tun; do [ -c /dev/$each ] && { : > dev/$each; mount --bind /dev/$each dev/$each; }; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
for each in stdin:0 stdout:1 stderr:2; do ln -s /proc/self/fd/${each#*:} dev/${each%:*}; done
mkdir old; pivot_root . old; umount -l /old; rmdir /old
# What it could change of the machine itself, it has no right to.
exec setpriv --bounding-set=-sys_module,-sys_time,-sys_boot,-sys_rawio,-syslog,-mac_admin,-mac_override \
  env -i container=holdfast-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=units-test.target --log-target=journal --show-status=0 < /dev/null
' boot "$@"
) &
child=$!
wait $child
