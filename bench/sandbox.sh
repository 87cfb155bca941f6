#!/bin/sh
# Sandboxes of forty layers beside runc with a prepared bundle of one directory: first from the command to the end of a program that does nothing
# (hyperfine), then from the command to the program's first instruction (the middle and the span of RUNS starts that are not in each other's
# way), and the system calls of one start. As root. Needs hyperfine, runc, strace and, for the private network, pasta.
# Usage: bench/sandbox.sh [RUNS]
set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh
runs=${1:-100}
need hyperfine hyperfine
need runc runc
need strace strace
need pasta passt
[ "$(id -u)" = 0 ] || fail "runc needs root here"
cargo build --quiet --release -p hoist-sandbox --example enter --example nothing
enter=$(readlink -f "$(ls -t target/*/release/examples/enter | head -1)")
nothing=$(readlink -f "$(ls -t target/*/release/examples/nothing | head -1)")
dir=$(mktemp -d /tmp/hoist-bench-sandbox.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
root=
for number in $(seq 39); do
    mkdir -p "$dir/layers/$number/opt/$number"
    root="$root$dir/layers/$number:"
done
root=$root$dir/bundle/rootfs
mkdir -p "$dir/bundle/rootfs/bin" "$dir/bundle/rootfs/proc" "$dir/bundle/rootfs/dev" "$dir/bundle/rootfs/sys"
cp "$nothing" "$dir/bundle/rootfs/bin/true"
(cd "$dir/bundle" && runc spec)
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/bin\/true"/' "$dir/bundle/config.json"
cat > "$dir/runc.sh" <<INNER
#!/bin/sh
exec runc --root $dir/state run --bundle $dir/bundle bench-\$\$
INNER
chmod +x "$dir/runc.sh"

echo "## From the command to the end"
hyperfine --shell=none --style basic --warmup 5 --runs "$runs" \
    --command-name 'fork and exec alone' "$nothing" \
    --command-name 'hoist, host network' "$enter -n host $root /bin/true" \
    --command-name 'hoist, no network' "$enter -n none $root /bin/true" \
    --command-name 'hoist, no network, memory and processes limited' "$enter -m 500000000 -l 100 -n none $root /bin/true" \
    --command-name 'hoist, private network' "$enter -n private $root /bin/true" \
    --command-name 'runc, prepared bundle' "$dir/runc.sh"

printf '\n## From the command to the first instruction\n\n| network | median | lowest to highest |\n|---|---|---|\n'
for network in host none private; do
    for _ in $(seq "$runs"); do
        ENTER_VERBOSE=1 "$enter" -n "$network" "$root" /bin/true 2>&1 | sed -n 's/^started after \(.*\) ms$/\1/p'
        # The kernel dismantles a network for a while after its end.
        sleep 0.1
    done | sort -n | awk -v network="$network" '
        { times[NR] = $1 }
        END { if (NR) printf "| %s | %.1f ms | %.1f to %.1f |\n", network, times[int((NR + 1) / 2)], times[1], times[NR] }'
done

printf '\n## System calls of one start and end, without network\n\n'
strace -f -c -U calls,name -S calls -o "$dir/calls" "$enter" -n none "$root" /bin/true
awk 'NR > 2 && $2 != "total" && shown++ < 12 { print "    " $1 " " $2 } $2 == "total" { print "    " $1 " in all" }' "$dir/calls"
