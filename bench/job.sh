#!/bin/bash
# All points of "how fast, how small" in one run: builds and starts of hoist beside docker (classic build), podman, buildah, pip, uv and runc, on
# examples/bell and examples/web, and the making of the base beside mmdebstrap. Prints the tables of bench/README.md and a summary.
# As root. Needs hyperfine, jq, mmdebstrap, docker.io, podman, buildah, runc, gcc, time, a Python 3.13 with venv, and the machine's own package
# indexes. Starts its own docker daemon in its own folder and ends it; leaves nothing behind.
# Usage: [VARIABLES] bench/job.sh [RUNS]
#   RUNS          of each quick command, 7 if not given (about twelve minutes in all on an idle machine, with 3 about ten)
#   HOIST         the binary to be measured; otherwise cargo builds one
#   BENCH_POINTS  "1 5" measures these alone; 7 (memory) and 8 (size) always come with them
#   BENCH_DIR     folder to work in, /tmp if not given; needs 6 GB
#   BENCH_PYTHON  the Python 3.13 for pip and uv
#   BENCH_TREES   folder that has plain.tar and base.tar of an earlier run, or gets them
#   BENCH_STORE   a store of hoist with its base and caches; then point 6 is left out
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
read_runs "${1:-}" 7
# What takes ten seconds or more is measured three times, what takes half a minute once.
slow=$((runs < 3 ? runs : 3))
need hyperfine hyperfine; need jq jq; need mmdebstrap mmdebstrap; need docker docker.io; need dockerd docker.io; need podman podman
need buildah buildah; need runc runc; need gcc gcc; need /usr/bin/time time
find_hoist
find_python
start_folder
own="--root $dir/pod/root --runroot $dir/pod/run --storage-driver overlay"
pm() { podman $own --cgroup-manager cgroupfs "$@"; }
also_clean() { pm rm --all --force > /dev/null 2>&1; }
want() { case " ${BENCH_POINTS:-1 2 3 4 5 6} " in *" $1 "*) ;; *) return 1 ;; esac; }

say "the Debian trees"
mirror=$(machine_mirror)
key=$PWD/crates/debian/keys/debian-archive-keyring.gpg
debian_tree plain python3 &
plain=$!
debian_tree base python3,python3-venv,python3-pip,ca-certificates
wait $plain

say "docker, podman and buildah with that tree, and pip's cache filled"
start_docker
docker import "$trees/base.tar" hoist-bench-debian > /dev/null
pm import --quiet "$trees/base.tar" hoist-bench-debian > /dev/null
for app in bell web; do
    cp -r "examples/$app" "$dir/$app"
    cp "$dir/$app/requirements.txt" "$dir/$app-requirements.txt"
    cp bench/dockerfiles/app.Dockerfile "$dir/$app.Dockerfile"
done
seed_folder
for app in bell web; do cp "$dir/$app-requirements.txt" "$dir/seed/"; done
echo tabulate > "$dir/seed/small.txt"
pod="podman $own build --quiet --network host --isolation chroot --layers"
bud="buildah $own bud --quiet --network host --isolation chroot --layers"
builds() { want 1 || want 2 || want 3 || want 4; }
for image in base warm; do
    builds || continue
    $dock -t hoist-bench-$image -f bench/dockerfiles/$image.Dockerfile "$dir/seed" >> "$dir/log" 2>&1 || fail "docker build of $image failed: $(tail -3 "$dir/log")"
    $pod -t hoist-bench-$image -f bench/dockerfiles/$image.Dockerfile "$dir/seed" >> "$dir/log" 2>&1 || fail "podman build of $image failed: $(tail -3 "$dir/log")"
done

say "hoist's base and first builds, with the peak of its memory"
if [ -n "${BENCH_STORE:-}" ]; then
    cp -a "$BENCH_STORE" "$HOIST_STORE"
    for app in bell web sum; do "$hoist" --quiet image rm $app > /dev/null 2>&1 || true; done
    # The records of builds keep their layers from being pruned.
    rm -rf "$HOIST_STORE/records/build-cache"
    "$hoist" --quiet system prune > /dev/null
fi
if want 6 && [ -z "${BENCH_STORE:-}" ]; then
    say "6 the base for the first time"
    HOIST_STORE=$dir/lock-store "$hoist" --quiet base lock --output "$dir/lock"
    # The sources of the same suite, and the packages of the lock with their versions.
    {
        echo "rm -rf $dir/mm && mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until \"false\"' \\"
        echo "  --include=$(awk -F'"' '/^name = /{ n = $2 } /^version = /{ print n "=" $2 }' "$dir/lock" | paste -sd, -) trixie $dir/mm - <<LIST"
        echo "deb [signed-by=$key] $mirror trixie main"
        echo "deb [signed-by=$key] $mirror trixie-updates main"
        echo "deb [signed-by=$key] $mirror-security trixie-security main"
        echo LIST
    } > "$dir/mmdebstrap.sh"
    measure 6hoist --runs "$slow" --prepare "rm -rf $HOIST_STORE" -n "hoist base show, nothing cached" "$hoist --quiet base show"
    measure 6mm --runs "$slow" -n "mmdebstrap, the same packages, extracted" "sh $dir/mmdebstrap.sh"
    jq -s '{ results: map(.results) | add }' "$dir/6hoist.json" "$dir/6mm.json" > "$dir/6.json"
    rm -rf "$dir/mm" "$dir/lock-store"
fi
"$hoist" --quiet base show > /dev/null
# VmHWM of the process itself; what it starts (uv, Python) is not counted there, and is in the second figure.
/usr/bin/time -f %M -o "$dir/peak-all" "$hoist" --quiet build bell --path "$dir/bell" > /dev/null &
timer=$!
peak=0
while kill -0 $timer 2> /dev/null; do
    # The first child of time(1) is hoist.
    child=$(cat /proc/$timer/task/$timer/children 2> /dev/null || true)
    [ -z "$child" ] || seen=$(awk '/^VmHWM:/ { print $2 }' "/proc/${child%% *}/status" 2> /dev/null || true)
    [ "${seen:-0}" -le "$peak" ] || peak=$seen
    sleep 0.02
done
wait $timer || fail "the first build of bell failed"
"$hoist" --quiet build web --path "$dir/web" > /dev/null
"$hoist" --quiet build sum --path examples/sum > /dev/null
if builds; then
uv=$(ls "$HOIST_STORE"/cache/build/pip/uv-bin/uv-* | head -1)
export UV_CACHE_DIR=$HOIST_STORE/cache/build/pip/uv UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1
for app in bell web; do
    "$uv" pip compile --quiet --python "$python" "$dir/$app-requirements.txt" -o "$dir/$app-full.txt" > /dev/null
    "$uv" venv --quiet --python "$python" "$dir/venv-$app"
    "$uv" pip sync --quiet --python "$dir/venv-$app" "$dir/$app-full.txt"
    "$python" -m venv "$dir/pip-$app" && "$dir/pip-$app/bin/pip" install --quiet -r "$dir/$app-requirements.txt"
    # Their first builds, which point 4 shows: podman and buildah share a store, so nothing is taken from its cache.
    say "first builds of $app by docker, podman and buildah"
    measure "4tools$app" --runs 1 \
        -n "docker build, first" "$dock --no-cache -t $app -f $dir/$app.Dockerfile $dir/$app" \
        -n "podman build, first" "$pod --no-cache -t $app -f $dir/$app.Dockerfile $dir/$app" \
        -n "buildah bud, first" "$bud --no-cache -t $app -f $dir/$app.Dockerfile $dir/$app"
done
fi

printf 'Load before the measuring: %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
for app in bell web; do
    if want 1; then
    say "1 $app unchanged"
    measure "1$app" --warmup 1 --runs "$runs" \
        -n "hoist build" "$hoist --quiet build $app --path $dir/$app" \
        -n "docker build" "$dock -t $app -f $dir/$app.Dockerfile $dir/$app" \
        -n "podman build" "$pod -t $app -f $dir/$app.Dockerfile $dir/$app" \
        -n "buildah bud" "$bud -t $app -f $dir/$app.Dockerfile $dir/$app" \
        -n "pip install, environment there (no image)" "$dir/pip-$app/bin/pip install --quiet -r $dir/$app-requirements.txt" \
        -n "uv pip sync, environment there (no image)" "$uv pip sync --quiet --python $dir/venv-$app $dir/$app-full.txt"
    point "1. $app: nothing changed" "0.10 s" "$dir/1$app.json"
    fi

    want 2 || continue
    say "2 $app with one line changed"
    source=$dir/$app/$([ "$app" = bell ] && echo src/program.py || echo app.py)
    measure "2$app" --warmup 1 --runs "$runs" --prepare "date +'# %s%N' >> $source" \
        -n "hoist build" "$hoist --quiet build $app --path $dir/$app" \
        -n "docker build" "$dock -t $app -f $dir/$app.Dockerfile $dir/$app" \
        -n "podman build" "$pod -t $app -f $dir/$app.Dockerfile $dir/$app" \
        -n "buildah bud" "$bud -t $app -f $dir/$app.Dockerfile $dir/$app"
    point "2. $app: one line of source changed" "0.20 s" "$dir/2$app.json"
done

if want 3; then
say "3 one small requirement more"
# A comment that changes each time: requirements that no tool has seen before.
more="{ cat $dir/bell-requirements.txt; echo tabulate; date +'# %s%N'; } > $dir/bell/requirements.txt"
less="cp $dir/bell-requirements.txt $dir/bell/requirements.txt"
measure 3hoist --runs "$((slow + 2))" --prepare "$less && $hoist --quiet build bell --path $dir/bell && $more" \
    -n "hoist build" "$hoist --quiet build bell --path $dir/bell"
measure 3tools --runs 1 --prepare "$more" \
    -n "docker build" "$dock -t bell -f $dir/bell.Dockerfile $dir/bell" \
    -n "podman build" "$pod -t bell -f $dir/bell.Dockerfile $dir/bell" \
    -n "buildah bud" "$bud -t bell -f $dir/bell.Dockerfile $dir/bell"
eval "$more"
measure 3bare --runs "$((slow + 2))" --prepare "$dir/pip-bell/bin/pip uninstall --quiet --yes tabulate; $uv pip sync --quiet --python $dir/venv-bell $dir/bell-full.txt" \
    -n "pip install into the environment (no image)" "$dir/pip-bell/bin/pip install --quiet -r $dir/bell/requirements.txt" \
    -n "uv pip install into the environment (no image)" "$uv pip install --quiet --compile-bytecode --python $dir/venv-bell -r $dir/bell/requirements.txt"
jq -s '{ results: map(.results) | add }' "$dir"/3hoist.json "$dir"/3tools.json "$dir"/3bare.json > "$dir/3.json"
point "3. bell: one small requirement (tabulate) more" "1.5 s" "$dir/3.json"
eval "$less"
fi

for app in bell web; do
    want 4 || continue
    say "4 first build of $app, packages cached"
    # A store of its own with the base and the package caches, and neither the image nor its layers.
    cold=$dir/cold-$app
    HOIST_STORE=$cold "$hoist" --quiet system info > /dev/null
    mkdir -p "$cold/cache" && cp -a "$HOIST_STORE/cache/." "$cold/cache/"
    HOIST_STORE=$cold "$hoist" --quiet build first --path "$dir/$app" > /dev/null
    # The record of the last build keeps its layers from being pruned, so it goes first.
    forget="HOIST_STORE=$cold $hoist --quiet image rm first && rm -rf $cold/records/build-cache && HOIST_STORE=$cold $hoist --quiet system prune"
    measure "4hoist$app" --runs "$slow" --prepare "$forget" -n "hoist build" "HOIST_STORE=$cold $hoist --quiet build first --clear-cache --path $dir/$app"
    # A second app of the machine finds the interpreter's layers that the first one's build made.
    measure "4second$app" --runs "$slow" --prepare "$forget" -n "hoist build, another app was built before" "HOIST_STORE=$cold $hoist --quiet build first --path $dir/$app"
    measure "4uv$app" --runs "$slow" --prepare "rm -rf $dir/empty && $uv venv --quiet --python $python $dir/empty" \
        -n "uv pip sync --compile-bytecode (no image)" "UV_CACHE_DIR=$cold/cache/build/pip/uv $uv pip sync --quiet --compile-bytecode --python $dir/empty $dir/$app-full.txt"
    measure "4pip$app" --runs 1 --prepare "rm -rf $dir/empty && $python -m venv $dir/empty" \
        -n "pip install (no image)" "$dir/empty/bin/pip install --quiet -r $dir/$app-requirements.txt"
    jq -s '{ results: map(.results) | add }' "$dir/4hoist$app.json" "$dir/4uv$app.json" "$dir/4second$app.json" "$dir/4pip$app.json" "$dir/4tools$app.json" > "$dir/4$app.json"
    point "4. $app: first build, packages cached" "1.3 times uv alone" "$dir/4$app.json"
    jq -r '"\nhoist is \(.results[0].median / .results[1].median * 100 | round / 100) times uv alone, \(.results[2].median / .results[1].median * 100 | round / 100) times where another app was built before."' "$dir/4$app.json"
done

if [ -s "$dir/6.json" ]; then point "6. Making the base for the first time" "faster than mmdebstrap for the same packages" "$dir/6.json"; fi

if want 5; then
say "5 starts of forty layers"
mkdir "$dir/forty"
echo 'int main(void) { return 0; }' | gcc -static -O1 -x c - -o "$dir/forty/nothing"
{
    echo 'FROM scratch'; echo 'COPY nothing /bin/nothing'
    for number in $(seq 39); do echo "$number" > "$dir/forty/$number"; echo "COPY $number /opt/$number/file"; done
} > "$dir/forty/Dockerfile"
$dock -t forty "$dir/forty" > /dev/null 2>> "$dir/log"
docker save forty -o "$dir/forty.tar"
"$hoist" --quiet image load --input "$dir/forty.tar" > /dev/null
pm load --quiet --input "$dir/forty.tar" > /dev/null
mkdir -p "$dir/bundle/rootfs"
docker create --name forty --network host forty /bin/nothing > /dev/null
docker export forty | tar -x -C "$dir/bundle/rootfs"
docker rm forty > /dev/null
(cd "$dir/bundle" && runc spec && jq '.process.terminal = false | .process.args = ["/bin/nothing"] | del(.process.rlimits)' config.json > c && mv c config.json)
printf '#!/bin/sh\nexec runc --root %s/runc run --bundle %s/bundle bench-$$\n' "$dir" "$dir" > "$dir/runc.sh"
chmod +x "$dir/runc.sh"
layers=$("$hoist" image inspect --json forty | jq '.layers | length')
# podman asks for higher limits than a machine without CAP_SYS_RESOURCE may give.
limits="--ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
measure 5fast --shell=none --warmup 5 --runs 50 \
    -n "hoist run, no network" "$hoist --quiet run --network none --entrypoint /bin/nothing forty" \
    -n "hoist run, host network" "$hoist --quiet run --network host --entrypoint /bin/nothing forty" \
    -n "hoist run, private network" "$hoist --quiet run --entrypoint /bin/nothing forty" \
    -n "runc run, prepared bundle of one folder" "$dir/runc.sh"
measure 5slow --shell=none --warmup 1 --runs "$runs" \
    -n "docker run, no network" "docker run --rm --network none forty /bin/nothing" \
    -n "docker run, host network" "docker run --rm --network host forty /bin/nothing" \
    -n "podman run, no network" "podman $own --cgroup-manager cgroupfs run --rm --network none $limits forty /bin/nothing" \
    -n "podman run, host network" "podman $own --cgroup-manager cgroupfs run --rm --network host $limits forty /bin/nothing"
jq -s '{ results: map(.results) | add }' "$dir/5fast.json" "$dir/5slow.json" > "$dir/5.json"
point "5. Start and end of a container that does nothing, $layers layers" "15 ms to the first instruction; measured to the end of the process, so more than that" "$dir/5.json" ms
fi

printf '\n### 7. Peak of memory, first build of bell\n\nTarget: 150 MB\n\n| | MB |\n|---|---|\n'
hoist_peak=$((peak * 1024 / 1000000))
printf '| hoist itself | %s |\n| largest process of the build (Python, uv or hoist) | %s |\n' "$hoist_peak" "$(($(tail -1 "$dir/peak-all") * 1024 / 1000000))"

printf '\n### 8. Image of a plain Python service, unpacked tar\n\nTarget: smaller than minbase with the same Python\n\n| | MB |\n|---|---|\n'
sizes=$("$hoist" image inspect --json sum | jq -r '"\(([.layers[] | select(.created_by | test("packages of the run image|.python.")) | .size_bytes] | add) / 1e5 | round / 10) \(.size_bytes / 1e5 | round / 10)"')
printf '| hoist: examples/sum, base and Python alone | %s |\n| hoist: examples/sum, whole image | %s |\n' "${sizes% *}" "${sizes#* }"
minbase=$(($(stat -c %s "$trees/plain.tar") / 1000000))
printf '| mmdebstrap minbase, python3 | %s |\n| mmdebstrap minbase, python3 with venv and pip, certificates | %s |\n' "$minbase" "$(($(stat -c %s "$trees/base.tar") / 1000000))"

printf '\n## Summary\n\nThe others as multiples of hoist; docker, podman and buildah without a network where there is one with and one without.\n\n'
printf '| point | target | hoist | met | docker | podman | buildah | pip | uv | runc | mmdebstrap |\n|---|---|---|---|---|---|---|---|---|---|---|\n'
for app in bell web; do
    summary "1 $app, nothing changed" 0.10 "$dir/1$app.json"
    summary "2 $app, one line changed" 0.20 "$dir/2$app.json"
done
summary "3 bell, one requirement more" 1.5 "$dir/3.json"
for app in bell web; do summary "4 $app, first build, packages cached" "1.3 uv" "$dir/4$app.json"; done
summary "5 start of 40 layers, no network" 0.015 "$dir/5.json"
summary "6 base for the first time" "1 mmdebstrap" "$dir/6.json"
printf '| 7 memory of hoist | 150 MB | %s MB | %s | | | | | | | |\n' "$hoist_peak" "$([ "$hoist_peak" -lt 150 ] && echo yes || echo no)"
printf '| 8 image of a plain service | minbase | %s MB | %s | | | | | | | %s |\n' "${sizes#* }" \
    "$(jq -n --argjson a "${sizes#* }" --argjson b "$minbase" 'if $a < $b then "yes" else "no" end' -r)" \
    "$(jq -n --argjson a "${sizes#* }" --argjson b "$minbase" '$b / $a * 100 | round / 100')"
printf '\nLoad after the measuring: %s; %s s in all\n' "$(cut -d' ' -f1-3 /proc/loadavg)" "$SECONDS"
