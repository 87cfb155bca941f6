#!/bin/sh
# Making the base for the first time, beside mmdebstrap for the same packages (extracted only, no maintainer script), both from the machine's own
# mirror. As root (mmdebstrap). Needs hyperfine and mmdebstrap. Usage: [HOIST=BINARY] bench/base.sh [RUNS]
set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh
runs=${1:-3}
need hyperfine hyperfine; need mmdebstrap mmdebstrap; need jq jq
[ "$(id -u)" = 0 ] || fail "must be root"
find_hoist
dir=$(mktemp -d /tmp/hoist-bench-base.XXXXXX)
trap 'rm -rf "$dir"' EXIT
HOIST_STORE=$dir/warm "$hoist" --quiet base lock --output "$dir/lock"
# The sources of the same suite, and the packages of the lock with their versions.
mirror=$(machine_mirror)
names=$(awk -F'"' '/^name = /{ n = $2 } /^version = /{ print n "=" $2 }' "$dir/lock" | paste -sd, -)
cat > "$dir/mmdebstrap.sh" <<INNER
rm -rf $dir/mm
mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' --include='$names' trixie $dir/mm - <<LIST
deb [signed-by=$PWD/crates/debian/keys/debian-archive-keyring.gpg] $mirror trixie main
deb [signed-by=$PWD/crates/debian/keys/debian-archive-keyring.gpg] $mirror trixie-updates main
deb [signed-by=$PWD/crates/debian/keys/debian-archive-keyring.gpg] $mirror-security trixie-security main
LIST
INNER
hyperfine --style basic --runs "$runs" --export-json "$dir/base.json" \
    --prepare "rm -rf $dir/cold" \
    --command-name 'hoist, nothing cached' "HOIST_STORE=$dir/cold $hoist --quiet base show" \
    --prepare "rm -rf $dir/fresh; mkdir -p $dir/fresh/cache; cp -al $dir/warm/cache/host $dir/fresh/cache/; rm -rf $dir/keep; mv $dir/fresh/cache $dir/keep; rm -rf $dir/fresh; HOIST_STORE=$dir/fresh $hoist --quiet system info >/dev/null; mkdir -p $dir/fresh/cache; cp -al $dir/keep/host $dir/fresh/cache/" \
    --command-name 'hoist, packages cached' "HOIST_STORE=$dir/fresh $hoist --quiet base show" \
    --prepare true \
    --command-name 'mmdebstrap, extracted' "sh $dir/mmdebstrap.sh" \
    --prepare true \
    --command-name 'hoist, base there' "HOIST_STORE=$dir/warm $hoist --quiet base show"
point "6. Making the base for the first time" "faster than mmdebstrap for the same packages" "$dir/base.json"
