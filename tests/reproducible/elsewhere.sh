#!/bin/sh
# Be another machine, as far as one can be: a folder, a host name, an umask, an order of files and an engine of its own.
# Run by `unshare --mount --uts`, so that the mounts and the name go with the last process of the engine.
#
#   elsewhere.sh REPOSITORY PLACE HOSTNAME UMASK PYTHON SAVED CACHES STAGE=IMAGE=TAG...
#
# REPOSITORY: what is built is its last commit. PLACE: where the checkout comes to stand; it is gone afterwards, and so
# is all that its engine had. SAVED: the folder in which each image is saved as TAG.tar, `/` and `:` as `_`.
# CACHES: the folders of REPOSITORY/.build that the other machine takes over, in one word; all else is made again there.
set -eu
repository=$1 place=$2 name=$3 mask=$4 python=$5 saved=$6 caches=$7
shift 7
hostname "$name"
umask "$mask"
git clone --quiet "$repository" "$place"
cd "$place"
mkdir .build
for cache in $caches; do
    if [ -d "$repository/.build/$cache" ]; then
        cp -a "$repository/.build/$cache" .build/
    fi
done
# A tmpfs lists files in the reverse order of their making, other file systems by a hash of their names.
for folder in containers constraints requirements; do
    mv "$folder" "$folder~"
    mkdir "$folder"
    mount -t tmpfs -o mode=755 tmpfs "$folder"
    (cd "$folder~" && find . ! -type d -print0 | shuf -z | xargs -0 cp --preserve=mode --no-dereference --parents -t "../$folder")
    rm -r "$folder~"
done
[ -z "$(git status --porcelain)" ]
invoke() {
    "$python" -m invoke "$@"
}
trap 'invoke engine.down --purge' EXIT
invoke engine.up
eval "$(invoke engine.environment)"
for each in "$@"; do
    rest=${each#*=} stage=${each%%=*}
    image=${rest%%=*} tag=${rest#*=}
    case $stage in
    base) set -- build.base ;;
    *) set -- "build.$stage" --image "$image" ;;
    esac
    # An image that is over its budget (exit code 1) is there, and may be so for what is looked for here.
    invoke "$@" || [ $? -eq 1 ]
    docker save --output "$saved/$(echo "$tag" | tr /: __).tar" "$tag"
done
