//! `package.toml`: what a buildpackage is to be made of, as `pack buildpack package` and `pack extension package` read it.
//!
//! The specification does not describe it; the format is pack's, with the deprecated `[platform]`. A key that does not exist is an error, as in
//! [`BuilderConfig`](crate::BuilderConfig).

use serde::Deserialize;
use toml::Spanned;

use crate::builder_config::{ConfigWarning, ModuleConfig, RawModule, modules};
use crate::error::{DocumentError, Lines, parse_toml};
use crate::target::Target;

const DOCUMENT: &str = "package.toml";

/// `package.toml`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageConfig {
    /// Where the buildpack is, for a package of a buildpack.
    pub buildpack: Option<ModuleConfig>,
    /// Where the image extension is, for a package of one.
    pub extension: Option<ModuleConfig>,
    /// What a composite buildpack consists of.
    pub dependencies: Vec<ModuleConfig>,
    /// What a package of a composite is made for; that of another buildpack is in its `buildpack.toml`.
    pub targets: Vec<Target>,
    /// What works, but is probably not meant.
    pub warnings: Vec<ConfigWarning>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    buildpack: Option<Spanned<RawUri>>,
    extension: Option<Spanned<RawUri>>,
    #[serde(default)]
    dependencies: Vec<Spanned<RawDependency>>,
    platform: Option<Spanned<RawPlatform>>,
    #[serde(default)]
    targets: Vec<Spanned<Target>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUri {
    #[serde(default)]
    uri: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDependency {
    uri: Option<String>,
    image: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlatform {
    #[serde(default)]
    os: String,
}

impl PackageConfig {
    /// Reads `package.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let raw: RawConfig = parse_toml(DOCUMENT, text)?;
        let lines = Lines::of(text);
        let mut config = Self {
            buildpack: source(&lines, "buildpack", raw.buildpack)?,
            extension: source(&lines, "extension", raw.extension)?,
            dependencies: modules(DOCUMENT, &lines, "dependencies", raw.dependencies)?,
            ..Self::default()
        };
        match (&config.buildpack, &config.extension) {
            (None, None) => {
                let fix = "add [buildpack] with uri = \".\", the folder of buildpack.toml";
                return Err(DocumentError::invalid(DOCUMENT, "buildpack.uri", "it must be said, and is not", fix));
            }
            (Some(_), Some(extension)) => {
                let message = "a package holds a buildpack or an extension, not both";
                let at = format!("line {}, extension", extension.line);
                return Err(DocumentError::invalid(DOCUMENT, at, message, "make two packages"));
            }
            (None, Some(_)) => {
                if let Some(dependency) = config.dependencies.first() {
                    let at = format!("line {}, dependencies", dependency.line);
                    let message = "an extension consists of nothing else";
                    return Err(DocumentError::invalid(DOCUMENT, at, message, "remove the dependencies"));
                }
            }
            (Some(_), None) => {}
        }
        config.read_targets(&lines, raw.targets)?;
        config.read_platform(&lines, raw.platform)?;
        Ok(config)
    }

    fn read_targets(&mut self, lines: &Lines, targets: Vec<Spanned<Target>>) -> Result<(), DocumentError> {
        for target in targets {
            let at = format!("line {}, targets", lines.line_of(target.span().start));
            let target = target.into_inner();
            if target.os.is_empty() {
                return Err(DocumentError::invalid(DOCUMENT, at, "a target without an os", "add os = \"linux\""));
            }
            check_os(at, &target.os)?;
            self.targets.push(target);
        }
        Ok(())
    }

    fn read_platform(&mut self, lines: &Lines, platform: Option<Spanned<RawPlatform>>) -> Result<(), DocumentError> {
        let Some(platform) = platform else { return Ok(()) };
        let line = lines.line_of(platform.span().start);
        let os = platform.into_inner().os;
        if !os.is_empty() {
            check_os(format!("line {line}, platform.os"), &os)?;
        }
        self.warnings.push(ConfigWarning {
            text: format!("line {line}: [platform] is deprecated"),
            fix: "remove it; [[targets]] say what a package is made for".to_owned(),
        });
        Ok(())
    }
}

fn check_os(at: String, os: &str) -> Result<(), DocumentError> {
    if os == "linux" {
        return Ok(());
    }
    let message = format!("packages for `{os}` cannot be made");
    Err(DocumentError::invalid(DOCUMENT, at, message, "write os = \"linux\""))
}

fn source(lines: &Lines, field: &str, raw: Option<Spanned<RawUri>>) -> Result<Option<ModuleConfig>, DocumentError> {
    let Some(raw) = raw else { return Ok(None) };
    let line = lines.line_of(raw.span().start);
    let location = raw.into_inner().uri;
    if location.is_empty() {
        let at = format!("line {line}, {field}.uri");
        return Err(DocumentError::invalid(DOCUMENT, at, "it must be said, and is not", "add uri = \"PATH OR URI\""));
    }
    Ok(Some(ModuleConfig { location, line, ..ModuleConfig::default() }))
}

impl From<RawDependency> for RawModule {
    fn from(raw: RawDependency) -> Self {
        let mut module = Self::default();
        module.uri = raw.uri;
        module.image = raw.image;
        module
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_with_its_line() {
        let text = "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../a\"\n[[dependencies]]\nimage = \"acme/b:1\"\n\
                    [[targets]]\nos = \"linux\"\narch = \"arm64\"\n[platform]\nos = \"linux\"\n";
        let config = PackageConfig::parse(text).unwrap();
        let main = config.buildpack.unwrap();
        assert_eq!((main.location.as_str(), main.line), (".", 1));
        assert_eq!(config.dependencies[0].location, "../a");
        assert!(config.dependencies[1].is_image && config.dependencies[1].line == 5);
        assert_eq!(config.targets[0].arch, "arm64");
        assert_eq!(config.warnings[0].text, "line 10: [platform] is deprecated");
        let config = PackageConfig::parse("[extension]\nuri = \"x.tgz\"\n").unwrap();
        assert_eq!(config.extension.unwrap().location, "x.tgz");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, message) in [
            ("", "package.toml: buildpack.uri: it must be said, and is not"),
            ("[buildpack]\n", "package.toml: line 1, buildpack.uri: it must be said, and is not"),
            ("[buildpack]\nurl = \".\"\n", "package.toml, line 2, column 1: unknown field `url`, expected `uri`"),
            (
                "[buildpack]\nuri = \".\"\n[[dependencies]]\nid = \"a\"\n",
                "package.toml, line 4, column 1: unknown field `id`, expected `uri` or `image`",
            ),
            (
                "[buildpack]\nuri = \".\"\n[[dependencies]]\n",
                "package.toml: line 3, dependencies: nothing says where it comes from",
            ),
            (
                "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"a\"\nimage = \"b\"\n",
                "package.toml: line 3, dependencies: both a uri (a) and an image (b) are given",
            ),
            (
                "[buildpack]\nuri = \".\"\n[extension]\nuri = \".\"\n",
                "package.toml: line 3, extension: a package holds a buildpack or an extension, not both",
            ),
            (
                "[extension]\nuri = \".\"\n[[dependencies]]\nuri = \"a\"\n",
                "package.toml: line 3, dependencies: an extension consists of nothing else",
            ),
            (
                "[buildpack]\nuri = \".\"\n[platform]\nos = \"windows\"\n",
                "package.toml: line 3, platform.os: packages for `windows` cannot be made",
            ),
            (
                "[buildpack]\nuri = \".\"\n[[targets]]\narch = \"arm64\"\n",
                "package.toml: line 3, targets: a target without an os",
            ),
        ] {
            assert_eq!(PackageConfig::parse(text).unwrap_err().to_string(), message);
        }
    }
}
