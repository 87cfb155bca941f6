//! Symptoms of source distributions that do not build: the missing library and its Debian package.

use super::text::{between, split_requirement};
use super::{DOING, Evidence};
use crate::failure::Failure;

/// What a build says, what is missing, which Debian package has it.
const MISSING: &[(&str, &str, &str)] = &[
    ("pg_config", "PostgreSQL's client library", "libpq-dev"),
    ("libpq-fe.h", "PostgreSQL's client library", "libpq-dev"),
    ("mysql_config", "MySQL's client library", "default-libmysqlclient-dev"),
    ("Can not find valid pkg-config name", "MySQL's client library", "default-libmysqlclient-dev"),
    ("gdal-config", "GDAL", "libgdal-dev"),
    ("gdal_config", "GDAL", "libgdal-dev"),
    ("geos_c.h", "GEOS", "libgeos-dev"),
    ("proj.h", "PROJ", "libproj-dev"),
    ("ffi.h", "libffi", "libffi-dev"),
    ("openssl/ssl.h", "OpenSSL", "libssl-dev"),
    ("openssl/opensslv.h", "OpenSSL", "libssl-dev"),
    ("Could not find directory of OpenSSL", "OpenSSL", "libssl-dev"),
    ("libxml/xmlversion.h", "libxml2 and libxslt", "libxml2-dev libxslt1-dev"),
    ("libxml2 and libxslt", "libxml2 and libxslt", "libxml2-dev libxslt1-dev"),
    ("xslt-config", "libxml2 and libxslt", "libxml2-dev libxslt1-dev"),
    ("zlib.h", "zlib", "zlib1g-dev"),
    ("jpeglib.h", "libjpeg", "libjpeg-dev"),
    ("The headers or library files could not be found for jpeg", "libjpeg", "libjpeg-dev zlib1g-dev"),
    ("sqlite3.h", "SQLite", "libsqlite3-dev"),
    ("lber.h", "OpenLDAP", "libldap-dev libsasl2-dev"),
    ("sasl.h", "SASL", "libsasl2-dev"),
    ("krb5-config", "Kerberos", "libkrb5-dev"),
    ("curl-config", "libcurl", "libcurl4-openssl-dev"),
    ("hdf5.h", "HDF5", "libhdf5-dev"),
    ("Unable to find HDF5", "HDF5", "libhdf5-dev"),
    ("cairo", "Cairo", "libcairo2-dev"),
    ("portaudio.h", "PortAudio", "portaudio19-dev"),
    ("sndfile.h", "libsndfile", "libsndfile1-dev"),
    ("snappy-c.h", "Snappy", "libsnappy-dev"),
    ("gmp.h", "GMP", "libgmp-dev"),
    ("mpfr.h", "MPFR", "libmpfr-dev"),
    ("yaml.h", "libyaml", "libyaml-dev"),
    ("openblas", "BLAS and LAPACK", "libopenblas-dev"),
    ("Python.h", "the headers of Python", "libpython3-dev"),
    ("gfortran", "a Fortran compiler", "gfortran"),
    ("cargo, the Rust package manager, is not installed", "the Rust toolchain", "cargo rustc"),
    ("can't find Rust compiler", "the Rust toolchain", "cargo rustc"),
    ("cargo: not found", "the Rust toolchain", "cargo rustc"),
    ("cmake: not found", "CMake", "cmake"),
    ("CMake must be installed", "CMake", "cmake"),
    ("No such file or directory: 'cmake'", "CMake", "cmake"),
    ("pkg-config: not found", "pkg-config", "pkgconf"),
    ("No such file or directory: 'pkg-config'", "pkg-config", "pkgconf"),
    ("swig: not found", "SWIG", "swig"),
    ("No such file or directory: 'swig'", "SWIG", "swig"),
    ("error: command 'gcc' failed: No such file", "a C compiler", "gcc"),
    ("error: command 'x86_64-linux-gnu-gcc' failed: No such file", "a C compiler", "gcc"),
];

/// What build backends say that look for a version where none is written, and the variable that says it in its place.
const VERSION_OF_GIT: &[(&str, &str)] = &[
    ("setuptools-scm was unable to detect version", "SETUPTOOLS_SCM_PRETEND_VERSION"),
    ("`uv-dynamic-versioning`", "UV_DYNAMIC_VERSIONING_BYPASS"),
    ("uv_dynamic_versioning", "UV_DYNAMIC_VERSIONING_BYPASS"),
    ("the version from SCM", "PDM_BUILD_SCM_VERSION"),
    ("Versioning for this project requires either an sdist", "PBR_VERSION"),
];

/// What code says that is older than the Python which builds it, and the last Python that it runs on.
const OUTGROWN: &[(&str, &str, &str)] = &[
    ("No module named 'distutils'", "the module distutils", "3.11"),
    ("No module named 'imp'", "the module imp", "3.11"),
    ("No module named 'asyncore'", "the module asyncore", "3.11"),
    ("No module named 'pipes'", "the module pipes", "3.12"),
    ("has no attribute 'ImpImporter'", "pkgutil.ImpImporter", "3.11"),
    ("has no attribute 'SafeConfigParser'", "configparser.SafeConfigParser", "3.11"),
    ("has no attribute 'readfp'", "configparser's readfp", "3.11"),
    ("longintrepr.h: No such file", "the header longintrepr.h", "3.10"),
    ("cannot import name 'Mapping' from 'collections'", "collections.Mapping", "3.9"),
    ("cannot import name 'MutableMapping' from 'collections'", "collections.MutableMapping", "3.9"),
    ("use_2to3 is invalid", "setuptools' use_2to3", "3.9"),
];

/// Distributions that come as wheels where another does not.
const BINARY: &[(&str, &str)] = &[
    ("psycopg2", "psycopg2-binary (same code, with the library inside) or psycopg[binary]"),
    ("mysqlclient", "PyMySQL or mysql-connector-python (no C library)"),
    ("gdal", "rasterio or pyogrio (wheels with GDAL inside)"),
    ("pyldap", "ldap3 (no C library)"),
    ("python-ldap", "ldap3 (no C library)"),
    ("pycrypto", "pycryptodome"),
    ("sklearn", "scikit-learn"),
    ("opencv", "opencv-python-headless"),
    ("pycurl", "requests or httpx"),
    ("fbprophet", "prophet"),
];

/// A source distribution where a setting forbids to build.
pub(super) fn forbidden_build(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let what = between(flat, "Wheels are required for `", "`")
        .filter(|_| flat.contains("building from source is disabled"))?;
    let by = evidence.only_binary.as_deref().unwrap_or("`--only-binary` in the requirements");
    let version = evidence.python_version;
    let mut failure = Failure::new(
        DOING,
        evidence.place(what),
        format!("{what} has no wheel for Python {version} here, and {by} forbids to build it"),
        "require a version that has a wheel for this Python, or let it be built: remove the setting",
    );
    if let Some(newest) = (evidence.probe)(super::Probe::Highest(what)) {
        failure = failure.and_fix(format!("{what}=={newest} has a wheel"));
    }
    Some(failure)
}

/// A source distribution that is older than this Python: its build wants what Python or its tools no longer have.
pub(super) fn outgrown_python(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let what = failed(flat)?;
    let (_, wanted, last) = OUTGROWN.iter().find(|(symptom, ..)| flat.contains(symptom))?;
    let name = what.split(['=', ' ', '@']).next().unwrap_or(what);
    let version = evidence.python_version;
    let because = evidence.python_reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut failure = Failure::new(
        DOING,
        evidence.place(name),
        format!(
            "{what} has no wheel for Python {version}{because}, and its build wants {wanted}, which is gone from newer Pythons"
        ),
        match (evidence.probe)(super::Probe::Highest(name)).filter(|newest| !what.ends_with(newest.as_str())) {
            Some(newest) => format!("require {name}=={newest}, which has a wheel"),
            None => "require a newer version of it".to_owned(),
        },
    );
    let older =
        crate::python::satisfying(&format!("<={last}.99")).filter(|minor| !version.starts_with(&format!("{minor}.")));
    if let Some(minor) = older {
        let change = super::python_change(evidence.python_reason);
        failure = failure.and_fix(format!("or choose a Python of its time, for example {minor}: {}", change(minor)));
    }
    Some(failure)
}

/// What could not be built.
fn failed(flat: &str) -> Option<&str> {
    between(flat, "Failed to build `", "`")
        .or_else(|| between(flat, "Failed to download and build `", "`"))
        .or_else(|| between(flat, "Failed building wheel for ", " "))
}

/// A source distribution whose build failed.
pub(super) fn failed_build(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let what = failed(flat)?;
    let name = what.split(['=', ' ', '@']).next().unwrap_or(what);
    let seen = evidence.place(name);
    let is_own = what.contains("@ file://");
    if let Some((_, setting)) = VERSION_OF_GIT.iter().find(|(symptom, _)| flat.contains(symptom)) {
        return Some(
            Failure::new(
                DOING,
                seen,
                format!("the version of {name} is read from the history of git, which is not in the build"),
                format!("say the version: `hoist build --env {setting}=1.2.3 …`"),
            )
            .and_fix("or write the version into pyproject.toml, in place of `dynamic = [\"version\"]`"),
        );
    }
    let binary = BINARY.iter().find(|(from, _)| *from == crate::pip::requirements::normalize(name));
    let missing = MISSING.iter().find(|(symptom, _, _)| flat.contains(symptom));
    let mut failure = match missing {
        Some((_, library, package)) => Failure::new(
            DOING,
            seen,
            format!("{what} has no wheel for Python {} here, and its build misses {library}", evidence.python_version),
            format!("write {package} into a file apt.txt: hoist installs that package of Debian for the build"),
        ),
        None if flat.contains("No module named '") => {
            let module = between(flat, "No module named '", "'").unwrap_or("?");
            Failure::new(
                DOING,
                seen,
                format!(
                    "{what} has no wheel for Python {} here, and its build wants the module `{module}` without asking for it",
                    evidence.python_version
                ),
                "require a newer version of it, which may have a wheel or a correct pyproject.toml",
            )
        }
        None if is_own => Failure::new(
            DOING,
            seen,
            format!("the build backend of {name}, which lies in the app, failed (the end of its output is below)"),
            "mend what it says: `python -m build` in that folder says the same",
        ),
        None => Failure::new(
            DOING,
            seen,
            format!(
                "{what} has no wheel for Python {} here, and its build failed (the end of its output is below)",
                evidence.python_version
            ),
            "require a version that has a wheel for this Python, or choose a Python that it has wheels for (.python-version)",
        ),
    };
    if let Some(python) = evidence.other_python.as_ref().filter(|_| !is_own) {
        failure = failure.and_fix(format!(
            "or choose Python {python}, for which the lock has wheels of everything (.python-version, or BP_CPYTHON_VERSION={python})"
        ));
    }
    if let Some((_, other)) = binary {
        failure = failure.and_fix(format!("or require {other} instead"));
    } else if missing.is_some() {
        let highest = (evidence.probe)(super::Probe::Highest(name));
        if let Some(version) = highest.filter(|version| !split_requirement(what).1.ends_with(version.as_str())) {
            failure = failure.and_fix(format!("or require {name}=={version}, which has a wheel"));
        }
    }
    Some(failure)
}
