#!/bin/bash
# Every way to declare dependencies beside the tool that it belongs to: one app with the same 25 packages (Flask, gunicorn, requests, pydantic, SQLAlchemy,
# pandas) as requirements.txt, uv.lock, poetry.lock, pdm.lock and Pipfile.lock. For each: a first build with all packages cached, a build of what did not
# change, and a build after one dependency (tabulate) more; by hoist, by the tool itself (an environment, no image) and by a docker build of a careful
# Dockerfile. Prints the tables of bench/README.md.
# As root. Needs hyperfine, jq, mmdebstrap, docker.io, a Python 3.13 with venv, and the machine's own package indexes; the tools come from there.
# Starts its own docker daemon in its own folder and ends it; leaves nothing behind.
# Usage: [VARIABLES] bench/managers.sh [RUNS]
#   RUNS            of each quick command, 7 if not given
#   HOIST           the binary to be measured; otherwise cargo builds one
#   BENCH_MANAGERS  "pip uv" measures these alone
#   BENCH_DIR       folder to work in, /tmp if not given; needs 5 GB
#   BENCH_PYTHON    the Python 3.13 for the tools
#   BENCH_TREES     folder that has base.tar of an earlier run, or gets it
#   BENCH_STORE     a store of hoist with its base and caches; it is copied
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
read_runs "${1:-}" 7
slow=$((runs < 3 ? runs : 3))
managers=${BENCH_MANAGERS:-pip uv poetry pdm pipenv}
need hyperfine hyperfine; need jq jq; need mmdebstrap mmdebstrap; need docker docker.io; need dockerd docker.io
find_hoist
find_python
start_folder
# What the tools keep stays in the folder, too.
export XDG_CACHE_HOME=$dir/caches XDG_CONFIG_HOME=$dir/config XDG_DATA_HOME=$dir/data XDG_STATE_HOME=$dir/state
export PIP_CACHE_DIR=$dir/caches/pip UV_CACHE_DIR=$dir/caches/uv UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 UV_LINK_MODE=copy
export POETRY_VIRTUALENVS_IN_PROJECT=1 PDM_CHECK_UPDATE=0 PDM_PYTHON=$python PIPENV_VENV_IN_PROJECT=1 PIPENV_NOSPIN=1 PIPENV_IGNORE_VIRTUALENVS=1
index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2> /dev/null || "$python" -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')}
wanted="Flask gunicorn requests pydantic SQLAlchemy pandas"

# What each tool is called at the index, which files declare the dependencies, and how it installs them into .venv, bytecode included where it can.
package() { case $1 in pdm) echo "pdm[locked]" ;; *) echo "$1" ;; esac; }
declare -A lock=([pip]=requirements.txt [uv]=uv.lock [poetry]=poetry.lock [pdm]=pdm.lock [pipenv]=Pipfile.lock)
install() {
    case $1 in
        pip) echo "$2 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt" ;;
        uv) echo "uv sync --quiet --frozen --no-dev --compile-bytecode --python $2" ;;
        poetry) echo "poetry sync --quiet --no-interaction --only main --no-root --compile" ;;
        pdm) echo "pdm sync --quiet --prod --no-self" ;;
        pipenv) echo "pipenv sync --quiet --python $2" ;;
    esac
}
# How it makes its lock, and its files, with the packages that are named.
project() {
    local list
    list=$(printf '"%s", ' $2)
    case $1 in
        pip) printf '%s\n' $2 > requirements.in ;;
        pipenv)
            printf '[[source]]\nurl = "%s"\nverify_ssl = true\nname = "index"\n\n[packages]\n' "$index" > Pipfile
            printf '%s = "*"\n' $2 >> Pipfile
            printf '\n[requires]\npython_version = "3.13"\n' >> Pipfile ;;
        *)
            printf '[project]\nname = "bench"\nversion = "1.0"\nrequires-python = ">=3.13,<3.14"\ndependencies = [%s]\n' "${list%, }" > pyproject.toml
            case $1 in
                poetry) printf '\n[tool.poetry]\npackage-mode = false\n\n[[tool.poetry.source]]\nname = "index"\nurl = "%s"\npriority = "primary"\n' "$index" >> pyproject.toml ;;
                pdm) printf '\n[tool.pdm]\ndistribution = false\n' >> pyproject.toml ;;
            esac ;;
    esac
    case $1 in
        pip) uv pip compile --quiet --generate-hashes --python "$python" requirements.in -o requirements.txt > /dev/null && rm requirements.in ;;
        uv) uv lock --quiet --python "$python" ;;
        poetry) poetry lock --quiet --no-interaction ;;
        pdm) pdm lock --quiet ;;
        pipenv) pipenv lock --quiet --python "$python" ;;
    esac
}

say "the Debian tree, docker with it, and the tools"
docker_base
path=$PATH
for tool in uv $managers; do
    [ ! -d "$dir/tools/$tool" ] || continue
    "$python" -m venv "$dir/tools/$tool"
    "$dir/tools/$tool/bin/pip" install --quiet "$(package "$tool")" >> "$dir/log" 2>&1 || fail "$tool could not be installed: $(tail -3 "$dir/log")"
    path=$dir/tools/$tool/bin:$path
done
export PATH=$path

[ -z "${BENCH_STORE:-}" ] || cp -a "$BENCH_STORE" "$HOIST_STORE"
"$hoist" --quiet base show > /dev/null

# put MANAGER less|more: the manifests into hoist's app, docker's context and the tool's folder. The lock ends in a line of blanks of another length
# each time, so that nobody has seen it before.
cat > "$dir/put" <<'PUT'
#!/bin/bash
set -eu
cd "$(dirname "$0")/$1"
for place in hoist docker/manifests tool; do cp "$2"/* "$place/"; done
[ -z "${3:-}" ] || for place in hoist docker/manifests tool; do printf '%*s\n' "$((RANDOM % 5000 + 1))" '' >> "$place/$3"; done
PUT
chmod +x "$dir/put"

for manager in $managers; do
    say "$manager: locks and first builds"
    at=$dir/$manager
    mkdir -p "$at"/{less,more,hoist,docker/manifests,docker/app,tool}
    (cd "$at/less" && project "$manager" "$wanted") >> "$dir/log" 2>&1 || fail "no lock of $manager: $(tail -3 "$dir/log")"
    (cd "$at/more" && project "$manager" "$wanted tabulate") >> "$dir/log" 2>&1 || fail "no lock of $manager: $(tail -3 "$dir/log")"
    for place in hoist docker/app; do cp examples/web/app.py examples/web/Procfile "$at/$place/"; done
    # The caches of all get the package that comes later, too.
    "$dir/put" "$manager" more
    "$hoist" --quiet build "$manager" --path "$at/hoist" > /dev/null
    $dock -t "hoist-bench-$manager" --build-arg "TOOL=$(package "$manager")" --build-arg "INSTALL=export PATH=/tool/bin:\$PATH; $(install "$manager" python3)" \
        -f bench/dockerfiles/tool.Dockerfile "$at/docker/manifests" >> "$dir/log" 2>&1 || fail "docker build with $manager failed: $(tail -3 "$dir/log")"
    (cd "$at/tool" && sh -ec "$(install "$manager" "$python")") >> "$dir/log" 2>&1 || fail "$manager could not install: $(tail -3 "$dir/log")"
    "$dir/put" "$manager" less
    [ "$manager" != "${managers%% *}" ] || { cp "$at/tool/requirements.txt" "$dir/list.txt" 2> /dev/null || (cd "$dir" && mkdir list && cd list && project pip "$wanted" && mv requirements.txt ../list.txt); }

    ours="$hoist --quiet build $manager --path $at/hoist"
    forget="$hoist --quiet image rm $manager && rm -rf $HOIST_STORE/records/build-cache && $hoist --quiet system prune"
    theirs="cd $at/tool && $(install "$manager" "$python")"
    docks="$dock -t $manager-docker --build-arg BASE=hoist-bench-$manager --build-arg 'INSTALL=export PATH=/tool/bin:\$PATH; $(install "$manager" python3)' -f $PWD/bench/dockerfiles/managed.Dockerfile $at/docker"

    "$hoist" --quiet build "$manager" --path "$at/hoist" > /dev/null
    measure "first-hoist-$manager" --runs "$slow" --prepare "$forget" -n hoist "$ours --clear-cache"
    measure "first-tool-$manager" --runs "$slow" --prepare "rm -rf $at/tool/.venv" -n "$manager itself" "$theirs"
    measure "first-docker-$manager" --runs 1 -n "docker build" "${docks/--quiet/--quiet --no-cache}"
    measure "first-uv-$manager" --runs "$slow" --prepare "rm -rf $dir/empty && uv venv --quiet --python $python $dir/empty" \
        -n "uv alone" "uv pip sync --quiet --compile-bytecode --python $dir/empty $dir/list.txt"
    measure "same-$manager" --warmup 1 --runs "$runs" -n hoist "$ours" -n "$manager itself" "$theirs" -n "docker build" "$docks"
    grown="$dir/put $manager more ${lock[$manager]}"
    measure "more-hoist-$manager" --runs "$slow" --prepare "$dir/put $manager less && $ours && $grown" -n hoist "$ours"
    measure "more-tool-$manager" --runs "$slow" --prepare "$dir/put $manager less && rm -rf $at/tool/.venv && $theirs && $grown" -n "$manager itself" "$theirs"
    measure "more-docker-$manager" --runs 1 --prepare "$grown" -n "docker build" "$docks"
    "$hoist" --quiet image rm "$manager" > /dev/null
done

# The median of one command in one or more exports.
of() { jq -s -r --arg tool "$1" '[.[].results[] | select(.command | startswith($tool))][0].median' "${@:2}"; }
ratio() { jq -n -r --argjson a "$1" --argjson b "$2" '$a / $b * 100 | round / 100'; }
row() {
    local hoist_time
    hoist_time=$(of hoist "$dir/$2"*"-$manager.json")
    printf '| %s | %s s |' "$manager" "$(jq -n --argjson a "$hoist_time" '$a * 1000 | round / 1000')"
    for tool in "$manager itself" "docker build" ${3:+"$3"}; do printf ' %s |' "$(ratio "$(of "$tool" "$dir/$2"*"-$manager.json")" "$hoist_time")"; done
    printf '\n'
}
table() {
    printf '\n### %s\n\nTarget: %s\n\n| | hoist | the tool itself | docker build |%s\n|---|---|---|---|%s\n' "$1" "$3" "${4:+ $4 |}" "${4:+---|}"
    for manager in $managers; do row "$manager" "$2" "${4:-}"; done
}
table "First build, packages cached" first "1.3 × uv alone" "uv alone"
table "Nothing changed" same "0.10 s"
table "One dependency more" more "1.5 s"
printf '\nThe others as multiples of hoist; docker measured once where it builds. The tools make an environment and no image.\n'

printf '\nLoad after the measuring: %s; %s s in all\n' "$(cut -d' ' -f1-3 /proc/loadavg)" "$SECONDS"
