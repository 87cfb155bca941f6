//! What a builder image must hold to have hoist's buildpacks, and the order in which they are tried.

use crate::buildpack::Buildpack;

/// The version of all buildpacks of this crate.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The buildpacks of this crate, in the default order.
pub(crate) fn all() -> Vec<&'static dyn Buildpack> {
    vec![
        &crate::deb_packages::DebPackages,
        #[cfg(feature = "conda")]
        &crate::conda::Conda,
        &crate::python::Python,
        &crate::uv_lock::UvBuildpack,
        &crate::poetry::PoetryBuildpack,
        &crate::pdm::PdmBuildpack,
        &crate::pipenv::PipenvBuildpack,
        &crate::pylock::PylockBuildpack,
        &crate::pip::Pip,
        &crate::django::Django,
        &crate::image_settings::ImageSettings,
        &crate::procfile::ProcfileBuildpack,
        &crate::job_template::JobTemplate,
    ]
}

/// One buildpack as a folder to be put into a builder: beside what stands here, `bin/detect` and `bin/build` are links to hoist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedBuildpack {
    /// The id, for example `hoist/pip`.
    pub id: &'static str,
    /// The version.
    pub version: &'static str,
    /// The text of `buildpack.toml`.
    pub buildpack_toml: String,
    /// Further files.
    pub files: Vec<ShippedFile>,
}

/// A file of a shipped buildpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedFile {
    /// The path below the buildpack's folder.
    pub path: &'static str,
    /// The content.
    pub bytes: &'static [u8],
    /// Permission bits.
    pub mode: u32,
}

/// An entry of an order's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEntry {
    /// The id.
    pub id: &'static str,
    /// The version.
    pub version: &'static str,
    /// Whether the group may go on without it.
    pub optional: bool,
}

/// All buildpacks of this crate.
pub fn shipped() -> Vec<ShippedBuildpack> {
    all()
        .into_iter()
        .map(|buildpack| ShippedBuildpack {
            id: buildpack.id(),
            version: VERSION,
            buildpack_toml: buildpack_toml(buildpack),
            files: buildpack.files(),
        })
        .collect()
}

/// The default order: a group that conda leads, where a file of its own does, and one led by the interpreter. Whatever an app needs before and after
/// that is seen by the optional ones.
pub fn default_order() -> Vec<Vec<OrderEntry>> {
    const LEADERS: [&str; 2] = ["hoist/conda", "hoist/python"];
    const OF_ANY_PYTHON: [&str; 5] =
        ["hoist/deb-packages", "hoist/django", "hoist/image-settings", "hoist/procfile", "hoist/job-template"];
    let ids: Vec<&'static str> = all().into_iter().map(Buildpack::id).collect();
    let entry = |id: &'static str| OrderEntry { id, version: VERSION, optional: !LEADERS.contains(&id) };
    let groups = LEADERS.iter().filter(|leader| ids.contains(leader)).map(|leader| {
        let takes_part = |id: &&'static str| match *leader {
            "hoist/conda" => id == leader || OF_ANY_PYTHON.contains(id),
            _ => *id != "hoist/conda",
        };
        ids.iter().copied().filter(takes_part).map(entry).collect()
    });
    groups.collect()
}

fn buildpack_toml(buildpack: &dyn Buildpack) -> String {
    let mut about = toml::Table::new();
    about.insert("id".into(), buildpack.id().into());
    about.insert("version".into(), VERSION.into());
    about.insert("name".into(), buildpack.name().into());
    about.insert("description".into(), buildpack.description().into());
    about.insert("sbom-formats".into(), crate::sbom::FORMATS.to_vec().into());
    let mut license = toml::Table::new();
    license.insert("type".into(), "MIT OR Apache-2.0".into());
    about.insert("licenses".into(), toml::Value::Array(vec![license.into()]));
    let mut target = toml::Table::new();
    target.insert("os".into(), "linux".into());
    let mut document = toml::Table::new();
    document.insert("api".into(), "0.10".into());
    document.insert("buildpack".into(), about.into());
    document.insert("targets".into(), toml::Value::Array(vec![target.into()]));
    document.to_string()
}
