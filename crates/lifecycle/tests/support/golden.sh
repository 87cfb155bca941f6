# A buildpack's bin/build that leaves everything that a tar may trip over. The digests in tests/golden.rs are those that the Go lifecycle gives these files.
umask 022
layer="$CNB_LAYERS_DIR/odd"
long=$(printf 'n%.0s' {1..120})
half=$(printf 'd%.0s' {1..60})
mkdir -p "$layer"/{bin,empty,tmp,group,a} "$layer/deep/$long/$long" "$layer/$half/$half"
printf 'tool\n' > "$layer/bin/tool"
printf 's\n' > "$layer/bin/setuid"
chmod 755 "$layer/bin/tool"
chmod 4755 "$layer/bin/setuid"
chmod 1777 "$layer/tmp"
chmod 2775 "$layer/group"
ln "$layer/bin/tool" "$layer/hard"
ln -s bin/tool "$layer/link"
ln -s ../../../nowhere "$layer/dangling"
ln -s "/opt/$long" "$layer/long-link"
ln -s $'\xff' "$layer/odd-link"
printf long > "$layer/$long"
printf deep > "$layer/deep/$long/$long/file"
printf split > "$layer/$half/$half/file"
printf 1 > "$layer/with space"
printf 2 > "$layer/"$'\xc3\xbcmlaut'
printf 3 > "$layer/"$'\xff\xfe'
printf 4 > "$layer/"$'new\nline'
printf r > "$layer/read-only"
printf p > "$layer/private"
chmod 444 "$layer/read-only"
chmod 600 "$layer/private"
: > "$layer/zero"
truncate -s 10485761 "$layer/sparse"
printf a > "$layer/a/b"
printf a > "$layer/a-b"
printf a > "$layer/a.b"
mkfifo "$layer/fifo"
printf '[types]\nlaunch = true\n' > "$layer.toml"

mkdir -p static src/deep empty
printf a > static/a.js
printf b > static/b.css
printf i > index.html
printf s > 'src/x y.py'
printf d > src/deep/z
printf 1 > aa
printf 2 > ab
ln -s src/deep here

printf '{"n":1}\n' > "$layer.sbom.cdx.json"
printf '{"n":2}\n' > "$CNB_LAYERS_DIR/launch.sbom.cdx.json"
cat > "$CNB_LAYERS_DIR/launch.toml" <<'TOML'
[[labels]]
key = "maker"
value = 'me & "you" <x>'
[[processes]]
type = "worker"
command = ["ho"]
working-dir = "/tmp"
[[processes]]
type = "web"
command = ["hi", "--fixed <&>"]
args = ["--free", "tab\there"]
default = true
[[slices]]
paths = ["static/*.js", "nothing*"]
[[slices]]
paths = ["src", "a?"]
TOML
