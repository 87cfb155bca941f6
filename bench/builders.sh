#!/bin/bash
# How fast builders and foreign buildpacks are: the making of a builder from local parts, what a bash buildpack costs over its own time, and a
# rebuild of an unchanged app with six buildpacks in the order. Beside docker where it does the same. Prints the tables of bench/README.md.
# As root. Needs hyperfine, jq, docker.io and the machine's own package indexes (for the base). Starts its own docker daemon in its own
# folder and ends it; leaves nothing behind.
# Usage: [VARIABLES] bench/builders.sh [RUNS]
#   RUNS         of each command, 15 if not given
#   HOIST        the binary to be measured; otherwise cargo builds one
#   BENCH_DIR    folder to work in, /tmp if not given
#   BENCH_STORE  a store of hoist with its base
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
read_runs "${1:-}" 15
need hyperfine hyperfine; need jq jq; need docker docker.io; need dockerd docker.io
find_hoist
start_folder
[ -z "${BENCH_STORE:-}" ] || export HOIST_STORE=$BENCH_STORE

# buildpack N: a bash buildpack that finds itself fit, and keeps a layer as it is once it made it.
buildpack() {
    local at=$dir/buildpacks/bench$1
    mkdir -p "$at/bin"
    printf 'api = "0.12"\n\n[buildpack]\nid = "bench/%s"\nversion = "1"\n\n[[targets]]\nos = "linux"\n' "$1" > "$at/buildpack.toml"
    printf '#!/bin/bash\nexit 0\n' > "$at/bin/detect"
    cat > "$at/bin/build" <<'BUILD'
#!/bin/bash
set -eu
layer=$CNB_LAYERS_DIR/tool
[ -e "$layer/tool" ] || { mkdir -p "$layer"; head -c 100000 /dev/zero > "$layer/tool"; }
printf '[types]\nlaunch = true\ncache = true\n' > "$layer.toml"
BUILD
    chmod 755 "$at/bin/detect" "$at/bin/build"
}
# builder N: a builder.toml with the first N of them in one group.
builder() {
    {
        printf '[build]\nimage = "hoist/build"\n\n[[run.images]]\nimage = "hoist/run"\n\n'
        for one in $(seq "$1"); do printf '[[buildpacks]]\nuri = "buildpacks/bench%s"\n\n' "$one"; done
        printf '[[order]]\n'
        for one in $(seq "$1"); do printf '[[order.group]]\nid = "bench/%s"\nversion = "1"\n' "$one"; done
    } > "$dir/builder$1.toml"
}

for one in $(seq 16); do buildpack "$one"; done
mkdir -p "$dir/app"; echo hello > "$dir/app/file"
"$hoist" builder inspect > /dev/null
for count in 1 6 16; do
    builder "$count"
    "$hoist" builder create "bench/$count" -c "$dir/builder$count.toml" >&2
    "$hoist" build "app-$count" -p "$dir/app" -B "bench/$count" > /dev/null 2>> "$dir/log" || { tail -20 "$dir/log" >&2; fail "a build failed"; }
done

start_docker
"$hoist" image save hoist/builder --format docker-archive -o "$dir/base.tar" 2>> "$dir/log" || { tail -20 "$dir/log" >&2; fail "a build failed"; }
docker load -q -i "$dir/base.tar" > /dev/null; docker tag hoist/builder hoist-bench-builder
# The same as an image build: the folders copied, a label set.
mkdir "$dir/context"; cp -a "$dir/buildpacks" "$dir/context/"
printf 'FROM hoist-bench-builder\nCOPY buildpacks /cnb/buildpacks\nLABEL order=x\n' > "$dir/context/Dockerfile"

# Both make everything anew: hoist forgets the builder and its layers, docker its cache.
measure create --shell=none --runs "$runs" --prepare "$hoist builder create bench/6 -c $dir/builder1.toml" -n hoist "$hoist builder create bench/6 -c $dir/builder6.toml"
measure create-docker --shell=none --runs "$runs" -n docker "docker build -q --no-cache -t bench $dir/context"
jq -s "{results: [.[].results[]]}" "$dir"/create.json "$dir"/create-docker.json > "$dir/created.json"
point "builder create, six buildpacks" "at most 1 s" "$dir/created.json" ms

"$hoist" builder create bench/6 -c "$dir/builder6.toml" 2>> "$dir/log" || { tail -20 "$dir/log" >&2; fail "a build failed"; }
for count in 1 6 16; do measure "unchanged-$count" --shell=none --warmup 2 --runs "$runs" -n "hoist, $count" "$hoist build app-$count -p $dir/app -B bench/$count"; done
for count in 1 6 16; do measure "first-$count" --shell=none --warmup 1 --runs "$runs" -n "hoist, $count" "$hoist build app-$count -p $dir/app -B bench/$count --clear-cache"; done
jq -s '{results: [.[].results[]]}' "$dir"/unchanged-{6,1,16}.json > "$dir/unchanged.json"
jq -s '{results: [.[].results[]]}' "$dir"/first-{6,1,16}.json > "$dir/first.json"
point "nothing changed, N bash buildpacks in the group" "six: at most 0.10 s" "$dir/unchanged.json" ms
point "nothing is cached, N bash buildpacks in the group" "none" "$dir/first.json" ms

# A buildpack's own time: its two programs, outside of any sandbox.
mkdir -p "$dir/layers"
CNB_LAYERS_DIR=$dir/layers measure own --shell=none --warmup 2 --runs "$((runs * 5))" -n detect "$dir/buildpacks/bench1/bin/detect" -n build "$dir/buildpacks/bench1/bin/build"
jq -rn --slurpfile one "$dir/unchanged-1.json" --slurpfile many "$dir/unchanged-16.json" --slurpfile first1 "$dir/first-1.json" --slurpfile first16 "$dir/first-16.json" --slurpfile own "$dir/own.json" '
    def ms: . * 100000 | round / 100;
    (($many[0].results[0].median - $one[0].results[0].median) / 15) as $each
    | (($first16[0].results[0].median - $first1[0].results[0].median) / 15) as $first
    | ($own[0].results[0].median + $own[0].results[1].median) as $alone
    | "\n### What a bash buildpack costs\n\nTarget: at most 10 ms over its own time\n\n| | |\n|---|---|\n| each further buildpack, nothing changed | \($each | ms) ms |\n| each further buildpack, nothing cached | \($first | ms) ms |\n| its own time, detect and build | \($alone | ms) ms |\n| **over its own time, nothing changed** | **\($each - $alone | ms) ms** |\n| over its own time, nothing cached (its layer is made and hashed, too) | \($first - $alone | ms) ms |"'
