//! Which Debian packages an app asks for: `apt.txt` (repo2docker), `Aptfile` (Heroku, Cloud Foundry), the table of Heroku's buildpack in
//! `project.toml`, and a variable. Reads and checks; knows no index.

use std::collections::BTreeMap;

use fs_err as fs;

use crate::context::Context;
use crate::encoding::decode_text;
use crate::failure::Failure;

/// The variable with names, for one build.
pub(crate) const VARIABLE: &str = "BP_DEB_PACKAGES";
/// The files with names, one in a line.
pub(crate) const FILES: [&str; 2] = ["apt.txt", "Aptfile"];
const DESCRIPTOR: &str = "project.toml";
/// The table of the descriptor.
const TABLE: [&str; 4] = ["com", "heroku", "buildpacks", "deb-packages"];
const DOING: &str = "reading which Debian packages the app asks for";
const MAX_BYTES: u64 = 1 << 20;
const MAX_PACKAGES: usize = 500;

/// A package that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// The version, where one is named.
    pub(crate) version: Option<String>,
}

impl Wanted {
    /// As a relation of Debian: `libgl1`, `curl (= 8.14.1-2)`.
    pub(crate) fn relation(&self) -> String {
        match &self.version {
            Some(version) => format!("{} (= {version})", self.name),
            None => self.name.clone(),
        }
    }
}

/// What an app asks for: each package with the place that names it first.
pub(crate) type Asked = BTreeMap<Wanted, String>;

/// Whether an app asks for any, by what is there.
pub(crate) fn is_asked(context: &Context) -> bool {
    context.variable(VARIABLE).is_some()
        || FILES.iter().any(|file| context.app_file(file).is_some())
        || context.app_file(DESCRIPTOR).is_some_and(|path| {
            fs::metadata(&path).is_ok_and(|about| about.len() <= MAX_BYTES)
                && fs::read_to_string(&path).is_ok_and(|text| table_of(&text).is_some())
        })
}

/// Everything that is asked for.
pub(crate) fn read(context: &Context) -> Result<Asked, Failure> {
    let mut asked = Asked::new();
    for file in FILES {
        let Some(text) = text_of(context, file)? else { continue };
        for (index, line) in text.lines().enumerate() {
            let place = format!("{file} line {}", index + 1);
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.starts_with(':') || line.contains("://") {
                return Err(refused(
                    format!("{place}: {line}"),
                    "packages come from the Debian mirror of the build alone",
                    "name packages of Debian; for others make a base or a buildpack of your own",
                ));
            }
            for word in line.split_whitespace() {
                add(&mut asked, word, &place)?;
            }
        }
    }
    if let Some(text) = text_of(context, DESCRIPTOR)?
        && let Some(table) = table_of(&text)
    {
        read_table(&mut asked, &table)?;
    }
    for word in context.variable(VARIABLE).unwrap_or_default().split([' ', ',', '\t', '\n']) {
        if !word.is_empty() {
            add(&mut asked, word, VARIABLE)?;
        }
    }
    if asked.len() > MAX_PACKAGES {
        let fix = "leave out what others depend on: that comes by itself";
        // The one whose list is the longest is to be shortened.
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for place in asked.values() {
            *counts.entry(place.split([' ', '[']).next().unwrap_or(place)).or_default() += 1;
        }
        let longest = counts.iter().max_by_key(|(_, count)| **count).map_or("", |(file, _)| *file);
        let seen = format!("{longest}: {} packages in all", asked.len());
        return Err(refused(seen, &format!("at most {MAX_PACKAGES} may be named"), fix));
    }
    Ok(asked)
}

fn text_of(context: &Context, file: &str) -> Result<Option<String>, Failure> {
    let Some(path) = context.app_file(file) else { return Ok(None) };
    let bytes = fs::metadata(&path).map_err(|error| Failure::io(DOING, &error))?.len();
    if bytes > MAX_BYTES {
        let why = format!("at most {MAX_BYTES} are read");
        return Err(refused(format!("{file} has {bytes} bytes"), &why, "look whether it is another file"));
    }
    let bytes = fs::read(&path).map_err(|error| Failure::io(DOING, &error))?;
    decode_text(&bytes).map(Some).map_err(|error| refused(error.in_file(file), "it is a text file", "save it as UTF-8"))
}

fn table_of(text: &str) -> Option<toml::Table> {
    let document: toml::Table = text.parse().ok()?;
    let mut table = &document;
    for key in TABLE {
        table = table.get(key)?.as_table()?;
    }
    Some(table.clone())
}

/// `install = ["a", { name = "b" }]`.
fn read_table(asked: &mut Asked, table: &toml::Table) -> Result<(), Failure> {
    let place = format!("{DESCRIPTOR} [{}]", TABLE.join("."));
    let form = "write install = [\"libgl1\", { name = \"ffmpeg\" }]";
    let wrong = |what: &str| refused(format!("{place}: {what}"), "this is no list of packages", form);
    if let Some(key) = table.keys().find(|key| *key != "install") {
        let why = "only Debian's own packages can be had, by `install`";
        return Err(refused(format!("{place}: {key}"), why, form));
    }
    let Some(items) = table.get("install").map_or(Some(&Vec::new()), toml::Value::as_array).cloned() else {
        return Err(wrong("install is no list"));
    };
    for item in &items {
        let name = match item {
            toml::Value::String(name) => name,
            toml::Value::Table(package) => {
                let skips = |key: &str| package.get(key).and_then(toml::Value::as_bool) == Some(true);
                if let Some(key) = ["skip_dependencies", "force"].into_iter().find(|key| skips(key)) {
                    let why = "a package without what it depends on, or instead of one of the base, may not work";
                    return Err(refused(format!("{place}: {key} = true"), why, "leave it out"));
                }
                package.get("name").and_then(toml::Value::as_str).ok_or_else(|| wrong("an entry has no name"))?
            }
            _ => return Err(wrong("an entry is neither a text nor a table")),
        };
        add(asked, name, &place)?;
    }
    Ok(())
}

/// `name` or `name=version`, by Debian's policy on names (section 5.6.1).
fn add(asked: &mut Asked, word: &str, place: &str) -> Result<(), Failure> {
    let (name, version) = word.split_once('=').map_or((word, None), |(name, version)| (name, Some(version)));
    let is_name = name.len() >= 2
        && name.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    let is_version = |text: &str| {
        !text.is_empty()
            && text.len() <= 200
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~:-".contains(&b))
    };
    if !is_name || version.is_some_and(|version| !is_version(version)) {
        let why = "this is no package: a name has small letters, digits, `+`, `-` and `.`; a version stands behind `=`";
        return Err(refused(format!("{place}: {word}"), why, "write libgl1, or libgl1=1.7.0-1+b2"));
    }
    let wanted = Wanted { name: name.to_owned(), version: version.map(str::to_owned) };
    asked.entry(wanted).or_insert_with(|| place.to_owned());
    Ok(())
}

fn refused(seen: String, why: &str, fix: &str) -> Failure {
    Failure::new(DOING, seen, why, fix).of_kind("deb-packages")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bindings;
    use crate::context::Environment;

    fn asked(files: &[(&str, &[u8])], variable: Option<&str>) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        for (file, bytes) in files {
            fs::write(dir.path().join(file), bytes).unwrap();
        }
        let root = dir.path().to_owned();
        let context = Context {
            buildpack_dir: root.clone(),
            app_dir: root.clone(),
            platform_dir: root.clone(),
            root_dir: root,
            environment: variable.map(|value| (VARIABLE.to_owned(), value.into())).into_iter().collect::<Environment>(),
            bindings: Bindings::default(),
        };
        assert!(is_asked(&context), "{files:?}");
        let shown = |(wanted, place): (Wanted, String)| format!("{} ({place})", wanted.relation());
        read(&context).map(|asked| asked.into_iter().map(shown).collect()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn names_come_from_every_file_that_people_use() {
        let project = b"[com.heroku.buildpacks.deb-packages]\ninstall = ['libpq5', { name = 'ffmpeg' }]\n";
        let files: &[(&str, &[u8])] = &[
            ("apt.txt", b"\xEF\xBB\xBF# graphics\r\nlibgl1  libglib2.0-0t64\r\n\r\ncurl=8.14.1-2 # this one\r\n"),
            ("Aptfile", b"libgl1\nlibpq-dev\n"),
            ("project.toml", project),
        ];
        let wanted = [
            "curl (= 8.14.1-2) (apt.txt line 4)",
            "ffmpeg (project.toml [com.heroku.buildpacks.deb-packages])",
            "git (BP_DEB_PACKAGES)",
            "libgl1 (apt.txt line 2)",
            "libglib2.0-0t64 (apt.txt line 2)",
            "libpq-dev (Aptfile line 2)",
            "libpq5 (project.toml [com.heroku.buildpacks.deb-packages])",
        ];
        assert_eq!(asked(files, Some("git, libgl1")).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_package_is_refused_with_its_place() {
        let cases: [(&str, &[u8], &str, &str); 9] = [
            ("apt.txt", b"curl\nLibGL1\n", "apt.txt line 2: LibGL1", "small letters"),
            ("apt.txt", b"--allow-downgrades\n", "apt.txt line 1: --allow-downgrades", "small letters"),
            ("apt.txt", b"curl=\n", "apt.txt line 1: curl=", "behind `=`"),
            ("apt.txt", b"curl;id\n", "apt.txt line 1: curl;id", "small letters"),
            (
                "Aptfile",
                b":repo:deb http://h/ x main\n",
                "Aptfile line 1: :repo:deb http://h/ x main",
                "Debian mirror of the build",
            ),
            ("Aptfile", b"https://h/x.deb\n", "Aptfile line 1: https://h/x.deb", "Debian mirror of the build"),
            (
                "project.toml",
                b"[com.heroku.buildpacks.deb-packages]\ninstall = 'x'\n",
                "install is no list",
                "no list of packages",
            ),
            ("project.toml", b"[com.heroku.buildpacks.deb-packages]\nsources = []\n", "sources", "by `install`"),
            (
                "project.toml",
                b"[com.heroku.buildpacks.deb-packages]\ninstall = [{ name = 'x1', force = true }]\n",
                "force = true",
                "may not work",
            ),
        ];
        for (file, bytes, seen, why) in cases {
            let page = asked(&[(file, bytes)], None).unwrap_err();
            assert!(page.contains(seen) && page.contains(why), "{page}");
        }
        let many = (0..501).map(|number| format!("lib{number}\n")).collect::<Vec<_>>().concat();
        let page = asked(&[("apt.txt", many.as_bytes())], None).unwrap_err();
        assert!(page.contains("501 packages") && page.contains("at most 500"), "{page}");
    }
}
