#!/bin/bash
# Images to and from a registry: hoist beside docker, podman, buildah and skopeo, with the same image of some 600 MB and the same registry, which is
# Debian's docker-registry on this machine. A first push, a push after one line of the app changed, a pull, a rebase in the registry; bytes on the wire (the
# loopback device's own count), the most memory that hoist takes, and what a second app with the same wheels sends.
# As root. Needs hyperfine, jq, time, docker-registry, docker.io, podman, buildah, skopeo and the machine's own package indexes. Starts its own registries and
# its own docker daemon in its own folder and ends them; leaves nothing behind.
# Usage: [VARIABLES] bench/registries.sh [RUNS]
#   RUNS          of each command, 5 if not given (of the slow ones 3 at the most)
#   HOIST         the binary to be measured; otherwise cargo builds one
#   BENCH_DIR     folder to work in, /tmp if not given; needs 12 GB
#   BENCH_STORE   a store of hoist with its base and caches; it is copied
#   BENCH_POINTS  which of first, changed, pull, rebase and memory are measured; all if not given
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
read_runs "${1:-}" 5
slow=$((runs < 3 ? runs : 3))
for tool in hyperfine jq docker-registry docker dockerd podman buildah skopeo; do need "$tool" "$tool (docker and dockerd: docker.io)"; done
[ -x /usr/bin/time ] || fail "/usr/bin/time is missing (Debian package time)"
find_hoist
start_folder
points=${BENCH_POINTS:-first changed pull rebase memory}
wanted() { case " $points " in *" $1 "*) ;; *) return 1 ;; esac; }
port=$((20000 + RANDOM % 10000))
at=127.0.0.1:$port

# An empty registry at the same address; hyperfine's preparations call it through the file that is written below.
cat > "$dir/registry.sh" <<SH
#!/bin/bash
[ -s "$dir/registry.pid" ] && kill "\$(cat "$dir/registry.pid")" 2> /dev/null && while kill -0 "\$(cat "$dir/registry.pid")" 2> /dev/null; do sleep 0.05; done
[ "\${1:-}" = keep ] || rm -rf "$dir/registry"
mkdir -p "$dir/registry"
cat > "$dir/registry.yml" <<YML
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $dir/registry }, delete: { enabled: true } }
http: { addr: $at }
YML
setsid docker-registry serve "$dir/registry.yml" > "$dir/registry.log" 2>&1 &
echo \$! > "$dir/registry.pid"
for _ in \$(seq 100); do (exec 3<> /dev/tcp/127.0.0.1/$port) 2> /dev/null && exit 0; sleep 0.05; done
echo "the registry did not start" >&2; exit 1
SH
chmod +x "$dir/registry.sh"
also_clean() { [ ! -s "$dir/registry.pid" ] || kill "$(cat "$dir/registry.pid")" 2> /dev/null; }
wire() { awk '$1 == "lo:" { print $2 }' /proc/net/dev; }

say "an app of some 600 MB, and a second one with most of its wheels"
[ -z "${BENCH_STORE:-}" ] || cp -a "$BENCH_STORE" "$HOIST_STORE"
for app in big second; do
    mkdir "$dir/$app"
    printf 'print("one")\n' > "$dir/$app/main.py"
    printf 'web: python main.py\n' > "$dir/$app/Procfile"
    printf '%s\n' qiskit qiskit-aer pandas scikit-learn matplotlib pyarrow > "$dir/$app/requirements.txt"
done
echo tabulate >> "$dir/second/requirements.txt"
for app in big second; do "$hoist" --quiet build "$app" --path "$dir/$app" > /dev/null; done
"$hoist" --json image inspect big | jq -r '"The image: \(.size_bytes / 1000000 | round) MB in \(.layers | length) layers."'

export CONTAINERS_STORAGE_CONF=$dir/storage.conf
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/podman"\nrunroot = "%s/podman-run"\n' "$dir" "$dir" > "$CONTAINERS_STORAGE_CONF"
if wanted first || wanted changed || wanted pull; then
say "the same image in docker, podman and buildah, and in a folder for skopeo"
start_docker
give() {
    "$hoist" --quiet image push big docker
    rm -rf "$dir/layout" && "$hoist" --quiet image push big "oci-dir:$dir/layout" --compression none
    docker tag big "$at/docker/big"
}
give
skopeo copy --quiet "oci:$dir/layout" "containers-storage:$at/podman/big"
fi
"$dir/registry.sh"

empty="$dir/registry.sh"
printf 'Load before the measuring: %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
if wanted first; then
say "a first push"
measure first --warmup 0 --runs "$slow" \
    --prepare "$empty && $hoist --quiet system prune --blobs" -n "hoist image push" "$hoist --quiet image push big $at/hoist/big" \
    --prepare "$empty" -n "docker push" "docker push --quiet $at/docker/big" \
    --prepare "$empty" -n "podman push" "podman push --quiet --tls-verify=false $at/podman/big" \
    --prepare "$empty" -n "buildah push" "buildah push --quiet --tls-verify=false $at/podman/big" \
    --prepare "$empty" -n "skopeo copy" "skopeo copy --quiet --dest-tls-verify=false oci:$dir/layout docker://$at/skopeo/big"
point "A first push" "a third of docker push's time" "$dir/first.json"
fi

"$dir/registry.sh"
"$hoist" --quiet image push big "$at/hoist/big"
if wanted changed; then
say "a push after one line changed"
docker push --quiet "$at/docker/big" > /dev/null
podman push --quiet --tls-verify=false "$at/podman/big"; skopeo copy --quiet --dest-tls-verify=false "oci:$dir/layout" "docker://$at/skopeo/big"
cat > "$dir/change.sh" <<SH
#!/bin/bash
set -e
echo "# \$(date +%N)" >> "$dir/big/main.py"
"$hoist" --quiet build big --path "$dir/big" > /dev/null
case \$1 in
    docker) "$hoist" --quiet image push big docker; docker tag big "$at/docker/big" ;;
    podman) rm -rf "$dir/layout"; "$hoist" --quiet image push big "oci-dir:$dir/layout" --compression none; skopeo copy --quiet "oci:$dir/layout" "containers-storage:$at/podman/big" ;;
    skopeo) rm -rf "$dir/layout"; "$hoist" --quiet image push big "oci-dir:$dir/layout" --compression none ;;
esac
SH
chmod +x "$dir/change.sh"
measure changed --warmup 0 --runs "$slow" \
    --prepare "$dir/change.sh hoist" -n "hoist image push" "$hoist --quiet image push big $at/hoist/big" \
    --prepare "$dir/change.sh docker" -n "docker push" "docker push --quiet $at/docker/big" \
    --prepare "$dir/change.sh podman" -n "podman push" "podman push --quiet --tls-verify=false $at/podman/big" \
    --prepare "$dir/change.sh podman" -n "buildah push" "buildah push --quiet --tls-verify=false $at/podman/big" \
    --prepare "$dir/change.sh skopeo" -n "skopeo copy" "skopeo copy --quiet --dest-tls-verify=false oci:$dir/layout docker://$at/skopeo/big"
point "A push after one line changed" "0.5 s" "$dir/changed.json"
"$dir/change.sh" hoist
before=$(wire); "$hoist" --quiet image push big "$at/hoist/big"; after=$(wire)
echo "On the wire after one line changed: $((after - before)) bytes."
before=$(wire); "$hoist" --quiet image push big "$at/hoist/big"; after=$(wire)
echo "On the wire with nothing changed: $((after - before)) bytes."
before=$(wire); "$hoist" --quiet image push second "$at/hoist/second"; after=$(wire)
echo "On the wire for a second app with the same wheels and one more: $((after - before)) bytes."
fi

pulls="$hoist --quiet --store $dir/pulled image pull $at/hoist/big"
if wanted pull; then
say "a pull"
measure pull --warmup 0 --runs "$slow" \
    --prepare "rm -rf $dir/pulled" -n "hoist image pull" "$pulls" \
    --prepare "docker image rm --force \$(docker image ls --quiet) > /dev/null 2>&1 || true" -n "docker pull" "docker pull --quiet $at/hoist/big" \
    --prepare "podman image rm --force --all > /dev/null 2>&1" -n "podman pull" "podman pull --quiet --tls-verify=false $at/hoist/big" \
    --prepare "podman image rm --force --all > /dev/null 2>&1" -n "skopeo copy (into podman's storage)" "skopeo copy --quiet --src-tls-verify=false docker://$at/hoist/big containers-storage:$at/skopeo/big" \
    --prepare "rm -rf $dir/copied" -n "skopeo copy (to a folder, nothing unpacked)" "skopeo copy --quiet --src-tls-verify=false docker://$at/hoist/big oci:$dir/copied"
point "A pull into nothing" "skopeo's time, where it unpacks as well" "$dir/pull.json"
fi

if wanted rebase; then
say "a rebase in the registry"
"$hoist" --quiet image push hoist/run "$at/hoist/run"
patched=$(buildah from --quiet --tls-verify=false "$at/hoist/run")
date > "$dir/patch"
buildah copy --quiet "$patched" "$dir/patch" /etc/patch > /dev/null
buildah commit --quiet --tls-verify=false "$patched" "docker://$at/hoist/patched" > /dev/null
buildah rm "$patched" > /dev/null
rebase="$hoist --quiet rebase $at/rebased/big --run-image $at/hoist/patched --force --publish"
measure rebase --warmup 1 --runs "$runs" --prepare "$hoist --quiet image tag --remote $at/hoist/big $at/rebased/big" -n "hoist rebase --publish" "$rebase"
point "A rebase of an image of the registry" "0.3 s" "$dir/rebase.json"
"$hoist" --quiet image tag --remote "$at/hoist/big" "$at/rebased/big"
before=$(wire); $rebase > /dev/null; after=$(wire)
echo "On the wire for a rebase: $((after - before)) bytes."
fi

wanted memory || exit 0
say "memory"
most() { /usr/bin/time -f '%M' -o "$dir/memory" "$@" > /dev/null && echo "$(($(cat "$dir/memory") / 1024)) MiB"; }
"$dir/registry.sh"; "$hoist" --quiet system prune --blobs > /dev/null
rm -rf "$dir/pulled"
echo "The most memory of hoist: first push $(most "$hoist" --quiet image push big "$at/hoist/big"), pull $(most $pulls), verify $(most "$hoist" --quiet image verify --remote "$at/hoist/big")."
