//! Which keys a schema has, and what is said of one that it does not have.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{DOCUMENT, Schema};
use crate::error::{DocumentError, Lines, parse_toml};

/// More of them are not told one by one.
const MAX_TOLD: usize = 20;

const PROJECT: &[&str] = &[
    "schema-version",
    "id",
    "name",
    "version",
    "authors",
    "documentation-url",
    "source-url",
    "licenses",
    "licenses.type",
    "licenses.uri",
];
const GROUP: &[&str] = &["id", "version", "uri", "script", "script.api", "script.inline", "script.shell", "exec-env"];
const VARIABLE: &[&str] = &["name", "value", "exec-env"];

/// Keys that the schema does not have, in its own tables, and their lines. Tables of others are theirs.
pub(super) fn unknown_keys(text: &str, lines: &Lines, schema: Schema) -> Result<Vec<(String, usize)>, DocumentError> {
    let Ok(table) = DeTable::parse(text) else {
        // It was parsed before; the error has the same form as there.
        return parse_toml::<toml::Table>(DOCUMENT, text).map(|_| Vec::new());
    };
    let mut found = Vec::new();
    walk(lines, table.get_ref(), "", schema, &mut found);
    found.truncate(MAX_TOLD);
    Ok(found)
}

fn walk(lines: &Lines, table: &DeTable<'_>, above: &str, schema: Schema, found: &mut Vec<(String, usize)>) {
    for (key, value) in table {
        let path = if above.is_empty() { key.get_ref().to_string() } else { format!("{above}.{}", key.get_ref()) };
        match judge(&path, schema) {
            Known::Yes => descend(lines, value, &path, schema, found),
            Known::Theirs => {}
            Known::No => found.push((path, lines.line_of(key.span().start))),
        }
    }
}

fn descend(lines: &Lines, value: &Spanned<DeValue<'_>>, path: &str, schema: Schema, found: &mut Vec<(String, usize)>) {
    match value.get_ref() {
        DeValue::Table(table) => walk(lines, table, path, schema, found),
        DeValue::Array(list) => {
            for entry in list {
                descend(lines, entry, path, schema, found);
            }
        }
        _ => {}
    }
}

enum Known {
    Yes,
    /// Not of the schema's own tables: nothing is known of it, nor of what is in it.
    Theirs,
    No,
}

fn judge(path: &str, schema: Schema) -> Known {
    let yes = |is: bool| if is { Known::Yes } else { Known::No };
    let below = |table: &str| path.strip_prefix(table)?.strip_prefix('.');
    let project = if schema == Schema::V01 { "project" } else { "_" };
    let metadata = if schema == Schema::V01 { "metadata" } else { "_.metadata" };
    if path == metadata {
        return Known::Theirs;
    }
    if let Some(key) = below(project) {
        return yes(PROJECT.contains(&key) && (schema != Schema::V01 || key != "schema-version"));
    }
    if schema == Schema::V01 {
        return match (path, below("build"), below("_")) {
            ("project" | "build" | "_" | "io", ..) => Known::Yes,
            (_, Some(key), _) => yes(is_old_build(key)),
            (_, _, Some(key)) => yes(key == "schema-version"),
            ("io.buildpacks", ..) => Known::No,
            _ => Known::Theirs,
        };
    }
    match (path, below("io.buildpacks")) {
        ("_" | "io" | "io.buildpacks", _) => Known::Yes,
        ("project" | "build", _) => Known::No,
        (_, Some(key)) => yes(is_build(key, schema)),
        _ => Known::Theirs,
    }
}

fn is_old_build(key: &str) -> bool {
    matches!(key, "builder" | "include" | "exclude")
        || in_table(key, "buildpacks", GROUP, Schema::V01)
        || in_table(key, "env", VARIABLE, Schema::V01)
        || is_around(key, Schema::V01)
}

fn is_build(key: &str, schema: Schema) -> bool {
    matches!(key, "builder" | "include" | "exclude" | "schema-version" | "build")
        || in_table(key, "group", GROUP, schema)
        || in_table(key, "build.env", VARIABLE, schema)
        || schema == Schema::V02 && (key == "env" || in_table(key, "env.build", VARIABLE, schema))
        || is_around(key, schema)
}

/// `pre.group` and `post.group`.
fn is_around(key: &str, schema: Schema) -> bool {
    matches!(key, "pre" | "post")
        || in_table(key, "pre.group", GROUP, schema)
        || in_table(key, "post.group", GROUP, schema)
}

fn in_table(key: &str, table: &str, keys: &[&str], schema: Schema) -> bool {
    match key.strip_prefix(table) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('.')
            .is_some_and(|key| keys.contains(&key) && (key != "exec-env" || schema >= Schema::V03)),
        None => false,
    }
}

/// The warning and what to write instead.
pub(super) fn explain(key: &str, line: usize, schema: Schema) -> (String, String) {
    let version = match schema {
        Schema::V01 => "0.1",
        Schema::V02 => "0.2",
        Schema::V03 => "0.3",
    };
    let text = format!("line {line}: `{key}` is not in schema {version} and has no effect");
    let fix = match (schema, key) {
        (Schema::V01, key) if key.starts_with("io.buildpacks") => {
            "add [_] with schema-version = \"0.2\", which has [io.buildpacks]".to_owned()
        }
        (_, "build") => "write what is in it below [io.buildpacks]".to_owned(),
        (_, "project") => "write what is in it below [_]".to_owned(),
        (_, key) if key.ends_with("exec-env") => "declare schema-version = \"0.3\", which has it".to_owned(),
        _ => "remove it, or look for a misspelt word".to_owned(),
    };
    (text, fix)
}
