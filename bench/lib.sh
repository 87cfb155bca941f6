# Shared by the scripts of this folder: what they need, where the binary is, a folder that goes away, a docker daemon in it, figures and ratios.
# Sourced, not run.

fail() { echo "bench: $*" >&2; exit 3; }

# need PROGRAM PACKAGE: fails with the Debian package that brings the program.
need() { command -v "$1" > /dev/null || fail "$1 is missing (Debian package $2)"; }

# read_runs RUNS DEFAULT: sets `runs`, the number of runs that was asked for; fails where it is none, and for who is not root.
read_runs() {
    runs=${1:-$2}
    case $runs in '' | *[!0-9]*) fail "RUNS is a number: $0 $2" ;; esac
    [ "$(id -u)" = 0 ] || fail "must be root"
}

# Sets `hoist`: the binary that HOIST names, else the one that cargo builds.
find_hoist() {
    if [ -n "${HOIST:-}" ]; then
        hoist=$(readlink -f "$HOIST"); [ -x "$hoist" ] || fail "HOIST=$HOIST cannot be run"
    else
        cargo build --quiet --release -p hoist-cli
        hoist=$(readlink -f "$(ls -t target/*/release/hoist | head -1)")
    fi
}

# Sets `python`: the 3.13 that BENCH_PYTHON names, else one of this machine that can make environments (a shim of pyenv may lead nowhere).
find_python() {
    for python in "${BENCH_PYTHON:-}" "$(command -v python3.13 || true)" "$HOME"/.pyenv/versions/3.13*/bin/python3.13 "$HOME"/.local/share/uv/python/*3.13*/bin/python3.13; do
        [ -x "$python" ] && "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13))' 2> /dev/null && return 0
    done
    fail "no Python 3.13 with venv and ensurepip was found; name one: BENCH_PYTHON=…"
}

# The mirror of this machine, from its own settings; nothing of it is written into the repository.
machine_mirror() {
    found=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/*.sources 2> /dev/null || true)
    [ -n "$found" ] || found=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }' /etc/apt/sources.list 2> /dev/null || true)
    [ -n "$found" ] || fail "no mirror is set up in /etc/apt"
    echo "$found"
}

say() { echo "bench: ${SECONDS} s: $*" >&2; }

# start_folder: sets `dir`, a new folder below BENCH_DIR, which goes away at the end with what is mounted in it, the daemon of start_docker and the
# control groups that it leaves. A script that has more to end defines also_clean. HOIST_STORE lies in it.
start_folder() {
    dir=$(mktemp -d "${BENCH_DIR:-/tmp}/hoist-bench.XXXXXX")
    chmod 755 "$dir"
    daemon=
    tool_groups > "$dir/groups"
    trap clean_folder EXIT
    trap 'exit 130' INT TERM
    export HOIST_STORE=$dir/store
}
also_clean() { :; }
clean_folder() {
    set +e
    if [ -n "$daemon" ]; then kill "$daemon"; wait "$daemon"; fi
    also_clean
    remove_tool_groups
    awk -v under="$dir/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mounted; do umount "$mounted"; done
    if grep -q " $dir/" /proc/mounts; then echo "bench: $dir is left, something is mounted below it" >&2; else rm -rf "$dir"; fi
}
# Empty control groups that docker and podman leave: those that were not there before are removed at the end.
tool_groups() { find /sys/fs/cgroup -mindepth 1 -maxdepth 4 -type d \( -name docker -o -name libpod_parent \) -prune | sort; }
# Podman's monitors leave their groups a moment after the container is gone, so it takes more than one try.
remove_tool_groups() {
    for _ in $(seq 50); do
        left=$(tool_groups | comm -13 "$dir/groups" -)
        [ -n "$left" ] || return 0
        echo "$left" | while read -r group; do find "$group" -depth -type d -exec rmdir {} \; 2> /dev/null; done
        sleep 0.1
    done
    echo "bench: control groups are left, something lives in them: $left" >&2
}

# start_docker: a docker daemon with folders of its own, and `dock`, its classic build. Neither bridge nor firewall rules: containers use the host's
# network, and the machine's network stays as it is.
start_docker() {
    export DOCKER_BUILDKIT=0 DOCKER_HOST=unix://$dir/docker.sock
    dock="docker build --quiet --network host"
    dockerd --data-root "$dir/docker" --exec-root "$dir/docker-run" --host "$DOCKER_HOST" --pidfile "$dir/docker.pid" \
        --bridge=none --iptables=false --ip6tables=false > "$dir/dockerd.log" 2>&1 &
    daemon=$!
    for _ in $(seq 100); do docker version > /dev/null 2>&1 && return 0; sleep 0.1; done
    tail -5 "$dir/dockerd.log" >&2
    fail "the docker daemon did not start"
}

# debian_tree NAME PACKAGES: a Debian tree as $trees/NAME.tar, made with mmdebstrap where it is not there. BENCH_TREES names the folder.
debian_tree() {
    trees=${BENCH_TREES:-$dir}
    [ -s "$trees/$1.tar" ] || mmdebstrap --quiet --variant=minbase --include="$2" trixie "$trees/$1.tar" \
        "deb [signed-by=$PWD/crates/debian/keys/debian-archive-keyring.gpg] $(machine_mirror) trixie main" 2>> "$dir/log"
}

# seed_folder: $dir/seed with the machine's own certificates and index settings, for the base of the Dockerfiles.
seed_folder() {
    mkdir "$dir/seed"
    cat "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" > "$dir/seed/ca.pem"
    printf '[global]\n%s\n' "${PIP_INDEX_URL:+index-url = $PIP_INDEX_URL}" > "$dir/seed/pip.conf"
}

# docker_base: a docker daemon with the Debian tree, and the image hoist-bench-base: Python, pip and the machine's settings for it.
docker_base() {
    debian_tree base python3,python3-venv,python3-pip,ca-certificates
    start_docker
    docker import "$trees/base.tar" hoist-bench-debian > /dev/null
    seed_folder
    $dock -t hoist-bench-base -f bench/dockerfiles/base.Dockerfile "$dir/seed" >> "$dir/log" 2>&1 || fail "docker build of the base failed: $(tail -3 "$dir/log")"
}

# measure NAME ARGUMENTS: one run of hyperfine, with its figures in $dir/NAME.json.
measure() {
    local file=$dir/$1.json
    shift
    hyperfine --style basic --export-json "$file" "$@" >> "$dir/log" 2>&1 || { tail -20 "$dir/log" >&2; fail "a measured command failed"; }
}

# point TITLE TARGET JSON: a table of one hyperfine export; the first command is hoist's, the others are given as multiples of it. A command that
# failed was not measured, and says so.
point() {
    printf '\n### %s\n\nTarget: %s\n\n| | median | lowest to highest | times hoist |\n|---|---|---|---|\n' "$1" "$2"
    jq -r --arg unit "${4:-s}" '(.results[0].median) as $first | (if $unit == "ms" then 1000 else 1 end) as $k
        | def show: . * $k * 1000 | round / 1000 | tostring;
          .results[] | "| \(.command) | \(.median | show) \($unit) | \(.min | show) to \(.max | show) | \(.median / $first * 100 | round / 100) |"' "$3"
}

# summary TITLE TARGET JSON: a row of the summary; nothing where the point was not measured. TARGET is a number of seconds, or a factor and a tool.
summary() {
    [ -s "$3" ] || return 0
    jq -r --arg title "$1" --arg target "$2" '
        .results as $all | $all[0].median as $hoist
        | def of($tool): [$all[] | select(.command | startswith($tool))][0].median;
          def times($tool): of($tool) | if . == null then "" else (. / $hoist * 100 | round / 100 | tostring) end;
          def shown: if . < 0.1 then "\(. * 10000 | round / 10) ms" else "\(. * 1000 | round / 1000) s" end;
          ($target | split(" ")) as $t
        | (if ($t | length) == 1 then ($t[0] | tonumber) else ($t[0] | tonumber) * of($t[1]) end) as $limit
        | "| \($title) | \($limit | shown)\(if ($t | length) == 1 then "" else " (\($t[0]) × \($t[1]))" end) | \($hoist | shown) | \(if $hoist <= $limit then "yes" else "no, \($hoist / $limit * 100 | round / 100) ×" end) | \(times("docker")) | \(times("podman")) | \(times("buildah")) | \(times("pip")) | \(times("uv")) | \(times("runc")) | \(times("mmdebstrap")) |"' "$3"
}
