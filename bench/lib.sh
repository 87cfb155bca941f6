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
