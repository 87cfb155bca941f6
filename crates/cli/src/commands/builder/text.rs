//! A builder as text: pack's sections, and what hoist knows besides.

use std::fmt::Write as _;

use hoist_platform::InspectedBuilder;
use hoist_spec::{ApiVersion, detection_tree};

use crate::commands::listing::{order_tree, table};
use crate::failure::harmless;

/// The text of `builder inspect`.
pub(super) fn text(found: &InspectedBuilder, depth: Option<usize>) -> String {
    let which = if found.is_default { "default builder" } else { "builder" };
    let mut text = format!("Inspecting {which}: '{}'\n\n", found.name);
    if !found.description.is_empty() {
        let _ = writeln!(text, "Description: {}\n", found.description);
    }
    let _ = writeln!(text, "Created By:\n  Name: {}\n  Version: {}\n", found.created_by.name, found.created_by.version);
    let _ = writeln!(
        text,
        "Image:\n  ID: {}\n  Made for: {}\n  User: {}:{}\n",
        found.id, found.target, found.uid, found.gid
    );
    if let Some(stack) = &found.stack {
        let _ = writeln!(text, "Stack:\n  ID: {stack}");
        for (at, mixin) in found.mixins.iter().enumerate() {
            let _ = writeln!(text, "{}    {mixin}", if at == 0 { "  Mixins:\n" } else { "" });
        }
        text.push('\n');
    }
    let apis = &found.lifecycle.apis;
    let _ = writeln!(
        text,
        "Lifecycle:\n  Version: {}\n  Buildpack APIs:\n    Deprecated: {}\n    Supported: {}\n  Platform APIs:\n    Deprecated: {}\n    Supported: {}\n",
        or_none(&found.lifecycle.version),
        versions(&apis.buildpack.deprecated),
        versions(&apis.buildpack.supported),
        versions(&apis.platform.deprecated),
        versions(&apis.platform.supported),
    );
    text.push_str("Run Images:\n");
    for name in found.run_images.iter().flat_map(|run| std::iter::once(&run.image).chain(&run.mirrors)) {
        let _ = writeln!(text, "  {name}");
    }
    if found.run_images.is_empty() {
        text.push_str("  (none)\n");
    }
    let _ = writeln!(text, "\nBuildpacks:\n{}", table(&found.buildpacks));
    let tree = detection_tree(&found.plain_order, &found.layers, depth);
    let _ = write!(text, "Detection Order:\n{}", order_tree(&tree));
    let system = [("Before each group", &found.system.pre), ("After each group", &found.system.post)];
    for (title, buildpacks) in system.into_iter().filter(|(_, side)| !side.buildpacks.is_empty()) {
        let names = buildpacks.buildpacks.iter().map(|entry| {
            let optional = if entry.optional { "    (optional)" } else { "" };
            format!("  {}@{}{optional}\n", entry.id, entry.version)
        });
        let _ = write!(text, "\n{title}:\n{}", names.collect::<String>());
    }
    if !found.extensions.is_empty() {
        let _ = writeln!(text, "\nExtensions:\n{}", table(&found.extensions));
        let tree = detection_tree(&found.order_extensions, &found.layers, Some(0));
        let _ = write!(text, "Detection Order (Extensions):\n{}", order_tree(&tree));
    }
    // The labels are a stranger's.
    harmless(&text)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

fn versions(all: &[ApiVersion]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    or_none(&all.join(", ")).to_owned()
}
