//! The documents of the specification (`hoist-spec`): what can be read can be written, and reads back the same.

use hoist_spec::{
    Analyzed, ApiVersion, BuildLabel, BuildMetadata, BuildPlan, BuildToml, BuilderConfig, BuilderMetadata,
    BuildpackDescriptor, BuildpackLayersLabel, BuildpackPlan, CacheMetadata, Candidate, ExtensionDescriptor, Group,
    GroupEntry, LaunchToml, LayerRecord, LayerToml, LifecycleMetadata, Order, PackageConfig, Plan, ProjectDescriptor,
    RunToml, StoreToml, System, SystemToml, flatten_order, parse_order_label, resolve_plan,
};

use super::text;

/// Whoever reads an error also reads what to do about it.
fn explained<T>(result: Result<T, hoist_spec::DocumentError>) -> Option<T> {
    result.map_err(|error| (error.to_string(), error.hint())).ok()
}

pub(super) fn builder_toml(data: &[u8]) {
    explained(BuilderConfig::parse(&text(data)));
}

pub(super) fn package_toml(data: &[u8]) {
    let Some(config) = explained(PackageConfig::parse(&text(data))) else { return };
    assert_ne!(config.buildpack.is_some(), config.extension.is_some(), "a package is of one thing");
}

pub(super) fn buildpack_toml(data: &[u8]) {
    let Some(descriptor) = explained(BuildpackDescriptor::parse(&text(data))) else { return };
    let written = descriptor.write().expect("what was read can be written");
    let read = BuildpackDescriptor::parse(&written).expect("what was written can be read");
    // Texts are compared, not values: TOML knows numbers that are not equal to themselves.
    assert_eq!(read.write().expect("written again"), written);
    let _ = (descriptor.effective_targets(), descriptor.full_name(), descriptor.supports_exec_env("test"));
    let group = GroupEntry::new(descriptor.buildpack.id.clone(), descriptor.buildpack.version.clone());
    let order = [hoist_spec::OrderGroup { group: vec![group] }];
    let known = |id: &str, _: &str| (id.len() % 2 == descriptor.buildpack.id.len() % 2).then_some(&descriptor);
    let _ = flatten_order(&order, &known);
}

pub(super) fn extension_toml(data: &[u8]) {
    explained(ExtensionDescriptor::parse(&text(data)));
}

pub(super) fn project_toml(data: &[u8]) {
    explained(ProjectDescriptor::parse(&text(data)));
}

pub(super) fn order(data: &[u8]) {
    let text = text(data);
    if let Some(order) = explained(Order::parse(&text)) {
        assert_eq!(Order::parse(&order.write().expect("written")).expect("read"), order);
    }
    explained(parse_order_label("label", &text));
}

pub(super) fn plan(data: &[u8]) {
    let text = text(data);
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (one, two) = text.split_at(middle);
    for (one, two) in [(one, two), (&text, &text)] {
        let (Some(one), Some(two)) = (explained(BuildPlan::parse(one)), explained(BuildPlan::parse(two))) else {
            continue;
        };
        let candidate = |id: &str, plan| Candidate { entry: GroupEntry::new(id, "1").optional(), plan };
        if let Ok(resolution) = resolve_plan(&[candidate("one", one), candidate("two", two)]) {
            let mut plan = resolution.plan;
            let written = plan.write().expect("what was resolved can be written");
            assert_eq!(Plan::parse(&written).expect("read").write().expect("written again"), written);
            for entry in &plan.entries {
                assert!(!entry.providers.is_empty() && !entry.requires.is_empty(), "each entry MUST have both");
            }
            let asked = plan.for_buildpack("one");
            BuildpackPlan::parse(&asked.write().expect("written")).expect("what a buildpack is asked for can be read");
            plan.remove_met(&asked.entries.iter().map(|entry| entry.name.clone()).collect());
        }
    }
    explained(Plan::parse(&text));
}

pub(super) fn launch_toml(data: &[u8]) {
    for minor in [7, 12] {
        let api = ApiVersion::new(0, minor);
        if let Some(launch) = explained(LaunchToml::parse(&text(data), api)) {
            LaunchToml::parse(&launch.write().expect("written"), api).expect("what was written can be read");
        }
    }
}

pub(super) fn layer_toml(data: &[u8]) {
    let Some(layer) = explained(LayerToml::parse(&text(data))) else { return };
    layer.write().expect("what was read can be written");
    let record = LayerRecord::new("sha256:0".into(), &layer);
    let json = serde_json::to_string(&record).expect("a record is JSON");
    let read: LayerRecord = serde_json::from_str(&json).expect("and reads back");
    read.to_restored_toml().write().expect("what a label had can be restored");
}

pub(super) fn build_toml(data: &[u8]) {
    let plan = BuildpackPlan::parse("[[entries]]\nname = \"a\"\n").expect("a plan");
    if let Some(build) = explained(BuildToml::parse(&text(data), &plan)) {
        BuildToml::parse(&build.write().expect("written"), &plan).expect("what was written can be read");
    }
}

pub(super) fn store_toml(data: &[u8]) {
    let Some(store) = explained(StoreToml::parse(&text(data))) else { return };
    hoist_spec::StoreRecord::new(&store).to_toml().write().expect("what is kept can be given back");
}

pub(super) fn phase_files(data: &[u8]) {
    let text = text(data);
    if let Some(analyzed) = explained(Analyzed::parse(&text)) {
        analyzed.write().expect("written");
    }
    if let Some(group) = explained(Group::parse(&text)) {
        assert_eq!(Group::parse(&group.write().expect("written")).expect("read"), group);
    }
    explained(RunToml::parse(&text));
    if let Some(system) = explained(SystemToml::parse(&text)) {
        assert_eq!(SystemToml::parse(&system.write().expect("written")).expect("read"), system);
    }
}

pub(super) fn metadata_toml(data: &[u8]) {
    let Some(metadata) = explained(BuildMetadata::parse(&text(data))) else { return };
    let read = BuildMetadata::parse(&metadata.write()).expect("what was written can be read");
    assert_eq!(read.processes.len(), metadata.processes.len());
    assert_eq!(read.write(), metadata.write());
    BuildLabel::new(&metadata, "1").to_label().expect("a label");
}

pub(super) fn labels(data: &[u8]) {
    let text = text(data);
    if let Some(label) = explained(LifecycleMetadata::parse(&text)) {
        let again = label.to_label().expect("a label");
        assert_eq!(LifecycleMetadata::parse(&again).expect("read").to_label().expect("written"), again);
        for layer in label.buildpacks.iter().flat_map(|buildpack| buildpack.layers.values()) {
            layer.to_restored_toml().write().expect("what a label has can be restored");
        }
    }
    if let Some(cache) = explained(CacheMetadata::parse(&text)) {
        cache.write().expect("what was read can be written");
    }
    explained(BuildLabel::parse(&text));
    explained(BuilderMetadata::parse(&text));
    explained(BuildpackLayersLabel::parse(&text));
    explained(System::from_label(&text));
}
