# Shared by the scripts of this folder: what they need, where the binary is, a folder that goes away, figures and ratios. Sourced, not run.

fail() { echo "bench: $*" >&2; exit 3; }

# need PROGRAM PACKAGE: fails with the Debian package that brings the program.
need() { command -v "$1" > /dev/null || fail "$1 is missing (Debian package $2)"; }

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
