#!/usr/bin/env bash
# apart.sh COMMAND...: runs it with network, processes and /run of its own, so that labs there and here do not meet. Needs
# root. Ends with the command's exit code; nothing is left. There is no way out: the network has loopback alone.
set -eu
if [ "${1-}" != --inside ]; then
  exec unshare --mount --net --pid --ipc --uts --fork --kill-child --mount-proc "$0" --inside "$@"
fi
shift
mount --make-rprivate /
# Control groups stay reachable under a /sys that shows this network's devices.
mkdir -p /mnt/apart
mount -t tmpfs none /mnt/apart
mkdir /mnt/apart/cgroup
mount --rbind /sys/fs/cgroup /mnt/apart/cgroup
mount -t sysfs none /sys
mount --rbind /mnt/apart/cgroup /sys/fs/cgroup
mount -t tmpfs none /run
mkdir -p /run/lock /run/netns
ip link set lo up
# As process 1 of its own the shell must stay, or nobody would end what the command leaves running.
"$@" &
wait $!
