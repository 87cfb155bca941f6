#!/bin/bash
# The image in a docker daemon at the end: `hoist build --docker` beside `docker build` (classic) of an equal Dockerfile, on examples/bell and
# examples/web, with nothing changed and with one line changed. Prints a table for each, and what hoist sent.
# As root. Needs hyperfine, jq, mmdebstrap, docker.io and the machine's own package indexes. Starts its own docker daemon in its own folder and ends it;
# leaves nothing behind.
# Usage: [VARIABLES] bench/docker.sh [RUNS]
#   RUNS          of each command, 7 if not given
#   HOIST         the binary to be measured; otherwise cargo builds one
#   BENCH_DIR     folder to work in, /tmp if not given; needs 4 GB
#   BENCH_TREES   folder that has base.tar of an earlier bench/job.sh, or gets it
#   BENCH_STORE   a store of hoist with its base and caches; it is copied
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
read_runs "${1:-}" 7
need hyperfine hyperfine; need jq jq; need mmdebstrap mmdebstrap; need docker docker.io; need dockerd docker.io
find_hoist
start_folder

say "the Debian tree, and docker with it"
docker_base
docker tag hoist-bench-base hoist-bench-warm

[ -z "${BENCH_STORE:-}" ] || cp -a "$BENCH_STORE" "$HOIST_STORE"
sent() { jq -r --arg what "$1" '.outputs[0] | "hoist, \($what): \(.sent_bytes) bytes to docker, \(.sent_layers) layers sent, \(.layers_there) there before"'; }
for app in bell web; do
    say "first builds of $app"
    cp -r "examples/$app" "$dir/$app"
    $dock -t "$app-dockerfile" -f bench/dockerfiles/app.Dockerfile "$dir/$app" >> "$dir/log" 2>&1 || fail "docker build of $app failed: $(tail -3 "$dir/log")"
    "$hoist" --quiet --json build "$app" --path "$dir/$app" --docker | sent "$app for the first time"
done

printf 'Load before the measuring: %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
for app in bell web; do
    source=$dir/$app/$([ "$app" = bell ] && echo src/program.py || echo app.py)
    change="date '+# %N' >> $source"
    for what in unchanged changed; do
        say "$app, $what"
        # The file is another one each time; the change itself is no part of what is measured.
        prepare=$([ $what = changed ] && echo "$change" || echo true)
        measure "$what$app" --warmup 1 --runs "$runs" --prepare "$prepare" \
            -n "hoist build --docker" "$hoist --quiet build $app --path $dir/$app --docker" \
            -n "docker build" "$dock -t $app-dockerfile -f bench/dockerfiles/app.Dockerfile $dir/$app" \
            -n "hoist build (store alone)" "$hoist --quiet build $app --path $dir/$app"
        point "$app: $([ $what = changed ] && echo "one line changed" || echo "nothing changed"), the image in docker" "docker build's time" "$dir/$what$app.json"
    done
    sh -c "$change"
    "$hoist" --quiet --json build "$app" --path "$dir/$app" --docker | sent "$app with one line changed"
done
