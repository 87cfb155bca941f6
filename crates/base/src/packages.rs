//! Which packages a base is made of.
//!
//! Written as alternatives where suites name a package differently. What is excluded is what only maintainer scripts or dpkg need:
//! hoist runs no script and keeps no package manager in an image.

/// The run image: a shell and the small tools that start scripts use, certificates, time zones, and the libraries that interpreters
/// and wheels expect of any system.
pub(crate) const RUN: [&str; 27] = [
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "libbz2-1.0",
    "libc-bin",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8 | libffi7",
    "libgcc-s1",
    "liblzma5",
    "libncursesw6",
    "libreadline8t64 | libreadline8",
    "libsqlite3-0",
    "libssl3t64 | libssl3 | libssl1.1",
    "libstdc++6",
    "libuuid1",
    "mawk",
    "netbase",
    "sed",
    "tzdata",
    "zlib1g",
];

/// What the build image has besides: what building a source distribution needs.
pub(crate) const BUILD: [&str; 10] =
    ["g++", "gcc", "git", "gzip", "libc6-dev", "make", "patch", "pkg-config | pkgconf", "tar", "xz-utils"];

/// Counts as there although it is not.
pub(crate) const EXCLUDED: [&str; 20] = [
    "debconf",
    "debconf-2.0",
    "debianutils",
    "dpkg",
    "git-man",
    "init-system-helpers",
    // Only `gcc -fsanitize=` and `-fgnu-tm` need these, and they are larger than the compiler's own libraries.
    "libasan6",
    "libasan8",
    "libhwasan0",
    "libitm1",
    "liblsan0",
    "libtsan0",
    "libtsan2",
    "libubsan1",
    "libdebconfclient0",
    "liberror-perl",
    "openssl",
    "perl",
    "perl:any",
    "perl-base",
];
