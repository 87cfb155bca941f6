//! The documents of `builder inspect --output`, with pack's keys in pack's order, so that what reads them goes on reading.

use hoist_platform::InspectedBuilder;
use hoist_spec::{DetectionNode, ModuleInfo, detection_tree};
use serde_json::{Map, Value, json};

use crate::commands::listing::OutputFormat;
use crate::yaml;

/// The document; nothing for text.
pub(super) fn document(found: &InspectedBuilder, format: OutputFormat, depth: Option<usize>) -> Option<String> {
    // Hoist asks no registry, so there is nothing remote; and it trusts no builder more than another, but its own.
    let shared = json!({"builder_name": found.name, "trusted": found.is_default, "default": found.is_default});
    let info = Value::Object(builder(found, depth));
    match format {
        OutputFormat::HumanReadable => None,
        OutputFormat::Json => {
            let document = merged(&shared, json!({"remote_info": null, "local_info": info}));
            serde_json::to_string_pretty(&document).ok().map(|text| text + "\n")
        }
        OutputFormat::Yaml => {
            // Here pack's library puts the first three below a key.
            Some(yaml::write(&json!({"sharedbuilderinfo": shared, "remote_info": null, "local_info": info})))
        }
        OutputFormat::Toml => {
            let mut info = info;
            // And here these two have capitals.
            let by = &info["created_by"];
            info["created_by"] = json!({"Name": by["name"], "Version": by["version"]});
            let document = merged(&shared, json!({"local_info": info}));
            toml::to_string(&document).ok()
        }
    }
}

fn merged(shared: &Value, more: Value) -> Value {
    let mut all = shared.as_object().cloned().unwrap_or_default();
    if let Value::Object(more) = more {
        all.extend(more);
    }
    Value::Object(all)
}

fn builder(found: &InspectedBuilder, depth: Option<usize>) -> Map<String, Value> {
    let mut info = Map::new();
    let mut put = |key: &str, value: Value| info.insert(key.to_owned(), value);
    if !found.description.is_empty() {
        put("description", json!(found.description));
    }
    put("created_by", json!({"name": found.created_by.name, "version": found.created_by.version}));
    if let Some(stack) = &found.stack {
        put("stack", json!({"id": stack}));
    }
    let apis = &found.lifecycle.apis;
    put(
        "lifecycle",
        json!({
            "version": found.lifecycle.version,
            "buildpack_apis": {"deprecated": apis.buildpack.deprecated, "supported": apis.buildpack.supported},
            "platform_apis": {"deprecated": apis.platform.deprecated, "supported": apis.platform.supported},
        }),
    );
    let names = found.run_images.iter().flat_map(|run| std::iter::once(&run.image).chain(&run.mirrors));
    put("run_images", names.map(|name| json!({"name": name})).collect());
    put("buildpacks", modules(&found.buildpacks));
    let tree = detection_tree(&found.plain_order, &found.layers, depth);
    put("detection_order", tree.iter().map(|group| json!({"buildpacks": nodes(group)})).collect());
    if !found.extensions.is_empty() {
        put("extensions", modules(&found.extensions));
        let each = found.order_extensions.iter().flat_map(|group| &group.group);
        put("order_extensions", each.map(|entry| json!({"id": entry.id, "version": entry.version})).collect());
    }
    info
}

fn modules(modules: &[ModuleInfo]) -> Value {
    modules.iter().filter_map(|module| serde_json::to_value(module).ok()).collect()
}

/// A composite with several groups stands there once for each.
fn nodes(group: &[DetectionNode]) -> Value {
    let mut all = Vec::new();
    for node in group {
        let mut entry = Map::from_iter([("id".to_owned(), json!(node.entry.id))]);
        if !node.entry.version.is_empty() {
            entry.insert("version".to_owned(), json!(node.entry.version));
        }
        for (key, is_set) in [("optional", node.entry.optional), ("cyclic", node.cyclic)] {
            if is_set {
                entry.insert(key.to_owned(), json!(true));
            }
        }
        if node.groups.is_empty() {
            all.push(Value::Object(entry.clone()));
        }
        for inner in &node.groups {
            let mut entry = entry.clone();
            entry.insert("buildpacks".to_owned(), nodes(inner));
            all.push(Value::Object(entry));
        }
    }
    Value::Array(all)
}
