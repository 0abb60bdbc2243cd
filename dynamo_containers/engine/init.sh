#!/bin/sh
# The processes of a private engine, from the outside in. Each stage replaces itself by the next one, so that there is
# one line of processes: unshare (in the host's namespaces, recorded) > tini (process 1 of its own process namespace)
# > dockerd. When any of the three ends, the kernel ends everything that was started below it.
#
#   init.sh record RUN PRIVATE LIBRARIES     RUN: sockets and ids; PRIVATE: .engine; LIBRARIES: e.g. x86_64-linux-gnu
set -eu
stage=$1 run=$2 private=$3 libraries=$4
root=$private/root

case $stage in
record)
    # Field 22 of proc_pid_stat(5) is the start time: with it a process id that was given to another is recognised.
    # shellcheck disable=SC2046
    set -- $(cat "/proc/$$/stat")
    echo "$$ ${22}" >"$run/process.partial"
    mv "$run/process.partial" "$run/process"
    PATH=$root/usr/bin:$root/usr/sbin:$PATH:/usr/sbin:/sbin
    LD_LIBRARY_PATH=$root/usr/lib/$libraries:$root/lib/$libraries
    export PATH LD_LIBRARY_PATH
    # slave: what the host mounts later is seen in here; what is mounted in here is never seen by the host.
    exec unshare --mount --propagation slave --pid --fork --kill-child --mount-proc -- \
        tini -- sh "$0" network "$run" "$private" "$libraries"
    ;;
network)
    # A network namespace of its own, joined to the host's network by slirp4netns in user space. slirp4netns keeps the
    # host's resolv.conf: it answers name queries at 10.0.2.3 by asking the servers that stand there.
    : >"$run/net"
    unshare --net="$run/net" true
    mkfifo "$run/ready"
    slirp4netns --configure --mtu=65520 --disable-host-loopback --netns-type=path --ready-fd=3 "$run/net" tap0 \
        3>"$run/ready" &
    [ "$(head -c 1 "$run/ready")" = 1 ]
    exec nsenter --net="$run/net" unshare --mount --propagation slave -- \
        sh "$0" daemon "$run" "$private" "$libraries"
    ;;
daemon)
    # A private /run: shims, plugins and the lock of iptables have fixed places there. Only RUN is the host's.
    resolv=$(readlink -f /etc/resolv.conf)
    mkdir "$run/run"
    mount --no-mtab -t tmpfs -o mode=755,nosuid,nodev run "$run/run"
    mkdir -p "$run/run/${run#/run/}"
    mount --no-mtab --bind "$run" "$run/run/${run#/run/}"
    mount --no-mtab --move "$run/run" /run
    if [ ! -e "$resolv" ]; then # it stood below /run
        mkdir -p "${resolv%/*}"
        : >"$resolv"
    fi
    mount --no-mtab --bind "$run/resolv.conf" "$resolv"
    # The programs under a short path: iptables cannot find its extensions under one of more than 256 bytes.
    mkdir /run/engine
    mount --no-mtab --bind "$root" /run/engine
    PATH=/run/engine/usr/bin:/run/engine/usr/sbin:$PATH
    if [ -d "/run/engine/usr/lib/$libraries/xtables" ]; then # else the host's own iptables is used
        export XTABLES_LIBDIR="/run/engine/usr/lib/$libraries/xtables"
    fi
    if ! iptables -t nat -L -n >/dev/null 2>&1; then
        PATH=/run/engine/legacy:$PATH # a kernel without nftables
    fi
    exec dockerd --config-file "$private/daemon.json"
    ;;
esac
