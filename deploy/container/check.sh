#!/bin/bash
# Build the image and try it where no Docker engine is: as root, with buildah and debootstrap.
#
#   deploy/container/check.sh build    the base from Debian's packages, then every step of Dockerfile
#   deploy/container/check.sh run "heygem health"
#                                      a command in it: read-only root, user 10001, empty volumes
#
# BUILD_OPTIONS is passed on to buildah, such as --volume=/etc/pip.conf:/etc/pip.conf:ro.
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd)
work=${WORK:-/var/tmp/heygem-container}
mkdir -p "$work"
store=(buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs)

build() {
    [ -d "$work/base/etc" ] || debootstrap --variant=minbase bookworm "$work/base"
    container=$("${store[@]}" from scratch)
    "${store[@]}" add --quiet "$container" "$work/base" /
    "${store[@]}" commit --quiet "$container" localhost/heygem-base
    "${store[@]}" rm "$container" >/dev/null
    # shellcheck disable=SC2086
    "${store[@]}" bud --isolation chroot --format docker --tag heygem:check \
        --build-arg BASE=localhost/heygem-base --build-arg TORCH_INDEX="${TORCH_INDEX-}" \
        ${BUILD_OPTIONS:-} "$project"
}

run() {
    container=$("${store[@]}" from heygem:check)
    MOUNTED=$("${store[@]}" mount "$container")
    export MOUNTED
    trap '"${store[@]}" rm "$container" >/dev/null' EXIT
    mkdir -p "$work/root" "$work"/volumes/{data,cache,records}
    chown 10001:10001 "$work"/volumes/*
    chmod 0700 "$work"/volumes/*
    # A mount namespace of its own: nothing of this stays mounted.
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -euc '
        root=$1 work=$2; shift 2
        mount --bind "$MOUNTED" "$root"
        mount --bind "$work/volumes/data" "$root/data"
        mount --bind "$work/volumes/cache" "$root/var/cache/heygem"
        mount --bind "$work/volumes/records" "$root/var/lib/heygem"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -o remount,bind,ro "$root"
        exec chroot --userspec=10001:10001 "$root" /usr/bin/env -i HOME=/data LANG=C.UTF-8 \
            PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
            HEYGEM_HOME=/var/cache/heygem HEYGEM_RECORDS=/var/lib/heygem \
            HEYGEM_QUEUE=/data/runs/queue.db HF_HUB_OFFLINE=1 MLFLOW_DISABLE_TELEMETRY=true \
            MPLCONFIGDIR=/var/cache/heygem/matplotlib NUMBA_CACHE_DIR=/var/cache/heygem/numba \
            PYTHONDONTWRITEBYTECODE=1 \
            /usr/bin/tini -s -- /opt/heygem/deploy/container/entrypoint.sh sh -c "cd /data; $*"
    ' check "$work/root" "$work" "$@"
}

case "${1:-}" in
    build) build ;;
    run) shift; run "$@" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
