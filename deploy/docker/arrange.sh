#!/bin/sh
# Runs in the build stage. Lays out in /out what each image has of the code: its own service, and what all share.
set -eu

python3 -m compileall -q --invalidation-mode unchecked-hash contracts shared services deploy

lay_out() {
    image=$1
    shift
    mkdir -p "/out/$image/services" "/out/$image/deploy/docker"
    cp -a contracts shared "/out/$image/"
    cp -a services/__init__.py "/out/$image/services/"
    cp -a deploy/docker/probe.py "/out/$image/deploy/docker/"
    for service in "$@"; do
        cp -a "services/$service" "/out/$image/services/"
    done
}

for service in gateway parser embedder retriever agent persistence; do
    lay_out "$service" "$service"
done
lay_out provision cli persistence
cp -a deploy/docker/make_secrets.py /out/provision/deploy/docker/
lay_out all-in-one gateway parser embedder retriever agent persistence cli
cp -a deploy/docker/first_start.py /out/all-in-one/deploy/docker/
chmod -R u=rwX,go=rX /out
