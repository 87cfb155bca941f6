#!/bin/sh
# The tests of the sandbox on another kernel than this machine's: Linux 6.1 in user mode, with control groups of version 2 alone, in which hoist is
# in a group that is delegated to the ordinary user of the tests. Needs no root, changes nothing on this machine; takes two minutes.
# Needs the files of the Debian packages user-mode-linux and busybox-static (`apt-get download`, then `dpkg -x` both into DIR).
# Usage: crates/sandbox/tests/other-kernel.sh DIR [PART OF A TEST'S NAME]
set -eu
packages=$(realpath "$1")
filter=${2:-}
cd "$(dirname "$0")/../../.."
cargo test --quiet --release -p hoist-sandbox --no-run
test=$(ls -t target/*/release/deps/sandbox-* | grep -v '\.d$' | head -1)
root=$(mktemp -d /tmp/hoist-other-kernel.XXXXXX)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
for name in bin proc sys dev tmp etc mnt; do mkdir "$root/$name"; done
cp "$packages/bin/busybox" "$root/bin/"
for name in sh sleep; do ln -s busybox "$root/bin/$name"; done
strip -o "$root/bin/sandbox-test" "$test"
find "$packages/usr/lib/uml/modules" \( -name overlay.ko -o -name ipv6.ko -o -name crc-ccitt.ko \) -exec cp {} "$root/" \;
echo 'root:x:0:0::/:/bin/sh' > "$root/etc/passwd"
echo '127.0.0.1 localhost' > "$root/etc/hosts"
echo '# none' > "$root/etc/resolv.conf"
cat > "$root/init" <<INNER
#!/bin/busybox sh
B=/bin/busybox
\$B mount -t proc proc /proc
\$B mount -t sysfs sys /sys
\$B mkdir -p /dev/pts
\$B mount -t devpts -o ptmxmode=0666 devpts /dev/pts
\$B ln -sf pts/ptmx /dev/ptmx
\$B chmod 666 /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty
\$B mount -t tmpfs -o size=1000m tmpfs /tmp
\$B insmod /crc-ccitt.ko
\$B insmod /ipv6.ko
\$B insmod /overlay.ko
\$B ifconfig lo up
\$B mount -t cgroup2 cgroup2 /sys/fs/cgroup
\$B uname -sr
cd /sys/fs/cgroup
echo "+memory +cpu +pids" > cgroup.subtree_control
\$B mkdir -p user/session
echo "+memory +cpu +pids" > user/cgroup.subtree_control
\$B chown 61234 user user/cgroup.procs user/session user/session/cgroup.procs
echo \$\$ > user/session/cgroup.procs
cd /
\$B cp /bin/sandbox-test /tmp/test
PATH=/bin /tmp/test $filter
\$B find /sys/fs/cgroup -name 'hoist-*'
\$B poweroff -f
INNER
chmod +x "$root/init"
"$packages/usr/bin/linux.uml" mem=1400M rootfstype=hostfs "rootflags=$root" rw init=/init con=null con0=fd:0,fd:1 quiet \
    < /dev/null > "$root/log" 2>&1 || true
cat "$root/log"
# There is no network to lead out to.
grep -qE '^test result: [0-9]+ passed; (0 failed \[\]|1 failed \["a_private_network_leads_out_through_pasta"\])' "$root/log"
