#!/bin/bash
# What packages weigh in hoist's image and how fast they are imported there, beside an environment of `python -m venv` and pip (bytecode freshly
# compiled) in an image of Debian: examples/bell (qiskit) and examples/web (Flask). Both images run in hoist's sandbox with Debian's Python 3.13, so
# that what is installed is the only difference. Prints the tables of bench/README.md.
# As root. Needs jq, mmdebstrap, docker.io and the machine's own package indexes. Starts its own docker daemon in its own folder and ends it;
# leaves nothing behind.
# Usage: [VARIABLES] bench/packages.sh [RUNS]
#   RUNS         of each import, 15 if not given
#   HOIST        the binary to be measured; otherwise cargo builds one
#   BENCH_DIR    folder to work in, /tmp if not given; needs 4 GB
#   BENCH_TREES  folder that has base.tar of an earlier run, or gets it
#   BENCH_STORE  a store of hoist with its base and caches; it is copied
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
read_runs "${1:-}" 15
need jq jq; need mmdebstrap mmdebstrap; need docker docker.io; need dockerd docker.io
find_hoist
start_folder

say "the Debian tree, and docker with it"
docker_base
docker tag hoist-bench-base hoist-bench-warm
[ -z "${BENCH_STORE:-}" ] || cp -a "$BENCH_STORE" "$HOIST_STORE"

# once IMAGE PROGRAM MODULE: seconds of one import, as the process itself measures it.
once() {
    "$hoist" --quiet run --network none --entrypoint "$2" "$1" -- ${4:+"$4"} -c "
import time
start = time.perf_counter()
import $3
print(time.perf_counter() - start)"
}
median() { sort -g | awk '{ at[NR] = $1 } END { printf "%.3f", NR % 2 ? at[(NR + 1) / 2] : (at[NR / 2] + at[NR / 2 + 1]) / 2 }'; }

printf 'Load before the measuring: %s\n\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
printf '| | packages, hoist | venv with pip | image, hoist | image, docker | import, hoist | import, venv |\n|---|---|---|---|---|---|---|\n'
for app in bell web; do
    say "$app"
    module=$([ "$app" = bell ] && echo qiskit || echo flask)
    cp -r "examples/$app" "$dir/$app"
    $dock -t "$app-venv" -f bench/dockerfiles/app.Dockerfile "$dir/$app" >> "$dir/log" 2>&1 || fail "docker build of $app failed: $(tail -3 "$dir/log")"
    docker save "$app-venv" -o "$dir/$app.tar"
    "$hoist" --quiet image load --input "$dir/$app.tar" > /dev/null
    "$hoist" --quiet build "$app" --path "$dir/$app" > /dev/null
    rm -f "$dir/$app-ours" "$dir/$app-theirs"
    for _ in $(seq "$((runs + 1))"); do
        once "$app" launcher "$module" python >> "$dir/$app-ours"
        once "$app-venv" /env/bin/python "$module" >> "$dir/$app-theirs"
    done
    # The first of each fills the page cache.
    ours=$(tail -n +2 "$dir/$app-ours" | median) theirs=$(tail -n +2 "$dir/$app-theirs" | median)
    "$hoist" image inspect --json "$app" > "$dir/$app.json"
    megabytes() { jq -r "$1 | . / 1e5 | round / 10" "$2"; }
    packages=$(megabytes '[.layers[] | select(.created_by | test("hoist/(pip|uv|poetry|pdm|pipenv|pylock)")) | .size_bytes] | add' "$dir/$app.json")
    docker history --no-trunc --human=false --format '{{.Size}} {{.CreatedBy}}' "$app-venv" > "$dir/$app-history"
    venv=$(awk '/venv \/env/ { printf "%.1f", $1 / 1e6 }' "$dir/$app-history")
    whole=$(awk '{ sum += $1 } END { printf "%.1f", sum / 1e6 }' "$dir/$app-history")
    printf '| %s | %s MB | %s MB, %s × | %s MB | %s MB, %s × | %s s | %s s, %s × |\n' "$app ($module)" \
        "$packages" "$venv" "$(jq -n --argjson a "$venv" --argjson b "$packages" '$a / $b * 100 | round / 100')" \
        "$(megabytes .size_bytes "$dir/$app.json")" "$whole" "$(jq -n --argjson a "$whole" --argjson b "$(megabytes .size_bytes "$dir/$app.json")" '$a / $b * 100 | round / 100')" \
        "$ours" "$theirs" "$(jq -n --argjson a "$theirs" --argjson b "$ours" '$a / $b * 100 | round / 100')"
done
printf '\nLoad after the measuring: %s; %s s in all\n' "$(cut -d' ' -f1-3 /proc/loadavg)" "$SECONDS"
