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
        let app = Self { dir, image: format!("test-source-{}", name.to_lowercase()) };
        app.vendor(name, setup, source);
        app
    }

    /// Puts a source distribution beside the app.
    fn vendor(&self, name: &str, setup: &str, source: &str) {
        let vendor_dir = self.dir.path().join("vendor");
        fs_err::create_dir_all(&vendor_dir).unwrap();
        let file = fs_err::File::create(vendor_dir.join(format!("{name}-1.0.tar.gz"))).unwrap();
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        let about = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        for (file, text) in [("setup.py", setup), ("source.c", source), ("PKG-INFO", &about)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{name}-1.0/{file}"), text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
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

/// The components of an environment's bill: name, archive where it was built, SHA-256.
fn components(app: &App, more: &[&str]) -> Vec<[String; 3]> {
    let bills_dir = app.dir.path().with_extension("bills");
    let bills = bills_dir.display().to_string();
    app.build(&[&["--sbom-output-dir", &bills], more].concat()).ok();
    let text = fs_err::read_to_string(bills_dir.join("launch/hoist_pip/env/sbom.cdx.json")).unwrap();
    fs_err::remove_dir_all(bills_dir).unwrap();
    let bill: serde_json::Value = serde_json::from_str(&text).unwrap();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let archive = |one: &serde_json::Value| {
        let properties = one["properties"].as_array().cloned().unwrap_or_default();
        properties.iter().find(|one| one["name"] == "hoist:archive").map(|one| word(&one["value"])).unwrap_or_default()
    };
    let components = bill["components"].as_array().unwrap();
    components.iter().map(|one| [word(&one["name"]), archive(one), word(&one["hashes"][0]["content"])]).collect()
}

#[test]
fn what_was_built_here_has_the_name_and_the_hash_of_its_source() {
    let setup = "from setuptools import setup\nsetup(name='My.Pkg', version='1.0')\n";
    let app = App::new("My.Pkg", setup, "", "print('built')\n");
    let requirements = app.dir.path().join("requirements.txt");
    let wanted = "--find-links vendor\nmy_pkg==1.0\ndocopt==0.6.2\ntabulate==0.9.0\n";
    fs_err::write(&requirements, wanted).unwrap();
    let own = hoist_image::Digest::of(&fs_err::read(app.dir.path().join("vendor/My.Pkg-1.0.tar.gz")).unwrap());
    let own = own.to_string().replace("sha256:", "");
    let first = components(&app, &["--clear-cache"]);
    let of = |all: &[[String; 3]], name: &str| all.iter().find(|one| one[0] == name).unwrap().clone();
    assert_eq!(of(&first, "My.Pkg"), ["My.Pkg".to_owned(), "My.Pkg-1.0.tar.gz".to_owned(), own.clone()]);
    let source = "49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491";
    assert_eq!(of(&first, "docopt"), ["docopt", "docopt-0.6.2.tar.gz", source].map(str::to_owned));
    let wheel = "024ca478df22e9340661486f85298cff5f6dcdba14f3813e8830015b9ed1948f";
    assert_eq!(of(&first, "tabulate"), ["tabulate", "", wheel].map(str::to_owned), "a wheel keeps its own");
    // The lock says the same, with the path of what lies in the app.
    let said = run(hoist().args(["check", "--lock", "-"]).arg(app.dir.path())).ok();
    let lock: toml::Table = said.stdout.parse().unwrap();
    let packages = lock["packages"].as_array().unwrap();
    let sources: Vec<_> = packages.iter().map(|one| one.get("sdist").map(|sdist| &sdist["hashes"]["sha256"])).collect();
    assert_eq!(sources[..2].iter().map(|hash| hash.unwrap().as_str().unwrap()).collect::<Vec<_>>(), [source, &own]);
    assert_eq!(packages[1]["sdist"]["path"].as_str(), Some("vendor/My.Pkg-1.0.tar.gz"), "{}", said.stdout);
    // One more package: what is kept was built from the same.
    fs_err::write(&requirements, format!("{wanted}six==1.17.0\n")).unwrap();
    let second = components(&app, &[]);
    let mut expected = first.clone();
    let hash = "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274";
    expected.push(["six", "", hash].map(str::to_owned));
    expected.sort();
    let mut sorted = second.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    // Where a line wants a build in place of a wheel, it is the source that counts.
    fs_err::write(&requirements, "--no-binary six\nsix==1.17.0\n").unwrap();
    let third = components(&app, &["--clear-cache"]);
    let source = "ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81";
    assert_eq!(third, [["six", "six-1.17.0.tar.gz", source].map(str::to_owned)]);
}
