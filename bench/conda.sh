#!/bin/bash
# conda's packages beside rattler alone: an app with some forty packages of a channel on this machine, one of them of more than 50 MB, several thousand files
# in all. The channel is made of wheels and of the machine's Debian Python. For hoist: a first build with all packages cached (once with the bytecode that an
# earlier build of the same packages left, and once without), a build of what did not change, and a build after one package changed. rattler alone solves and
# installs the same into a folder: no image, and no bytecode; once with hard links into its cache, which is its own way, and once with copies and bytecode,
# which an image has. Prints the table of bench/README.md.
# As root. Needs hyperfine, jq, a python3 of Debian, and the machine's own package index, whose wheels are fetched with a Python 3 that has pip.
# Leaves nothing behind.
# Usage: [VARIABLES] bench/conda.sh [RUNS]
#   RUNS             of each quick command, 7 if not given
#   HOIST            the binary to be measured; otherwise cargo builds one
#   BENCH_EXAMPLES   folder with the programs rattler_alone and channel_of_wheels; otherwise cargo builds them
#   BENCH_DIR        folder to work in, /tmp if not given; needs 4 GB
#   BENCH_PYTHON     a Python 3.13 with pip
#   BENCH_STORE      a store of hoist with its base; it is copied
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
read_runs "${1:-}" 7
slow=$((runs < 3 ? runs : 3))
need hyperfine hyperfine; need jq jq; need python3 python3
find_hoist
find_python
if [ -n "${BENCH_EXAMPLES:-}" ]; then
    examples=$(readlink -f "$BENCH_EXAMPLES")
else
    cargo build --quiet --release --workspace --examples
    examples=$(dirname "$(ls -t "$PWD"/target/*/release/examples/rattler_alone | head -1)")
fi
for program in rattler_alone channel_of_wheels; do [ -x "$examples/$program" ] || fail "$examples/$program is missing"; done
start_folder

say "wheels, and the channel of them"
wanted="Flask gunicorn requests pydantic SQLAlchemy pandas scipy matplotlib scikit-learn networkx sympy jinja2 rich httpx aiohttp tabulate"
version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -m pip download --quiet --only-binary=:all: --implementation cp --python-version "$version" --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --dest "$dir/wheels" $wanted >> "$dir/log" 2>&1 || fail "the wheels could not be fetched: $(tail -3 "$dir/log")"
mkdir "$dir/channels"
last=$(ls "$dir"/wheels/tabulate-*.whl)
names=$("$examples/channel_of_wheels" "$dir/channels/bench" $(ls "$dir"/wheels/*.whl | grep -v /tabulate-) "$last")
printf 'channel_alias: file://%s\n' "$dir/channels" > "$dir/condarc"
export CONDARC=$dir/condarc
[ -z "${BENCH_STORE:-}" ] || cp -a "$BENCH_STORE" "$HOIST_STORE"
"$hoist" --quiet base show > /dev/null

# put less|more: the environment with the first build of the package that changes, or the later one. It ends in a comment of another length each time, so
# that nobody has seen it before.
mkdir "$dir/app"
cp examples/web/app.py examples/web/Procfile "$dir/app/"
for which in less more; do
    {
        printf 'channels: [bench, nodefaults]\ndependencies:\n  - python\n'
        for name in $names; do
            case $name-$which in
                tabulate-less) echo '  - tabulate=*=h0_0' ;;
                tabulate-more) echo '  - tabulate=*=h1_1' ;;
                *) echo "  - $name" ;;
            esac
        done
    } > "$dir/$which.yml"
done
cat > "$dir/put" <<'PUT'
#!/bin/bash
set -eu
cd "$(dirname "$0")"
{ cat "$1.yml"; printf '#%*s\n' "$((RANDOM % 5000 + 1))" ''; } > app/environment.yml
PUT
chmod +x "$dir/put"

ours="$hoist --quiet build conda --path $dir/app"
forget="$hoist --quiet image rm conda && rm -rf $HOIST_STORE/records/build-cache && $hoist --quiet system prune"
specs=$(printf '%s ' python $names)
alone="$examples/rattler_alone file://$dir/channels/bench $dir/rattler-cache $dir/prefix"
compiled="$dir/prefix/bin/python -m compileall -q -j 2 $dir/prefix/lib"

say "first builds, which fill the caches"
for which in more less; do "$dir/put" "$which"; $ours > /dev/null; done
$alone $specs
files=$(find "$dir/prefix" -type f | wc -l) megabytes=$(du -sm "$dir/prefix" | cut -f1) packages=$(ls "$dir"/prefix/conda-meta/*.json | wc -l)
rm -rf "$dir/prefix"

say "measuring"
printf '%s packages, %s files, %s MB; load before the measuring: %s\n' "$packages" "$files" "$megabytes" "$(cut -d' ' -f1-3 /proc/loadavg)"
measure first-hoist --runs "$slow" --prepare "$forget" -n hoist "$ours --clear-cache" \
    --prepare "$forget && rm -rf $HOIST_STORE/cache/build/conda/bytecode" -n "hoist, never compiled before" "$ours --clear-cache"
measure first-rattler --runs "$slow" --prepare "rm -rf $dir/prefix" -n "rattler alone" "$alone $specs" \
    -n "rattler alone, copies and bytecode" "$alone --copy $specs && ($compiled || true)"
measure same --warmup 1 --runs "$runs" -n hoist "$ours"
measure changed --runs "$slow" --prepare "$dir/put less && $ours && $dir/put more" -n hoist "$ours"

jq -s '{results: [.[].results[]]}' "$dir/first-hoist.json" "$dir/first-rattler.json" > "$dir/first.json"
point "First build, packages cached" "1.3 × rattler alone" "$dir/first.json"
point "Nothing changed" "0.10 s" "$dir/same.json" ms
point "One package changed" "1.5 s" "$dir/changed.json"
printf '\nLoad after the measuring: %s; %s s in all\n' "$(cut -d' ' -f1-3 /proc/loadavg)" "$SECONDS"
