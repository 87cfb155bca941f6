//! A registry that wants TLS and a password, and machines of people who are logged in there.
#![allow(dead_code, unreachable_pub)] // each test file uses some of it

use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use crate::real_registry::{PASSWORD, Registry, Wants};
use crate::support::docker::Daemon;
use crate::support::podman::Podman;
use crate::support::{Said, hoist, hoist_with_store, run};

/// How the password stands in files and headers.
const PAIR: &str = "YWRhOnRyMHViNGRvciYz";

/// A registry that wants TLS and a password, and the machine of somebody who is logged in there.
pub struct World {
    pub registry: Registry,
    /// A path that is short: docker and podman want that.
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let registry = Registry::start(&Wants { tls: true, passwords: true, ..Wants::default() });
        let dir = tempfile::tempdir().expect("a folder");
        let config = format!(r#"{{"auths":{{"{}":{{"auth":"{PAIR}"}}}}}}"#, registry.host);
        fs::write(dir.path().join("config.json"), config).expect("a file");
        registry.certificate_dirs(&[("ca.crt", "ca.crt")]);
        Self { registry, dir }
    }

    pub fn logged_in(&self, command: &mut Command) -> Said {
        command.env("DOCKER_CONFIG", self.dir.path());
        command.env("SSL_CERT_FILE", self.registry.dir.path().join("ca.crt"));
        let said = run(command);
        for secret in [PASSWORD, PAIR] {
            assert!(!said.stderr.contains(secret) && !said.stdout.contains(secret), "{}{}", said.stdout, said.stderr);
        }
        said
    }

    /// `hoist` of whoever built the image.
    pub fn builder(&self, args: &[&str]) -> Said {
        self.logged_in(hoist().args(args))
    }

    /// `hoist` of somebody else, whose store knows nothing before.
    pub fn other(&self, args: &[&str]) -> Said {
        self.logged_in(hoist_with_store(&self.dir.path().join("store")).args(args))
    }

    pub fn docker(&self, daemon: &Daemon, args: &[&str]) -> Said {
        let config = self.dir.path().to_str().expect("a plain path");
        daemon.docker(&[&["--config", config][..], args].concat())
    }

    /// How podman, buildah and skopeo are told who asks, and whom to trust.
    pub fn flags(&self) -> [String; 2] {
        let certificates = self.registry.dir.path().join("certs.d").join(&self.registry.host);
        let auth = self.dir.path().join("config.json");
        [format!("--authfile={}", auth.display()), format!("--cert-dir={}", certificates.display())]
    }

    /// `podman VERB`, quietly and logged in.
    pub fn podman(&self, podman: &Podman, verb: &[&str], args: &[&str]) -> Said {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        podman.run(&[verb, &flags[..], args].concat())
    }

    /// The document that a name stands for, as skopeo gets it.
    pub fn raw(&self, name: &str) -> Value {
        let name = format!("docker://{name}");
        run(Command::new("skopeo").args(["inspect", "--raw"]).args(self.flags()).arg(name)).ok().json()
    }
}
