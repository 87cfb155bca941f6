//! `hoist system`: what this machine can do, what the store holds, and how to empty it.

use clap::{Args, Subcommand};
use hoist_image::PruneOptions;
use hoist_sandbox::{CgroupKind, capabilities};
use serde_json::json;

use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure};
use crate::terminal::{bytes, counted};

/// What this machine can do, what the store holds, and how to empty it
#[derive(Debug, Args)]
pub(crate) struct SystemArgs {
    #[command(subcommand)]
    command: SystemCommand,
}

#[derive(Debug, Subcommand)]
enum SystemCommand {
    /// What this machine can do, and what it cannot and why
    Info,
    /// What the store holds and how large that is
    Df,
    /// Remove what nothing refers to, and what a crash left behind
    Prune {
        /// Also remove the caches, the builder and the base; they are made again when they are needed
        #[arg(long)]
        all: bool,
        /// Also remove layers as they were compressed for others; they are compressed again when they are needed
        #[arg(long)]
        blobs: bool,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
}

impl SystemArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            SystemCommand::Info => info(context),
            SystemCommand::Df => df(context),
            SystemCommand::Prune { all, blobs, dry_run } => prune(context, all, all || blobs, dry_run),
        }
    }
}

fn info(context: &Context) -> Result<(), Failure> {
    let found = capabilities();
    let store = context.settings.store_dir();
    if context.json {
        let sandbox = serde_json::to_value(&found).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
        return context.print_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "architecture": std::env::consts::ARCH,
            "store": store,
            "sandbox": sandbox,
        }));
    }
    let cgroups = match found.cgroups {
        CgroupKind::V1 => "version 1",
        CgroupKind::V2 => "version 2",
        CgroupKind::None => "none that can be used",
    };
    context.print(&format!(
        "{:<18} {} ({})\n{:<18} {}\n{:<18} {cgroups}\n",
        "hoist",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        "store",
        store.display(),
        "control groups"
    ))?;
    for (name, capability) in [
        ("memory limits", &found.memory_limit),
        ("processor limits", &found.cpu_limit),
        ("process limits", &found.pids_limit),
        ("user namespaces", &found.user_namespaces),
        ("overlay mounts", &found.overlay),
        ("call filters", &found.seccomp),
        ("private networks", &found.pasta),
    ] {
        let answer = if capability.available { "yes" } else { "no" };
        context.print(&format!("{name:<18} {answer}: {}\n", capability.reason))?;
    }
    Ok(())
}

fn df(context: &Context) -> Result<(), Failure> {
    let usage = engine::open_store(context)?.df()?;
    let caches = engine::open(context)?.shared_cache_bytes()?;
    if context.json {
        let mut value = serde_json::to_value(usage).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
        value["shared_cache_bytes"] = json!(caches);
        return context.print_json(&value);
    }
    let rows = [
        (format!("images ({})", usage.images), None),
        (format!("layers ({})", usage.layers), Some(usage.layer_bytes)),
        ("  of these unused".to_owned(), Some(usage.unused_layer_bytes)),
        (format!("compressed layers ({})", usage.blobs), Some(usage.blob_bytes)),
        (format!("work in progress ({})", usage.scratch), Some(usage.scratch_bytes)),
        (format!("records ({})", usage.records), None),
        ("download caches".to_owned(), Some(caches)),
        ("free on the disk".to_owned(), Some(usage.free_bytes)),
    ];
    for (name, size) in rows {
        context.print(&format!("{name:<24} {:>10}\n", size.map(bytes).unwrap_or_default()))?;
    }
    Ok(())
}

fn prune(context: &Context, all: bool, blobs: bool, dry_run: bool) -> Result<(), Failure> {
    let engine = engine::open(context)?;
    let pruned = engine.prune(PruneOptions { dry_run, blobs }, all)?;
    let stale = if dry_run { 0 } else { hoist_sandbox::clean_stale() };
    if context.json {
        let value = serde_json::to_value(&pruned).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
        return context.print_json(&json!({"pruned": value, "stale_sandboxes": stale, "dry_run": dry_run}));
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    context.print(&format!(
        "{verb} {}, {}, {}, {}: {}\n",
        counted(pruned.images.len(), "image"),
        counted(pruned.layers.len(), "layer"),
        counted(pruned.blobs, "compressed layer"),
        counted(pruned.scratch + pruned.leases + stale, "leftover"),
        bytes(pruned.bytes)
    ))
}
