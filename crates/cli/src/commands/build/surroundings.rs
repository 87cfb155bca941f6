//! The options that say what surrounds the buildpacks: volumes, ids, the app's folder, the run image. The same for `build` and `plan`.

use std::path::{Path, PathBuf};

use clap::Args;
use hoist_image::Reference;
use hoist_platform::{BuildRequest, Volume};

use crate::context::Context;
use crate::failure::Failure;

/// What surrounds the buildpacks.
#[derive(Debug, Args)]
pub(crate) struct SurroundingsOptions {
    /// Image that the app is put on, in place of the builder's run image
    #[arg(long, value_name = "NAME")]
    run_image: Option<Reference>,
    /// Folder or file of the host that buildpacks see; read-only unless rw is given
    #[arg(long = "volume", value_name = "HOST:CONTAINER[:ro|rw]", value_parser = parse_volume)]
    volumes: Vec<Volume>,
    /// Execution environment: production, test or a name of your own
    #[arg(long, value_name = "NAME", default_value = "production", value_parser = parse_exec_env)]
    exec_env: String,
    /// The app's folder inside, below /
    #[arg(long, value_name = "DIR", default_value = "workspace", value_parser = parse_workspace)]
    workspace: PathBuf,
    /// User id of buildpacks and of the files that they leave, in place of the builder's
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u32).range(1..=0x7fff_ffff))]
    uid: Option<u32>,
    /// Group id, likewise
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u32).range(0..=0x7fff_ffff))]
    gid: Option<u32>,
    /// System to build for; only this machine's
    #[arg(long, value_name = "OS/ARCH", value_parser = parse_platform)]
    platform: Option<String>,
}

impl SurroundingsOptions {
    /// Writes them into the request.
    #[allow(clippy::unnecessary_wraps)] // the groups of options have one form
    pub(crate) fn apply(&self, context: &Context, request: &mut BuildRequest) -> Result<(), Failure> {
        for volume in &self.volumes {
            if ["/cnb", "/layers", "/workspace"].iter().any(|dir| volume.target.starts_with(dir)) {
                let text =
                    format!("{} is a folder of the build itself, and a volume is put there", volume.target.display());
                context.reporter.warn(&text, Some("choose another place unless you mean it"));
            }
        }
        request.run_image.clone_from(&self.run_image);
        request.volumes.clone_from(&self.volumes);
        request.exec_env.clone_from(&self.exec_env);
        request.app_dir.clone_from(&self.workspace);
        request.uid = self.uid;
        request.gid = self.gid;
        Ok(())
    }
}

/// As pack has it: read-only unless told otherwise. Volumes of a Docker daemon have a name, and here is no daemon.
fn parse_volume(text: &str) -> Result<Volume, String> {
    let (paths, options) = match text.splitn(3, ':').collect::<Vec<_>>().as_slice() {
        [source, target] => (format!("{source}:{target}"), None),
        [source, target, options] => (format!("{source}:{target}"), Some((*options).to_owned())),
        _ => return Err(format!("{text:?} is no volume: a : is missing; write HOST:CONTAINER or HOST:CONTAINER:rw")),
    };
    let mut read_only = true;
    for option in options.iter().flat_map(|options| options.split(',')) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            // Labels of SELinux, which bind mounts of hoist do not need.
            "z" | "Z" => {}
            other => return Err(format!("{text:?} is no volume: {other:?} is neither ro nor rw")),
        }
    }
    let volume: Volume = paths.parse()?;
    let is_name = !paths.starts_with(['/', '.', '~']) && !volume.source.to_string_lossy().contains('/');
    if is_name {
        let name = volume.source.display();
        return Err(format!("{name} is the name of a Docker volume, and there is no daemon: give a path, ./{name}"));
    }
    let own = ["/cnb", "/layers", "/workspace", "/platform", "/platform/env", "/platform/bindings"];
    if own.iter().any(|dir| volume.target.components().eq(Path::new(dir).components())) {
        let target = volume.target.display();
        return Err(format!("{target} is a folder of the build itself: put the volume somewhere else, or below it"));
    }
    Ok(Volume { read_only, ..volume })
}

/// The characters of pack; `/` may get a meaning one day.
fn parse_exec_env(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("it is made of letters, digits, . and -".to_owned()) }
}

/// Folders of the system or of the build, in which an app cannot be.
const TAKEN: [&str; 16] = [
    "bin",
    "boot",
    "cnb",
    "dev",
    "etc",
    "hoist-cache",
    "layers",
    "lib",
    "lib64",
    "platform",
    "proc",
    "run",
    "sbin",
    "sys",
    "usr",
    "tmp",
];

fn parse_workspace(text: &str) -> Result<PathBuf, String> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let Some(first) = parts.first() else { return Err("it is a folder below /, such as workspace".to_owned()) };
    if parts.contains(&"..") || parts.iter().any(|part| part.contains(['\0', ':'])) {
        return Err("it is a folder below /, without .. and :".to_owned());
    }
    if TAKEN.contains(first) {
        return Err(format!("/{first} is a folder of the system or of the build: choose another, such as app"));
    }
    Ok(Path::new("/").join(parts.join("/")))
}

/// `linux`, `linux/amd64`, `linux/arm64/v8`: what this machine is.
fn parse_platform(text: &str) -> Result<String, String> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut parts = text.split('/');
    let fits = parts.next() == Some("linux") && parts.next().is_none_or(|wanted| wanted == arch);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("this machine builds for linux/{arch} alone: build on a machine of the other kind"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_of_a_build_is_read_only_unless_told_otherwise() {
        assert!(parse_volume("/a:/b").unwrap().read_only);
        assert!(parse_volume("./a:/platform/bindings/x:ro,z").unwrap().read_only);
        assert!(!parse_volume("/a:/b:rw").unwrap().read_only);
        for (wrong, why) in [
            ("/a", "a : is missing"),
            ("/a:b", "absolute path"),
            ("/a:/b:volume-opt=x=y", "neither ro nor rw"),
            ("data:/b", "the name of a Docker volume"),
            ("/a:/layers", "a folder of the build itself"),
            ("/a:/platform/", "a folder of the build itself"),
            ("/a:/", "absolute path below /"),
        ] {
            let error = parse_volume(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn places_environments_and_systems_are_checked() {
        assert_eq!(parse_workspace("app").unwrap(), Path::new("/app"));
        assert_eq!(parse_workspace("/srv/app/").unwrap(), Path::new("/srv/app"));
        for wrong in ["", "/", "a/../b", "usr/app", "/layers", "a:b"] {
            assert!(parse_workspace(wrong).is_err(), "{wrong}");
        }
        assert!(parse_exec_env("my-test.1").is_ok() && parse_exec_env("a/b").is_err() && parse_exec_env("").is_err());
        assert!(parse_platform("linux").is_ok());
        assert!(parse_platform("linux/s390x").unwrap_err().contains("this machine builds for linux/"));
        assert!(parse_platform("windows/amd64").is_err());
    }
}
