//! Packages that come as source alone and miss something of Debian's: the page names it, and the line that it gives makes the build work, and the
//! program in the image.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use support::{Said, hoist, run, tree};

/// An app that requires one source distribution, which lies beside it.
struct App {
    dir: tempfile::TempDir,
    image: String,
}

impl App {
    fn new(name: &str, setup: &str, source: &str, program: &str) -> Self {
        let dir = tree(&[("requirements.txt", &format!("--find-links vendor\n{name}==1.0\n")), ("main.py", program)]);
        fs_err::write(dir.path().join("Procfile"), "web: python main.py\n").unwrap();
        fs_err::create_dir(dir.path().join("vendor")).unwrap();
        let file = fs_err::File::create(dir.path().join(format!("vendor/{name}-1.0.tar.gz"))).unwrap();
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        let about = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        for (file, text) in [("setup.py", setup), ("source.c", source), ("PKG-INFO", &about)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{name}-1.0/{file}"), text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        Self { dir, image: format!("test-source-{name}") }
    }

    fn build(&self, more: &[&str]) -> Said {
        run(hoist().args(["build", &self.image]).args(more).arg("--path").arg(self.dir.path()))
    }

    /// The page, without what the build said.
    #[track_caller]
    fn page(&self) -> String {
        // An earlier run left what it built.
        let said = self.build(&["--clear-cache"]).code(1);
        let start = said.stderr.find("Error while").unwrap_or_else(|| panic!("no page in\n{}", said.stderr));
        let page = said.stderr[start..].split("\n    said\n").next().unwrap_or_default();
        page.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    /// Writes what the page says into apt.txt, builds again and answers what the program prints.
    #[track_caller]
    fn works_by(&self, page: &str) -> String {
        let line = page.split_once("write ").and_then(|(_, rest)| rest.split_once(" into a file apt.txt")).unwrap().0;
        fs_err::write(self.dir.path().join("apt.txt"), format!("{line}\n")).unwrap();
        let said = self.build(&[]).ok().says("for this build alone");
        assert!(!said.stderr.contains("which the image will not have"), "{}", said.stderr);
        run(hoist().args(["run", "--network", "none", &self.image])).ok().stdout
    }
}

impl Drop for App {
    fn drop(&mut self) {
        run(hoist().args(["image", "rm", &self.image]));
    }
}

fn page(name: &str, what: &str, fix: &str) -> String {
    format!(
        "Error while installing the requirements\n  seen  requirements.txt line 2: {name}==1.0\n  why   {name}==1.0 has no wheel for Python 3.13.5 here, and its build misses {what}\n  do    {fix}"
    )
}

/// An extension whose function answers what an expression of C's does.
fn extension(module: &str, include: &str, value: &str) -> String {
    format!(
        "#define PY_SSIZE_T_CLEAN\n#include <Python.h>\n#include <{include}>\n\
         static PyObject *answer(PyObject *self, PyObject *none) {{ return PyUnicode_FromString({value}); }}\n\
         static PyMethodDef methods[] = {{{{\"answer\", answer, METH_NOARGS, \"\"}}, {{0}}}};\n\
         static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, \"{module}\", 0, -1, methods}};\n\
         PyMODINIT_FUNC PyInit_{module}(void) {{ return PyModule_Create(&module); }}\n"
    )
}

#[test]
fn the_client_library_of_postgresql_comes_with_the_line_that_the_page_gives() {
    let setup = "import subprocess\nfrom setuptools import Extension, setup\nask = lambda what: subprocess.check_output(['pg_config', what], text=True).strip()\nsetup(name='ownpq', version='1.0', ext_modules=[Extension('ownpq', ['source.c'], include_dirs=[ask('--includedir')], library_dirs=[ask('--libdir')], libraries=['pq'])])\n";
    let source = extension("ownpq", "libpq-fe.h", "PQlibVersion() > 90000 ? \"new\" : \"old\"");
    let app = App::new("ownpq", setup, &source, "import ownpq\nprint(ownpq.answer())\n");
    let said = app.page();
    let fix = "write libpq-dev into a file apt.txt: hoist installs that package of Debian for the build";
    assert_eq!(said, page("ownpq", "PostgreSQL's client library", fix));
    assert_eq!(app.works_by(&said), "new\n");
    // What was built against it does not outlive it.
    fs_err::remove_file(app.dir.path().join("apt.txt")).unwrap();
    let without = app.build(&[]).code(1);
    assert!(
        without.stderr.contains("packages of Debian changed, and something was built against"),
        "{}",
        without.stderr
    );
    assert!(without.stderr.contains("its build misses PostgreSQL's client library"), "{}", without.stderr);
}

#[test]
fn a_library_that_the_build_image_has_already_is_linked_to() {
    let setup = "from setuptools import Extension, setup\nsetup(name='ownldap', version='1.0', ext_modules=[Extension('ownldap', ['source.c'], libraries=['ldap', 'lber'])])\n";
    let source = extension("ownldap", "ldap.h", "ldap_err2string(LDAP_SUCCESS)");
    let app = App::new("ownldap", setup, &source, "import ownldap\nprint(ownldap.answer())\n");
    let said = app.page();
    let fix =
        "write libldap-dev libsasl2-dev into a file apt.txt: hoist installs those packages of Debian for the build";
    assert_eq!(said, page("ownldap", "OpenLDAP", fix));
    assert_eq!(app.works_by(&said), "Success\n");
}

#[test]
fn what_pkg_config_misses_is_found_once_it_is_asked_for() {
    let setup = "import subprocess\nfrom setuptools import Extension, setup\nflags = subprocess.check_output(['pkg-config', '--libs', 'oniguruma'], text=True).split()\nsetup(name='ownonig', version='1.0', ext_modules=[Extension('ownonig', ['source.c'], extra_link_args=flags)])\n";
    let source = extension("ownonig", "oniguruma.h", "onig_version()");
    let app = App::new("ownonig", setup, &source, "import ownonig\nprint(ownonig.answer())\n");
    let said = app.page();
    let fix = "write libonig-dev into a file apt.txt: hoist installs that package of Debian for the build";
    assert_eq!(said, page("ownonig", "oniguruma, which pkg-config does not find", fix));
    assert!(app.works_by(&said).starts_with("6."), "of Oniguruma");
}

#[test]
fn what_no_table_knows_is_named_all_the_same() {
    let setup = "from setuptools import Extension, setup\nsetup(name='ownwild', version='1.0', ext_modules=[Extension('ownwild', ['source.c'])])\n";
    let app = App::new("ownwild", setup, &extension("ownwild", "acme/wild.h", "\"\""), "import ownwild\n");
    let fix = "find the Debian package that has it (`apt-file search acme/wild.h`), and write its name into a file apt.txt: hoist installs it for the build";
    assert_eq!(app.page(), page("ownwild", "the header acme/wild.h", fix));
    let setup = "import subprocess\nsubprocess.check_call(['cargo', '--version'])\n";
    let app = App::new("ownrust", setup, "", "import ownrust\n");
    let fix = "write cargo rustc into a file apt.txt: hoist installs those packages of Debian for the build";
    assert_eq!(app.page(), page("ownrust", "the Rust toolchain", fix));
}
