//! What the build of a source distribution lacks: headers, libraries, programs, read off the words of compilers, of pkg-config and of build
//! backends, and the Debian package that has it. Names no package that it does not know, unless it says that it guesses.

use std::collections::BTreeSet;

use super::text::between;

/// More are no help to a person.
const MAX_NAMED: usize = 12;

/// What is missing, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// `PostgreSQL's client library`, `the header graphviz/cgraph.h`.
    pub(super) what: String,
    pub(super) fix: String,
}

/// The headers of libraries that Python packages are built against: the header or where it begins, the library, its Debian packages.
const HEADERS: &[(&str, &str, &str)] = &[
    ("libpq-fe.h", "PostgreSQL's client library", "libpq-dev"),
    ("geos_c.h", "GEOS", "libgeos-dev"),
    ("proj.h", "PROJ", "libproj-dev"),
    ("ffi.h", "libffi", "libffi-dev"),
    ("openssl/ssl.h", "OpenSSL", "libssl-dev"),
    ("openssl/opensslv.h", "OpenSSL", "libssl-dev"),
    ("libxml/xmlversion.h", "libxml2 and libxslt", "libxml2-dev libxslt1-dev"),
    ("zlib.h", "zlib", "zlib1g-dev"),
    ("jpeglib.h", "libjpeg", "libjpeg-dev"),
    ("sqlite3.h", "SQLite", "libsqlite3-dev"),
    ("ldap.h", "OpenLDAP", "libldap-dev libsasl2-dev"),
    ("lber.h", "OpenLDAP", "libldap-dev libsasl2-dev"),
    ("sasl.h", "SASL", "libsasl2-dev"),
    ("hdf5.h", "HDF5", "libhdf5-dev"),
    ("cairo.h", "Cairo", "libcairo2-dev"),
    ("graphviz/cgraph.h", "Graphviz", "libgraphviz-dev"),
    ("magic.h", "libmagic", "libmagic-dev"),
    ("sql.h", "unixODBC", "unixodbc-dev"),
    ("sybdb.h", "FreeTDS", "freetds-dev"),
    ("lmdb.h", "LMDB", "liblmdb-dev"),
    ("leveldb/db.h", "LevelDB", "libleveldb-dev"),
    ("librdkafka/rdkafka.h", "librdkafka", "librdkafka-dev"),
    ("libmemcached/memcached.h", "libmemcached", "libmemcached-dev"),
    ("pcap.h", "libpcap", "libpcap-dev"),
    ("lzma.h", "liblzma", "liblzma-dev"),
    ("bzlib.h", "bzip2", "libbz2-dev"),
    ("readline/readline.h", "GNU Readline", "libreadline-dev"),
    ("curses.h", "ncurses", "libncurses-dev"),
    ("uuid/uuid.h", "libuuid", "uuid-dev"),
    ("expat.h", "Expat", "libexpat1-dev"),
    ("systemd/sd-journal.h", "systemd's library", "libsystemd-dev"),
    ("libudev.h", "udev's library", "libudev-dev"),
    ("cups/cups.h", "CUPS", "libcups2-dev"),
    ("alsa/asoundlib.h", "ALSA", "libasound2-dev"),
    ("bluetooth/bluetooth.h", "BlueZ", "libbluetooth-dev"),
    ("X11/Xlib.h", "X11", "libx11-dev"),
    ("GL/gl.h", "OpenGL", "libgl-dev"),
    ("boost/", "Boost", "libboost-all-dev"),
    ("fftw3.h", "FFTW", "libfftw3-dev"),
    ("gsl/", "the GNU Scientific Library", "libgsl-dev"),
    ("mpc.h", "MPC", "libmpc-dev"),
    ("sodium.h", "libsodium", "libsodium-dev"),
    ("zmq.h", "ZeroMQ", "libzmq3-dev"),
    ("ev.h", "libev", "libev-dev"),
    ("oniguruma.h", "Oniguruma", "libonig-dev"),
    ("freetype/", "FreeType", "libfreetype-dev"),
    ("ft2build.h", "FreeType", "libfreetype-dev"),
    ("tiff.h", "libtiff", "libtiff-dev"),
    ("netcdf.h", "NetCDF", "libnetcdf-dev"),
    ("ogr_api.h", "GDAL", "libgdal-dev"),
    ("portaudio.h", "PortAudio", "portaudio19-dev"),
    ("sndfile.h", "libsndfile", "libsndfile1-dev"),
    ("snappy-c.h", "Snappy", "libsnappy-dev"),
    ("gmp.h", "GMP", "libgmp-dev"),
    ("mpfr.h", "MPFR", "libmpfr-dev"),
    ("yaml.h", "libyaml", "libyaml-dev"),
    ("Python.h", "the headers of Python", "libpython3-dev"),
];

/// Programs that builds start: the name, what it belongs to, its Debian packages.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("pg_config", "PostgreSQL's client library", "libpq-dev"),
    ("mysql_config", "MySQL's client library", "default-libmysqlclient-dev"),
    ("mariadb_config", "MariaDB's client library", "libmariadb-dev"),
    ("gdal-config", "GDAL", "libgdal-dev"),
    ("geos-config", "GEOS", "libgeos-dev"),
    ("krb5-config", "Kerberos", "libkrb5-dev"),
    ("curl-config", "libcurl", "libcurl4-openssl-dev"),
    ("xml2-config", "libxml2 and libxslt", "libxml2-dev libxslt1-dev"),
    ("xslt-config", "libxml2 and libxslt", "libxml2-dev libxslt1-dev"),
    ("nc-config", "NetCDF", "libnetcdf-dev"),
    ("cups-config", "CUPS", "libcups2-dev"),
    ("sdl2-config", "SDL", "libsdl2-dev"),
    ("llvm-config", "LLVM", "llvm-dev"),
    ("mpicc", "MPI", "libopenmpi-dev"),
    ("cargo", "the Rust toolchain", "cargo rustc"),
    ("rustc", "the Rust toolchain", "cargo rustc"),
    ("cmake", "CMake", "cmake"),
    ("ninja", "Ninja", "ninja-build"),
    ("make", "make", "make"),
    ("pkg-config", "pkg-config", "pkgconf"),
    ("swig", "SWIG", "swig"),
    ("protoc", "the compiler of Protocol Buffers", "protobuf-compiler"),
    ("gfortran", "a Fortran compiler", "gfortran"),
    ("gcc", "a C compiler", "gcc"),
    ("x86_64-linux-gnu-gcc", "a C compiler", "gcc"),
    ("aarch64-linux-gnu-gcc", "a C compiler", "gcc"),
    ("g++", "a C++ compiler", "g++"),
];

/// How a missing program is told of, before and behind its name.
const NO_PROGRAM: &[(&str, &str)] = &[
    ("", ": not found"),
    ("", ": command not found"),
    ("", " executable not found"),
    ("No such file or directory: '", "'"),
    ("command '", "' failed: No such file"),
    ("unable to execute '", "': No such file"),
    ("Could not run ", ":"),
    ("Could not find ", " "),
    ("Unable to locate ", " "),
];

/// Other words of builds, what is missing, and its Debian packages.
const WORDS: &[(&str, &str, &str)] = &[
    ("mysql_config not found", "MySQL's client library", "default-libmysqlclient-dev"),
    ("Can not find valid pkg-config name", "MySQL's client library", "default-libmysqlclient-dev"),
    ("gdal_config_error", "GDAL", "libgdal-dev"),
    ("A GDAL API version must be specified", "GDAL", "libgdal-dev"),
    ("Could not find directory of OpenSSL", "OpenSSL", "libssl-dev"),
    ("libxml2 and libxslt development packages", "libxml2 and libxslt", "libxml2-dev libxslt1-dev"),
    ("The headers or library files could not be found for jpeg", "libjpeg", "libjpeg-dev zlib1g-dev"),
    ("Unable to find HDF5", "HDF5", "libhdf5-dev"),
    ("cargo, the Rust package manager, is not installed", "the Rust toolchain", "cargo rustc"),
    ("can't find Rust compiler", "the Rust toolchain", "cargo rustc"),
    ("CMake must be installed", "CMake", "cmake"),
    ("Unknown compiler(s): [['gfortran']", "a Fortran compiler", "gfortran"),
    ("No BLAS/LAPACK libraries found", "BLAS and LAPACK", "libopenblas-dev"),
];

/// What pkg-config calls libraries, and their Debian packages.
const PKG_CONFIG: &[(&str, &str)] = &[
    ("oniguruma", "libonig-dev"),
    ("cairo", "libcairo2-dev"),
    ("libpq", "libpq-dev"),
    ("libxml-2.0", "libxml2-dev"),
    ("libxslt", "libxslt1-dev"),
    ("libffi", "libffi-dev"),
    ("openssl", "libssl-dev"),
    ("libssl", "libssl-dev"),
    ("libcrypto", "libssl-dev"),
    ("zlib", "zlib1g-dev"),
    ("dbus-1", "libdbus-1-dev"),
    ("glib-2.0", "libglib2.0-dev"),
    ("gobject-2.0", "libglib2.0-dev"),
    ("gobject-introspection-1.0", "libgirepository1.0-dev"),
    ("girepository-2.0", "libgirepository-2.0-dev"),
    ("xmlsec1", "libxmlsec1-dev"),
    ("libcurl", "libcurl4-openssl-dev"),
    ("hdf5", "libhdf5-dev"),
    ("freetype2", "libfreetype-dev"),
    ("libpng", "libpng-dev"),
    ("libjpeg", "libjpeg-dev"),
    ("opencv4", "libopencv-dev"),
    ("sndfile", "libsndfile1-dev"),
    ("alsa", "libasound2-dev"),
    ("jack", "libjack-dev"),
    ("portaudio-2.0", "portaudio19-dev"),
    ("gstreamer-1.0", "libgstreamer1.0-dev"),
    ("pango", "libpango1.0-dev"),
    ("gdk-pixbuf-2.0", "libgdk-pixbuf-2.0-dev"),
    ("gtk+-3.0", "libgtk-3-dev"),
    ("sdl2", "libsdl2-dev"),
    ("libusb-1.0", "libusb-1.0-0-dev"),
    ("libzmq", "libzmq3-dev"),
    ("mysqlclient", "default-libmysqlclient-dev"),
    ("mariadb", "libmariadb-dev"),
    ("poppler-cpp", "libpoppler-cpp-dev"),
    ("tesseract", "libtesseract-dev"),
    ("lept", "libleptonica-dev"),
    ("krb5", "libkrb5-dev"),
    ("krb5-gssapi", "libkrb5-dev"),
    ("mit-krb5-gssapi", "libkrb5-dev"),
    ("libcgraph", "libgraphviz-dev"),
    ("libgvc", "libgraphviz-dev"),
    ("openblas", "libopenblas-dev"),
    ("lapack", "liblapack-dev"),
    ("blas", "libblas-dev"),
    ("eigen3", "libeigen3-dev"),
    ("augeas", "libaugeas-dev"),
    ("snappy", "libsnappy-dev"),
    ("re2", "libre2-dev"),
    ("icu-i18n", "libicu-dev"),
    ("icu-uc", "libicu-dev"),
    ("x11", "libx11-dev"),
    ("gl", "libgl-dev"),
    ("proj", "libproj-dev"),
    ("geos", "libgeos-dev"),
    ("gdal", "libgdal-dev"),
    ("sqlite3", "libsqlite3-dev"),
    ("libevent", "libevent-dev"),
    ("vips", "libvips-dev"),
    ("fuse", "libfuse-dev"),
    ("fuse3", "libfuse3-dev"),
    ("ncurses", "libncurses-dev"),
    ("netcdf", "libnetcdf-dev"),
    ("rdkafka", "librdkafka-dev"),
    ("odbc", "unixodbc-dev"),
    ("ldap", "libldap-dev"),
    ("yaml-0.1", "libyaml-dev"),
    ("enchant-2", "libenchant-2-dev"),
    ("bluez", "libbluetooth-dev"),
    ("fftw3", "libfftw3-dev"),
    ("gsl", "libgsl-dev"),
    ("spatialindex", "libspatialindex-dev"),
    ("libmagic", "libmagic-dev"),
    ("mpfr", "libmpfr-dev"),
    ("gmp", "libgmp-dev"),
];

/// What the words of a failed build, all on one line, say that it misses.
pub(super) fn missing(flat: &str) -> Option<Missing> {
    let header = all_between(flat, "fatal error: ", ": No such file or directory").into_iter().next();
    header
        .and_then(known_header)
        .or_else(|| by_pkg_config(flat))
        .or_else(|| by_program(flat))
        .or_else(|| {
            let (_, what, packages) = WORDS.iter().find(|(symptom, ..)| flat.contains(symptom))?;
            Some(known(what, packages))
        })
        .or_else(|| {
            HEADERS.iter().find(|(name, ..)| names_header(flat, name)).map(|(_, what, packages)| known(what, packages))
        })
        .or_else(|| header.map(unknown_header))
        .or_else(|| by_linker(flat))
}

fn known(what: &str, packages: &str) -> Missing {
    let these = if packages.contains(' ') { "those packages" } else { "that package" };
    let fix = format!("write {packages} into a file apt.txt: hoist installs {these} of Debian for the build");
    Missing { what: what.to_owned(), fix }
}

fn known_header(header: &str) -> Option<Missing> {
    let is_it = |name: &str| if name.ends_with('/') { header.starts_with(name) } else { header == name };
    HEADERS.iter().find(|(name, ..)| is_it(name)).map(|(_, what, packages)| known(what, packages))
}

/// Whether the words name a header: alone, or at the end of a path.
fn names_header(flat: &str, name: &str) -> bool {
    let begins = |at: usize| !flat[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    !name.ends_with('/') && flat.match_indices(name).any(|(at, _)| begins(at))
}

fn unknown_header(header: &str) -> Missing {
    Missing {
        what: format!("the header {header}"),
        fix: format!(
            "find the Debian package that has it (`apt-file search {header}`), and write its name into a file apt.txt: hoist installs it for the build"
        ),
    }
}

fn by_program(flat: &str) -> Option<Missing> {
    let is_missing = |name: &str| {
        NO_PROGRAM.iter().any(|(before, after)| {
            let said = format!("{before}{name}{after}");
            // Not as the end of another name.
            flat.match_indices(&said).any(|(at, _)| at == 0 || flat[..at].ends_with([' ', '`', '\'', '"', '/']))
        })
    };
    let (_, what, packages) = PROGRAMS.iter().find(|(name, ..)| is_missing(name))?;
    Some(known(what, packages))
}

fn by_pkg_config(flat: &str) -> Option<Missing> {
    let mut names = BTreeSet::new();
    for (before, after) in [
        ("Package ", " was not found in the pkg-config search path"),
        ("Package '", "', required by '"),
        ("No package '", "' found"),
        ("Dependency \"", "\" not found"),
    ] {
        names.extend(all_between(flat, before, after));
    }
    names.retain(|name| !name.contains(' '));
    if names.is_empty() || names.len() > MAX_NAMED {
        return None;
    }
    let (mut packages, mut is_guess) = (BTreeSet::new(), false);
    for name in &names {
        match PKG_CONFIG.iter().find(|(known, _)| known == name) {
            Some((_, package)) => packages.insert((*package).to_owned()),
            None if name.starts_with("lib") => {
                is_guess = true;
                packages.insert(format!("{name}-dev"))
            }
            None => {
                let fix = format!(
                    "find the Debian package that has {name}.pc (`apt-file search {name}.pc`), and write its name into a file apt.txt: hoist installs it \
                     for the build"
                );
                return Some(Missing { what: format!("{name}, which pkg-config does not find"), fix });
            }
        };
    }
    let mut found = known("", &Vec::from_iter(packages).join(" "));
    if is_guess {
        found.fix.push_str("; their names are guessed");
    }
    found.what = format!("{}, which pkg-config does not find", Vec::from_iter(names).join(", "));
    Some(found)
}

fn by_linker(flat: &str) -> Option<Missing> {
    let name = all_between(flat, "ld: cannot find -l", " ").into_iter().next()?.trim_end_matches(':');
    let known_by_name = |(known, _): &&(&str, &str)| [name, &format!("lib{name}")].contains(known);
    let what = format!("the library lib{name}.so");
    Some(match PKG_CONFIG.iter().find(known_by_name) {
        Some((_, package)) => known(&what, package),
        None => Missing {
            fix: format!(
                "find the Debian package that has it (`apt-file search lib{name}.so`), and write its name into a file apt.txt: hoist installs it for the \
                 build"
            ),
            what,
        },
    })
}

/// Each text that stands between the two marks, without blanks in it.
fn all_between<'a>(flat: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    let found = flat.match_indices(before).filter_map(|(at, _)| between(&flat[at..], before, after));
    found
        .filter(|text| !text.is_empty() && text.len() <= 120 && !text.contains(char::is_whitespace))
        .take(100)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_missing(said: &str, what: &str, fix: &str) {
        let found = missing(said).unwrap();
        assert_eq!(found.what, what, "{said}");
        assert!(found.fix.starts_with(fix), "{found:?}");
    }

    #[test]
    fn headers_are_told_with_their_package_or_by_name() {
        let no_file = ": No such file or directory 12 | #include";
        for (header, what, fix) in [
            ("ffi.h", "libffi", "write libffi-dev into a file apt.txt"),
            ("graphviz/cgraph.h", "Graphviz", "write libgraphviz-dev into"),
            ("boost/python.hpp", "Boost", "write libboost-all-dev into"),
            ("lber.h", "OpenLDAP", "write libldap-dev libsasl2-dev into a file apt.txt: hoist installs those packages"),
            (
                "acme/wild.h",
                "the header acme/wild.h",
                "find the Debian package that has it (`apt-file search acme/wild.h`)",
            ),
            ("myffi.h", "the header myffi.h", "find the Debian package"),
        ] {
            assert_missing(&format!("x.c:12:10: fatal error: {header}{no_file}"), what, fix);
        }
        assert_missing("checking for sasl.h... no", "SASL", "write libsasl2-dev into");
        assert_eq!(missing("checking for myffi.h... no"), None);
    }

    #[test]
    fn what_pkg_config_does_not_find_is_told_by_its_names() {
        assert_missing(
            "Package libavformat was not found in the pkg-config search path. Package 'libavcodec', required by 'virtual:world', not found",
            "libavcodec, libavformat, which pkg-config does not find",
            "write libavcodec-dev libavformat-dev into a file apt.txt: hoist installs those packages of Debian for the build; their names are guessed",
        );
        assert_missing(
            "meson.build:31:12: ERROR: Dependency \"cairo\" not found, tried pkgconfig and cmake",
            "cairo, which pkg-config does not find",
            "write libcairo2-dev into a file apt.txt: hoist installs that package of Debian for the build",
        );
        assert_missing(
            "No package 'wild' found",
            "wild, which pkg-config does not find",
            "find the Debian package that has wild.pc (`apt-file search wild.pc`)",
        );
    }

    #[test]
    fn programs_are_told_with_their_package() {
        for (said, what, fix) in [
            (
                "Error: pg_config executable not found. pg_config is required",
                "PostgreSQL's client library",
                "write libpq-dev",
            ),
            ("FileNotFoundError: [Errno 2] No such file or directory: 'gdal-config'", "GDAL", "write libgdal-dev"),
            ("/bin/sh: 1: krb5-config: not found", "Kerberos", "write libkrb5-dev"),
            ("error: command 'swig' failed: No such file or directory", "SWIG", "write swig"),
            ("Cargo, the Rust package manager: cargo: not found", "the Rust toolchain", "write cargo rustc"),
            (
                "__main__.ConfigurationError: Could not run curl-config: [Errno 2]",
                "libcurl",
                "write libcurl4-openssl-dev",
            ),
        ] {
            assert_missing(said, what, fix);
        }
        assert_eq!(missing("copying pg_config.py; running pg_config; /usr/bin/pg_config found"), None);
        assert_eq!(missing("libmake: not found"), None);
    }

    #[test]
    fn what_the_linker_does_not_find_is_told() {
        assert_missing("/usr/bin/ld: cannot find -lpq: No such file", "the library libpq.so", "write libpq-dev into");
        assert_missing("/usr/bin/ld: cannot find -lwild: No such", "the library libwild.so", "find the Debian package");
        assert_eq!(missing("collect2: error: ld returned 1 exit status"), None);
    }
}
