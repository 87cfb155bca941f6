//! Debian's docker-registry on loopback, for the tests of several crates.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test binary uses its part
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::format_push_string
)] // tests start processes and fail loudly

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;

/// `ada` with the password below, as `htpasswd -nbB` writes it.
const PASSWORDS: &str = "ada:$2y$04$oYHqwF0WMql5WwRYgEuc1O/ABIVuISVg4sjJzSrHMmaijPbhm6Cea\n";
pub const PASSWORD: &str = "tr0ub4dor&3";

pub struct Registry {
    pub dir: tempfile::TempDir,
    pub host: String,
    child: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
pub struct Wants {
    pub tls: bool,
    pub passwords: bool,
    pub client_certificates: bool,
}

impl Registry {
    pub fn start(wants: &Wants) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n",
            at("data")
        );
        if wants.passwords {
            fs::write(dir.path().join("passwords"), PASSWORDS).unwrap();
            config.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", at("passwords")));
        }
        config.push_str(&format!("http:\n  addr: 127.0.0.1:{port}\n  secret: of-this-test\n"));
        if wants.tls {
            certificates(dir.path());
            config.push_str(&format!("  tls:\n    certificate: {}\n    key: {}\n", at("server.crt"), at("server.key")));
            if wants.client_certificates {
                config.push_str(&format!("    clientcas: [{}]\n", at("ca.crt")));
            }
        }
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is not installed: scripts/setup installs what the tests need");
        let registry = Self { host: format!("127.0.0.1:{port}"), child, dir };
        let started = Instant::now();
        while std::net::TcpStream::connect(&registry.host).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "docker-registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }

    /// A folder as docker has it, with this registry's certificate authority, and what else is there of `files`.
    pub fn certificate_dirs(&self, files: &[(&str, &str)]) -> Vec<PathBuf> {
        let dir = self.dir.path().join("certs.d").join(&self.host);
        fs::create_dir_all(&dir).unwrap();
        for (from, to) in files {
            fs::copy(self.dir.path().join(from), dir.join(to)).unwrap();
        }
        vec![self.dir.path().join("certs.d")]
    }
}

/// A certificate authority, a server's certificate for 127.0.0.1 and a client's.
fn certificates(dir: &Path) {
    let openssl = |args: &[&str]| {
        let done = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    openssl(
        &[
            &["req", "-x509"],
            &new[..],
            &["-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority"],
        ]
        .concat(),
    );
    fs::write(dir.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for who in ["server", "client"] {
        let [key, request, certificate, more] = ["key", "csr", "crt", "ext"].map(|kind| format!("{who}.{kind}"));
        let subject = format!("/CN={who}");
        openssl(&[&["req"], &new[..], &["-keyout", &key, "-out", &request, "-subj", &subject]].concat());
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &more,
            "-out",
            &certificate,
        ]);
    }
}
