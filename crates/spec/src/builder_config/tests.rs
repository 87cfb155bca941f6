//! Every field, the deprecated form, and what the author of a bad file reads.

use super::*;

const FULL: &str = r#"
description = "Python"
[[buildpacks]]
id = "acme/pip"
version = "1.2.0"
uri = "../pip"
[[buildpacks]]
image = "acme/procfile:1"
[[extensions]]
uri = "curl.tgz"
[[order]]
[[order.group]]
id = "acme/pip"
version = "1.2.0"
[[order.group]]
id = "acme/procfile"
optional = true
[[order-extensions]]
[[order-extensions.group]]
id = "acme/curl"
version = "0.0.1"
[build]
image = "acme/build"
[[build.env]]
name = "A"
value = "one"
[[build.env]]
name = "PATH"
value = "/x"
suffix = "prepend"
delim = ":"
[[run.images]]
image = "acme/run"
mirrors = ["elsewhere/run"]
[[targets]]
os = "linux"
arch = "amd64"
[lifecycle]
version = "0.21.0"
[[system.pre.buildpacks]]
id = "acme/first"
version = "1.0.0"
"#;

#[test]
fn every_field_is_read() {
    let config = BuilderConfig::parse(FULL).unwrap();
    assert_eq!(config.description, "Python");
    assert_eq!(config.buildpacks[0].location, "../pip");
    assert_eq!(config.buildpacks[0].line, 3);
    assert!(config.buildpacks[1].is_image && config.buildpacks[1].id.is_none());
    assert_eq!(config.extensions[0].location, "curl.tgz");
    assert_eq!(config.order[0].lines, [12, 15]);
    assert!(config.order[0].group[1].optional && config.order[0].group[1].version.is_empty());
    assert_eq!(config.order_extensions[0].group[0].id, "acme/curl");
    assert_eq!(config.system.pre.buildpacks[0].id, "acme/first");
    assert_eq!(config.run_images[0].mirrors, ["elsewhere/run"]);
    assert_eq!(config.targets[0].arch, "amd64");
    assert_eq!(config.lifecycle.version.as_deref(), Some("0.21.0"));
    let files: Vec<(String, String)> = config.build_env.iter().flat_map(BuildEnv::files).collect();
    let expected = [("A", "one"), ("PATH.prepend", "/x"), ("PATH.delim", ":")];
    assert_eq!(files, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(config.warnings, []);
}

#[test]
fn the_deprecated_stack_says_the_same() {
    let text = "[stack]\nid = \"io.acme\"\nbuild-image = \"b\"\nrun-image = \"r\"\nrun-image-mirrors = [\"m\"]\n";
    let config = BuilderConfig::parse(text).unwrap();
    assert_eq!((config.build_image.as_str(), config.stack_id.as_deref()), ("b", Some("io.acme")));
    assert_eq!(config.run_images, [RunImage { image: "r".into(), mirrors: vec!["m".into()] }]);
    let texts: Vec<&str> = config.warnings.iter().map(|warning| warning.text.as_str()).collect();
    assert_eq!(
        texts,
        ["line 1: [stack] is deprecated", "the order is empty, so no app can be built with this builder"]
    );
}

/// The message and the fix for a file that is appended to one which is right by itself.
fn refused(more: &str) -> (String, String) {
    let error =
        BuilderConfig::parse(&format!("[build]\nimage = \"b\"\n[[run.images]]\nimage = \"r\"\n{more}")).unwrap_err();
    (error.to_string(), error.hint().unwrap())
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, message) in [
        ("[[buildpacks]]\nid = \"a\"\n", "builder.toml: line 5, buildpacks: nothing says where it comes from"),
        (
            "[[buildpacks]]\nuri = \"a\"\nimage = \"b\"\n",
            "builder.toml: line 5, buildpacks: both a uri (a) and an image (b) are given",
        ),
        ("[[order]]\n[[order.group]]\nid = \"\"\n", "builder.toml: line 6, order: an entry without an id"),
        ("[[build.env]]\nvalue = \"x\"\n", "builder.toml: line 5, build.env: `` cannot be the name of a variable"),
        (
            "[[build.env]]\nname = \"../x\"\n",
            "builder.toml: line 5, build.env: `../x` cannot be the name of a variable",
        ),
        (
            "[[build.env]]\nname = \"P\"\nvalue = \"x\"\nsuffix = \"append\"\n",
            "builder.toml: line 5, build.env: P is put to what is there already, but nothing is said to stand between",
        ),
        ("[[run.images]]\nmirrors = []\n", "builder.toml: line 5, run.images: an entry without an image"),
        (
            "[stack]\nbuild-image = \"x\"\n",
            "builder.toml: line 5, stack: build.image is `b`, but stack.build-image is `x`",
        ),
        (
            "[stack]\nrun-image = \"x\"\n",
            "builder.toml: line 5, stack: the first of run.images is `r`, but stack.run-image is `x`",
        ),
        (
            "[lifecycle]\nuri = \"x\"\nversion = \"y\"\n",
            "builder.toml: line 5, lifecycle: both a uri (x) and a version (y) are given",
        ),
    ] {
        let (found, fix) = refused(text);
        assert_eq!(found, message);
        assert!(!fix.is_empty());
    }
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_known_ones() {
    let (message, _) = refused("[[buildpacks]]\nurl = \"a\"\n");
    assert!(message.starts_with("builder.toml, line 6, column 1: unknown field `url`, expected one of"), "{message}");
    let (message, _) = refused("[[build.env]]\nname = \"A\"\nsuffix = \"prefix\"\n");
    assert!(message.contains("line 7") && message.contains("prepend"), "{message}");
}

#[test]
fn a_builder_needs_both_images() {
    let error = BuilderConfig::parse("description = \"x\"\n").unwrap_err();
    assert_eq!(error.to_string(), "builder.toml: build.image: it must be said, and is not");
    let error = BuilderConfig::parse("[build]\nimage = \"b\"\n").unwrap_err();
    assert_eq!(error.to_string(), "builder.toml: run.images: it must be said, and is not");
    assert!(error.hint().unwrap().contains("[[run.images]]"));
}

#[test]
fn a_variable_given_twice_is_a_warning() {
    let more = "[[order]]\n[[order.group]]\nid = \"a\"\n[[build.env]]\nname = \"A\"\nvalue = \"1\"\n[[build.env]]\nname = \"A\"\nvalue = \"\"\nexec-env = [\"test\"]\n";
    let text = format!("[build]\nimage = \"b\"\n[[run.images]]\nimage = \"r\"\n{more}");
    let texts: Vec<String> =
        BuilderConfig::parse(&text).unwrap().warnings.into_iter().map(|warning| warning.text).collect();
    assert_eq!(
        texts,
        [
            "line 11, build.env: exec-env has no effect here: A is set in every execution environment",
            "line 11, build.env: A has an empty value",
            "line 11, build.env: A is given twice, this one counts"
        ]
    );
}

#[test]
fn a_file_of_very_many_entries_is_read_in_no_time() {
    let entries = "[[buildpacks]]\nuri = \"a\"\n".repeat(100_000);
    let text = format!("[build]\nimage = \"b\"\n[[run.images]]\nimage = \"r\"\n{entries}");
    #[allow(clippy::disallowed_methods)] // a bound, not a time
    let started = std::time::Instant::now();
    let config = BuilderConfig::parse(&text).unwrap();
    assert_eq!(config.buildpacks.last().unwrap().line, 4 + 2 * 99_999 + 1);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}
