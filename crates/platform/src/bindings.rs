//! Writes the `/platform` folder of a build: the user's variables, and the host's trust as service bindings.
//!
//! The folder lies in the build's scratch, is shown read-only to buildpacks, and goes away with it; nothing of it reaches an image.

use std::io;
use std::path::Path;

use fs_err as fs;
use serde::Serialize;

use crate::error::PlatformError;
use crate::host::HostTrust;

/// Fills `platform_dir`, which exists and is empty. `apt_sources` and `keyring` say where interpreters come from.
pub(crate) fn write_platform_dir(
    platform_dir: &Path,
    env: &[(String, String)],
    host: &HostTrust,
    apt_sources: &impl Serialize,
    keyring: &[u8],
) -> Result<(), PlatformError> {
    let failed = |source| PlatformError::scratch("write the platform folder of the build", source);
    write_env(platform_dir, env).map_err(failed)?;
    let bindings = platform_dir.join("bindings");
    binding(&bindings, "apt", "apt").map_err(failed)?;
    fs::write(bindings.join("apt/sources.json"), json(apt_sources)).map_err(failed)?;
    fs::write(bindings.join("apt/keyring.gpg"), keyring).map_err(failed)?;
    binding(&bindings, "pip", "pip").map_err(failed)?;
    fs::write(bindings.join("pip/settings.json"), json(&host.index_settings)).map_err(failed)?;
    if let Some(certificate) = &host.client_certificate {
        // Written anew, not copied with its permissions: the build's user is another one. The folder is closed to all others.
        fs::write(bindings.join("pip/client.pem"), fs::read(certificate).map_err(failed)?).map_err(failed)?;
    }
    if !host.conda.files.is_empty() || !host.conda.variables.is_empty() {
        binding(&bindings, "condarc", "condarc").map_err(failed)?;
        for (number, text) in host.conda.files.iter().enumerate() {
            fs::write(bindings.join(format!("condarc/{number:02}.condarc")), text).map_err(failed)?;
        }
        fs::write(bindings.join("condarc/settings.json"), json(&host.conda.variables)).map_err(failed)?;
    }
    if let Some(bundle) = &host.ca_bundle {
        binding(&bindings, "ca-certificates", "ca-certificates").map_err(failed)?;
        // It is all that is trusted, and not what is added to that.
        fs::write(bindings.join("ca-certificates/provider"), "hoist").map_err(failed)?;
        fs::copy(bundle, bindings.join("ca-certificates/ca.pem")).map_err(failed)?;
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain strings, lists and maps, which always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

fn binding(bindings: &Path, name: &str, kind: &str) -> io::Result<()> {
    fs::create_dir_all(bindings.join(name))?;
    fs::write(bindings.join(name).join("type"), kind)
}

/// One file for each variable. Names come from the user: what is no file name is no variable either, and was refused before.
fn write_env(platform_dir: &Path, env: &[(String, String)]) -> io::Result<()> {
    let dir = platform_dir.join("env");
    fs::create_dir_all(&dir)?;
    for (name, value) in env {
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of a variable")));
        }
        fs::write(dir.join(name), value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_the_hosts_trust_become_files_that_buildpacks_know() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, "CERT").unwrap();
        let platform = dir.path().join("platform");
        fs::create_dir(&platform).unwrap();
        let client = dir.path().join("client.pem");
        fs::write(&client, "KEY").unwrap();
        let mut host = HostTrust { ca_bundle: Some(ca), client_certificate: Some(client), ..HostTrust::default() };
        host.index_settings.insert("PIP_INDEX_URL".into(), "https://index.invalid".into());
        let env = [("A".to_owned(), "1\n".to_owned())];
        write_platform_dir(&platform, &env, &host, &["source"], b"KEYS").unwrap();
        let read = |path: &str| fs::read_to_string(platform.join(path)).unwrap();
        assert_eq!(read("env/A"), "1\n");
        assert_eq!(read("bindings/pip/settings.json"), r#"{"PIP_INDEX_URL":"https://index.invalid"}"#);
        assert_eq!(read("bindings/pip/client.pem"), "KEY");
        assert_eq!(read("bindings/apt/sources.json"), r#"["source"]"#);
        assert_eq!(read("bindings/ca-certificates/type"), "ca-certificates");
        assert_eq!(read("bindings/ca-certificates/ca.pem"), "CERT");
        assert_eq!(read("bindings/ca-certificates/provider"), "hoist");
        let bad = [("../x".to_owned(), String::new())];
        assert!(write_platform_dir(&platform, &bad, &host, &["source"], b"").is_err());
        assert!(!dir.path().join("x").exists());
    }
}
