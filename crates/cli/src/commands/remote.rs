//! Images that are looked at and named where they are, in their registries: `--remote`.

use std::fmt::Write as _;

use clap::Args;
use hoist_image::{Image, LoadLimits, Platform, Reference, Seen};
use serde_json::{Value, json};

use crate::commands::image::Shown;
use crate::context::Context;
use crate::engine::open_store;
use crate::failure::Failure;
use crate::registry::{RegistryFlags, registries};
use crate::terminal::{bytes, counted};

/// Says that the registry is asked, and how.
#[derive(Debug, Args, Clone)]
pub(crate) struct RemoteFlag {
    /// At the registry of the name, not in the store
    #[arg(long)]
    remote: bool,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// The same, for one image.
#[derive(Debug, Args, Clone)]
pub(crate) struct RemoteImage {
    #[command(flatten)]
    flag: RemoteFlag,
    /// With --remote, of an image for several machines the one for this: OS/ARCH or OS/ARCH/VARIANT [default: this machine's]
    #[arg(long, value_name = "PLATFORM", requires = "remote")]
    platform: Option<Platform>,
}

impl RemoteFlag {
    /// Whether that was said.
    pub(crate) fn is_said(&self) -> bool {
        self.remote
    }

    /// Whether the registry is asked; its settings are in force then.
    pub(crate) fn is_set(&self, context: &Context) -> Result<bool, Failure> {
        if self.remote {
            self.registry.apply(context)?;
        }
        Ok(self.remote)
    }

    /// What `wanted` is called at its registry, where that is asked.
    pub(crate) fn name(&self, context: &Context, wanted: &str) -> Result<Option<Reference>, Failure> {
        if self.is_set(context)? { named(wanted).map(Some) } else { Ok(None) }
    }
}

impl RemoteImage {
    /// Whether the registry was said to be asked.
    pub(crate) fn is_said(&self) -> bool {
        self.flag.is_said()
    }

    /// What `wanted` is called at its registry, where that is asked.
    pub(crate) fn name(&self, context: &Context, wanted: &str) -> Result<Option<Reference>, Failure> {
        self.flag.name(context, wanted)
    }

    /// The machine that is meant.
    pub(crate) fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::of_this_machine)
    }

    /// What the registry tells of an image.
    pub(crate) fn look(&self, context: &Context, name: &Reference) -> Result<Seen, Failure> {
        Ok(registries(context).look(&open_store(context)?, name, &self.platform())?)
    }

    /// The image with all its layers, for the time of this command: it gets no name in the store.
    pub(crate) fn fetch(&self, context: &Context, name: &Reference) -> Result<Image, Failure> {
        fetch(context, name, &self.platform())
    }
}

/// The image with all its layers, for the time of this command: it gets no name in the store.
pub(super) fn fetch(context: &Context, name: &Reference, platform: &Platform) -> Result<Image, Failure> {
    let (store, limits) = (open_store(context)?, LoadLimits::default());
    Ok(registries(context).pull(&store, name, &[], platform, limits, &*context.reporter)?.image)
}

/// A name of a registry.
fn named(wanted: &str) -> Result<Reference, Failure> {
    let name: Reference = wanted.strip_prefix("docker://").unwrap_or(wanted).parse()?;
    if name.registry().is_none() {
        return Err(Failure::usage(
            format!("--remote: {name} names no registry, and hoist adds none by itself"),
            format!("write the registry before it: HOST/{name}"),
        ));
    }
    Ok(name)
}

/// `image ls --remote NAME`.
pub(super) fn list(context: &Context, wanted: Option<&str>) -> Result<(), Failure> {
    let Some(wanted) = wanted else {
        return Err(Failure::usage(
            "--remote: registries do not list what they have, only the tags of a name",
            "name it: hoist image ls --remote HOST/NAME",
        ));
    };
    let name = named(wanted)?;
    let tags = registries(context).tags(&name)?;
    if context.json {
        return context.print_json(&json!({"name": name.name(), "tags": tags}));
    }
    let mut text = String::new();
    for tag in &tags {
        let _ = writeln!(text, "{}:{tag}", name.name());
    }
    context.print(&text)
}

/// `image inspect --remote`.
pub(super) fn shown(seen: &Seen, name: &Reference) -> Shown {
    let layers = seen.layers.iter().map(|layer| {
        json!({
            "diff_id": layer.diff_id.to_string(),
            "digest": layer.digest.to_string(),
            "compressed_bytes": layer.size_bytes,
            "media_type": layer.media_type,
        })
    });
    Shown {
        names: vec![name.to_string()],
        layers: layers.collect(),
        size: "compressed_bytes",
        more: vec![("digest", json!(seen.digest.to_string())), ("from", json!(seen.from))],
    }
}

/// `image tag --remote`.
pub(super) fn tag(context: &Context, from: &str, to: &str) -> Result<(), Failure> {
    let (from, to) = (named(from)?, named(to)?);
    let copied = registries(context).copy(&open_store(context)?, &from, &to, &*context.reporter)?;
    if context.json {
        return context.print_json(&json!({
            "name": to.to_string(),
            "digest": copied.digest.to_string(),
            "sent_blobs": copied.sent_blobs,
            "sent_bytes": copied.sent_bytes,
            "mounted_blobs": copied.mounted_blobs,
            "blobs_there": copied.blobs_there,
        }));
    }
    let how = match (copied.sent_blobs, copied.mounted_blobs, copied.blobs_there) {
        (0, 0, 0) => "the name alone is new".to_owned(),
        (sent, mounted, there) => {
            let sent = format!("{} sent ({})", counted(sent, "blob"), bytes(copied.sent_bytes));
            format!("{sent}, {mounted} taken from another repository there, {there} there before")
        }
    };
    context.reporter.step(&format!("{to}: {how}"));
    Ok(())
}

/// `image rm --remote`. All are tried; the first that fails is the failure.
pub(super) fn remove(context: &Context, wanted: &[String]) -> Result<(), Failure> {
    // One mistyped name must not leave half of them gone.
    let names = wanted.iter().map(|one| named(one)).collect::<Result<Vec<_>, _>>()?;
    let registries = registries(context);
    let mut removed: Vec<Value> = Vec::new();
    let mut text = String::new();
    for name in &names {
        let digest = registries.remove(name)?.to_string();
        let _ = writeln!(text, "removed {name} ({digest})");
        removed.push(json!({"name": name.to_string(), "digest": digest}));
    }
    if context.json { context.print_json(&json!(removed)) } else { context.print(&text) }
}

/// `image verify --remote`, without a rebuild.
pub(super) fn verify(context: &Context, name: &Reference) -> Result<(), Failure> {
    let (store, platform) = (open_store(context)?, Platform::of_this_machine());
    let (seen, problems) = registries(context).verify(&store, name, &platform, &*context.reporter)?;
    if context.json {
        let (id, digest) = (seen.image.id().to_string(), seen.digest.to_string());
        let ok = problems.is_empty();
        context.print_json(&json!({"id": id, "digest": digest, "ok": ok, "problems": problems}))?;
        return if ok { Ok(()) } else { Err(Failure::of_process(crate::failure::Code::Hoist.number())) };
    }
    if !problems.is_empty() {
        return Err(Failure::hoist(
            format!("image {name} is not what it says of itself:\n{}", problems.join("\n")),
            "do not use it; push it again, or ask who runs the registry",
        ));
    }
    let layers = counted(seen.layers.len(), "layer");
    context.print(&format!("{}: {layers} at {}, every digest as it should be\n", seen.image.id(), seen.from))
}
