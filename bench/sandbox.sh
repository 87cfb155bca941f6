#!/bin/sh
# Start of a sandbox with forty layers, from the caller's first instruction to the end of /bin/true, beside runc with a prepared bundle of one
# directory. As root. Needs hyperfine and runc. Usage: bench/sandbox.sh [RUNS]
set -eu
cd "$(dirname "$0")/.."
runs=${1:-200}
cargo build --quiet --release -p hoist-sandbox --example enter --example nothing
enter=$(ls -t target/*/release/examples/enter | head -1)
nothing=$(ls -t target/*/release/examples/nothing | head -1)
dir=$(mktemp -d /tmp/hoist-bench-sandbox.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
layers=
for number in $(seq 39); do
    mkdir -p "$dir/layers/$number/opt/$number"
    layers="$layers$dir/layers/$number:"
done
mkdir -p "$dir/bundle/rootfs/bin" "$dir/bundle/rootfs/proc" "$dir/bundle/rootfs/dev" "$dir/bundle/rootfs/sys"
cp "$nothing" "$dir/bundle/rootfs/bin/true"
(cd "$dir/bundle" && runc spec && sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/bin\/true"/' spec.json 2>/dev/null || true
 cd "$dir/bundle" && sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/bin\/true"/' config.json)
cat > "$dir/runc.sh" <<INNER
#!/bin/sh
exec runc --root $dir/state run --bundle $dir/bundle bench-\$\$
INNER
chmod +x "$dir/runc.sh"
hyperfine --shell=none --warmup 10 --runs "$runs" \
    --command-name 'fork and exec alone' "$nothing" \
    --command-name 'hoist, host network, 40 layers' "$enter -n host $layers$dir/bundle/rootfs /bin/true" \
    --command-name 'hoist, own network, 40 layers' "$enter -n none $layers$dir/bundle/rootfs /bin/true" \
    --command-name 'hoist, own network, 40 layers, memory and pids limited' "$enter -m 500000000 -l 100 -n none $layers$dir/bundle/rootfs /bin/true" \
    --command-name 'runc, prepared bundle' "$dir/runc.sh"
