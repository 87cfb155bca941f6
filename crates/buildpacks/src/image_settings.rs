//! `hoist/image-settings`: what a user gives the image, in the words of Paketo's buildpacks: `BPE_*` for variables, `BP_IMAGE_LABELS` and `BP_OCI_*` for
//! labels, `BP_EMBED_CERTS` for the certificates of the build's bindings.
//!
//! It stands behind the buildpacks of languages, so that its variables win over theirs. Pure, apart from writing the layer.

use std::collections::BTreeMap;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, DetectContext, Environment};
use crate::failure::Failure;
use crate::layer::{LayerTypes, write_if_changed};
use crate::procfile_command::is_variable_name;
use crate::run_environment::{EMBED_VARIABLE, embed_certificates};

const LABELS: &str = "BP_IMAGE_LABELS";
const OCI: &str = "BP_OCI_";
const VARIABLES: &str = "BPE_";
const LAYER: &str = "variables";
const DOING_VARIABLES: &str = "reading the variables of the image";
const DOING_LABELS: &str = "reading the labels of the image";
const MAX_BYTES: usize = 128 << 10;

/// `BP_OCI_*`, and the label of the OCI image specification (annotations.md, "Pre-Defined Annotation Keys") that it sets.
const OCI_LABELS: [(&str, &str); 12] = [
    ("AUTHORS", "authors"),
    ("CREATED", "created"),
    ("DESCRIPTION", "description"),
    ("DOCUMENTATION", "documentation"),
    ("LICENSES", "licenses"),
    ("REF_NAME", "ref.name"),
    ("REVISION", "revision"),
    ("SOURCE", "source"),
    ("TITLE", "title"),
    ("URL", "url"),
    ("VENDOR", "vendor"),
    ("VERSION", "version"),
];

/// The buildpack.
pub(crate) struct ImageSettings;

impl Buildpack for ImageSettings {
    fn id(&self) -> &'static str {
        "hoist/image-settings"
    }

    fn name(&self) -> &'static str {
        "Hoist Image Settings"
    }

    fn description(&self) -> &'static str {
        "Gives the image the variables of BPE_*, the labels of BP_IMAGE_LABELS and BP_OCI_*, and the certificates of BP_EMBED_CERTS"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        let names = context.common.environment.keys();
        let is_asked = |name: &String| {
            name == LABELS || name == EMBED_VARIABLE || name.starts_with(OCI) || name.starts_with(VARIABLES)
        };
        Ok(if names.into_iter().any(is_asked) {
            Detection::pass()
        } else {
            Detection::fail("neither BPE_* nor BP_IMAGE_LABELS nor BP_OCI_* nor BP_EMBED_CERTS is set")
        })
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        let changes = variables(&context.common.environment)?;
        for (key, value) in labels(&context.common.environment)? {
            context.output.step(format!("label {key}={value}"));
            context.add_label(key, value);
        }
        embed_certificates(context)?;
        let layer = context.layer(LAYER);
        layer.clear()?;
        if changes.is_empty() {
            return Ok(());
        }
        layer.create()?;
        let folder = layer.dir().join("env.launch");
        for (file, value) in &changes {
            // The value may be a secret: who sets it for an image means everybody to have it who has the image, and not the log.
            context.output.step(format!("variable {file}"));
            let write = || {
                fs_err::create_dir_all(&folder).and_then(|()| write_if_changed(&folder.join(file), value.as_bytes()))
            };
            write().map_err(|error| Failure::io(format!("setting {file}"), &error))?;
        }
        layer.write(LayerTypes { build: false, launch: true, cache: false }, &toml::Table::new())
    }
}

/// The files of `env.launch` (CNB specification, buildpack.md, "Environment"): `NAME.override` and so on, with their text.
fn variables(environment: &Environment) -> Result<BTreeMap<String, String>, Failure> {
    let mut files = BTreeMap::new();
    for (variable, value) in environment {
        let Some(rest) = variable.strip_prefix(VARIABLES) else { continue };
        let way = ["APPEND", "DEFAULT", "DELIM", "OVERRIDE", "PREPEND"]
            .into_iter()
            .find_map(|way| Some((way, rest.strip_prefix(way)?.strip_prefix('_')?)));
        let (way, name) = way.unwrap_or(("OVERRIDE", rest));
        let text = value.to_str().filter(|text| text.len() <= MAX_BYTES && !text.contains('\0')).ok_or_else(|| {
            Failure::new(
                DOING_VARIABLES,
                format!("the value of {variable} is not UTF-8, or longer than {MAX_BYTES} bytes"),
                "it could not be a variable of a process",
                format!("set {variable} to a shorter text, or leave it out"),
            )
        })?;
        if !is_variable_name(name) {
            return Err(Failure::new(
                DOING_VARIABLES,
                format!("{variable} names the variable `{name}`"),
                "a variable's name has letters, digits and `_`, and begins with no digit",
                "write BPE_NAME, BPE_DEFAULT_NAME, BPE_APPEND_NAME, BPE_PREPEND_NAME with BPE_DELIM_NAME, or BPE_OVERRIDE_NAME",
            ));
        }
        files.insert(format!("{name}.{}", way.to_ascii_lowercase()), text.to_owned());
    }
    // A delimiter alone changes nothing.
    let joined = |name: &str| [".append", ".prepend"].iter().any(|way| files.contains_key(&format!("{name}{way}")));
    let idle: Vec<String> =
        files.keys().filter(|file| file.strip_suffix(".delim").is_some_and(|name| !joined(name))).cloned().collect();
    for file in idle {
        files.remove(&file);
    }
    Ok(files)
}

/// The labels, those with a name of their own first.
fn labels(environment: &Environment) -> Result<Vec<(String, String)>, Failure> {
    let of = |name: &str| environment.get(name).map(|value| value.to_string_lossy().into_owned());
    let mut found: Vec<(String, String)> = OCI_LABELS
        .iter()
        .filter_map(|(variable, label)| {
            Some((format!("org.opencontainers.image.{label}"), of(&format!("{OCI}{variable}"))?))
        })
        .collect();
    let text = of(LABELS).unwrap_or_default();
    let refused = |seen: String, why: &str| {
        let fix = format!("write pairs with blanks between them: {LABELS}='team=data \"about=two words\"'");
        Err(Failure::new(DOING_LABELS, seen, why, fix))
    };
    if text.len() > MAX_BYTES {
        return refused(format!("{LABELS} has {} bytes", text.len()), "labels have 128 KiB at most");
    }
    let Some(words) = shlex::split(&text) else {
        return refused(format!("{LABELS}={text}"), "a quote is opened and not closed");
    };
    for word in words {
        match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => found.push((key.to_owned(), value.to_owned())),
            _ => return refused(format!("`{word}` in {LABELS}"), "a label is a name, `=` and a text"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect()
    }

    #[test]
    fn each_way_to_change_a_variable_has_its_file() {
        let files = variables(&environment(&[
            ("BPE_PLAIN", "1"),
            ("BPE_OVERRIDE_FORCED", "2"),
            ("BPE_DEFAULT_LANG", "de"),
            ("BPE_APPEND_PATH", "/opt"),
            ("BPE_DELIM_PATH", ":"),
            ("BPE_PREPEND_X_Y", ""),
            ("BPE_DELIM_ALONE", ";"),
            ("BPE_APPENDED", "3"),
            ("OTHER", "4"),
        ]))
        .unwrap();
        let lines: Vec<String> = files.iter().map(|(file, value)| format!("{file}={value}")).collect();
        let wanted = [
            "APPENDED.override=3",
            "FORCED.override=2",
            "LANG.default=de",
            "PATH.append=/opt",
            "PATH.delim=:",
            "PLAIN.override=1",
            "X_Y.prepend=",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn labels_are_split_as_a_shell_would() {
        let found = labels(&environment(&[
            ("BP_OCI_TITLE", "Shop"),
            ("BP_OCI_REF_NAME", "v1"),
            (LABELS, r#"team=data "about=two words" url='https://h/?a=b' empty="#),
        ]))
        .unwrap();
        let lines: Vec<String> = found.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let wanted = [
            "org.opencontainers.image.ref.name=v1",
            "org.opencontainers.image.title=Shop",
            "team=data",
            "about=two words",
            "url=https://h/?a=b",
            "empty=",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn what_is_no_name_and_no_pair_is_refused_with_the_way_to_write_it() {
        for (name, value, seen, why) in [
            (LABELS, "a=b c", "`c` in BP_IMAGE_LABELS", "a label is a name, `=` and a text"),
            (LABELS, "=b", "`=b` in BP_IMAGE_LABELS", "a label is a name, `=` and a text"),
            (LABELS, "a='b", "BP_IMAGE_LABELS=a='b", "a quote is opened and not closed"),
        ] {
            let page = labels(&environment(&[(name, value)])).unwrap_err().to_string();
            assert!(page.contains(seen) && page.contains(why) && page.contains("team=data"), "{page}");
        }
        for name in ["BPE_", "BPE_1A", "BPE_APPEND_", "BPE_A.B"] {
            let page = variables(&environment(&[(name, "x")])).unwrap_err().to_string();
            assert!(page.contains(name) && page.contains("BPE_DELIM_NAME"), "{page}");
        }
    }
}
