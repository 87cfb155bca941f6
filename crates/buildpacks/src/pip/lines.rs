//! What can be said of the lines of requirements files before any installer reads them: lines that are no requirement, two versions of one package,
//! paths that lead to nothing, and names that are those of modules. Says less than an installer would, and never more: what may be meant is left to it.

use std::collections::BTreeMap;
use std::path::Path;

use super::requirements::{RequirementLine, RequirementsTree, lexical, local_path_of};
use crate::failure::Failure;
use crate::install::{distribution_of_import, is_standard_library};
use crate::pep440::Version;

const DOING: &str = "reading the requirements";
/// Odd names that are told of.
const MAX_TOLD: usize = 8;

/// Refuses what no installer would take.
pub(super) fn check(tree: &RequirementsTree, app_dir: &Path) -> Result<(), Failure> {
    let mut pins: BTreeMap<&str, (Version, &RequirementLine)> = BTreeMap::new();
    for line in tree.requirements.iter().filter(|line| !line.text.contains("${")) {
        if let Some((why, fix)) = broken(&line.text) {
            return Err(Failure::new(DOING, place(tree, line), why, fix).of_kind("requirement-invalid"));
        }
        if let Some(missing) = missing_path(&line.text, app_dir) {
            let why = format!("there is no {missing} in the app");
            let fix =
                "correct the path, or add what it names; it is read from the app's folder, and not from the file's";
            let failure = Failure::new(DOING, place(tree, line), why, fix);
            return Err(failure
                .and_fix("look whether .gitignore or an exclude rule keeps it away")
                .of_kind("path-missing"));
        }
        let Some((name, version)) = line.name.as_deref().zip(pin(&line.text)) else { continue };
        match pins.get(name) {
            Some((before, other)) if before.cmp(&version).is_ne() => {
                let failure = Failure::new(
                    DOING,
                    place(tree, line),
                    format!("no version of {name} satisfies both lines"),
                    "remove one of them",
                );
                return Err(failure.and_seen(place(tree, other)).of_kind("conflict"));
            }
            Some(_) => {}
            None => drop(pins.insert(name, (version, line))),
        }
    }
    Ok(())
}

/// Names that are probably not those of packages.
pub(super) fn warnings(tree: &RequirementsTree) -> Vec<String> {
    let odd = |line: &RequirementLine| {
        let name = line.name.as_deref().filter(|_| !line.constraint && !line.text.contains("://"))?;
        if let Some(distribution) = distribution_of_import(name) {
            return Some(format!("`{name}` is the name of an import, which comes with the package `{distribution}`"));
        }
        is_standard_library(name).then(|| format!("`{name}` is a part of Python itself, and needs no line"))
    };
    let told = tree.requirements.iter().filter_map(|line| Some(format!("{}: {}", place(tree, line), odd(line)?)));
    told.take(MAX_TOLD).collect()
}

fn place(tree: &RequirementsTree, line: &RequirementLine) -> String {
    format!("{} line {}: {}", tree.files[line.file].path.display(), line.line, line.text)
}

/// Why a line is surely no requirement, and what to write.
fn broken(text: &str) -> Option<(&'static str, String)> {
    let usual = || "write one requirement in a line, as `name`, `name==1.2` or `name>=1,<2`".to_owned();
    if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| text.starts_with(mark)) {
        return Some((
            "it is a mark of git: two versions of the file were merged and do not fit",
            "settle the conflict".to_owned(),
        ));
    }
    let bare = text.split(" --").next().unwrap_or(text).trim_end();
    if bare.starts_with('-') || bare.contains("://") || local_path_of(bare).is_some() {
        return None;
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = bare.find(|c: char| !is_name(c)).unwrap_or(bare.len());
    let (name, mut rest) = (&bare[..end], bare[end..].trim_start());
    if name.is_empty() {
        return None;
    }
    if let Some((_, after)) = rest.strip_prefix('[').and_then(|extras| extras.split_once(']')) {
        rest = after.trim_start();
    }
    let first = rest.split([' ', '\t', ';']).next().unwrap_or_default();
    if let Some((written, meant)) = [("=>", ">="), ("=<", "<=")].into_iter().find(|(wrong, _)| rest.starts_with(wrong))
    {
        let fix = format!("write `{name}{meant}{}`", rest[written.len()..].trim());
        return Some(("that is no operator", fix));
    }
    if rest.starts_with('=') && !rest.starts_with("==") {
        return Some(("`=` is how conda says a version", format!("write `{name}=={}`", rest[1..].trim())));
    }
    if name == "pip" && first == "install" {
        return Some(("it is a command", format!("write what it installs: `{}`", rest["install".len()..].trim())));
    }
    if name == "Package" && first == "Version" {
        let fix = "write the file anew: pip freeze > requirements.txt".to_owned();
        return Some(("it is the table that `pip list` prints", fix));
    }
    if first.starts_with(|c: char| c.is_ascii_digit()) && Version::parse(first).is_some() {
        return Some(("a name and a version stand side by side", format!("write `{name}=={first}`")));
    }
    if first.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Some(("more than a requirement stands in the line", usual()));
    }
    let constraint = rest.split(';').next().unwrap_or_default().trim_end();
    if constraint.ends_with(['=', '<', '>', '~', '!']) {
        return Some(("a version is missing at its end", usual()));
    }
    if constraint.trim_start_matches('(').split(',').any(has_operator_for_version) {
        return Some(("an operator stands where a version is expected", usual()));
    }
    None
}

/// `<<2`, `>=<2`: what follows the operator of a constraint is another one.
fn has_operator_for_version(part: &str) -> bool {
    const OPERATORS: [&str; 8] = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];
    let part = part.trim_start();
    let version = OPERATORS.iter().find_map(|operator| part.strip_prefix(operator));
    version.is_some_and(|version| version.trim_start().starts_with(['<', '>', '=', '~', '!']))
}

/// The path of a folder or an archive of the app that is not there.
fn missing_path(text: &str, app_dir: &Path) -> Option<String> {
    let path = local_path_of(text)?.trim();
    let inside = lexical(Path::new(path))?;
    (!path.contains('\\') && !app_dir.join(&inside).exists()).then(|| path.to_owned())
}

/// The version of a line that allows this one alone, wherever it is installed.
fn pin(text: &str) -> Option<Version> {
    let bare = text.split(" --").next().unwrap_or(text);
    let (_, version) = bare.split_once("==").filter(|_| !bare.contains([';', ',', '*', '@', '<', '>', '~', '!']))?;
    Version::parse(version.trim_start_matches('=').trim())
}

#[cfg(test)]
mod tests {
    use super::super::requirements::read_requirements;
    use super::*;

    fn tree(text: &str) -> (tempfile::TempDir, RequirementsTree) {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("requirements.txt"), text).unwrap();
        fs_err::create_dir(dir.path().join("own")).unwrap();
        let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
        (dir, tree)
    }

    fn page(text: &str) -> String {
        let (dir, tree) = tree(text);
        check(&tree, dir.path()).map_or_else(|failure| failure.to_string(), |()| String::new())
    }

    #[test]
    fn lines_that_are_no_requirement_are_refused_with_what_is_meant() {
        for (text, words) in [
            ("six\nflask=3.0\n", "write `flask==3.0`"),
            ("flask = 3.0\n", "write `flask==3.0`"),
            ("flask 3.0.1\n", "write `flask==3.0.1`"),
            ("pip install flask gunicorn\n", "`flask gunicorn`"),
            ("Package    Version\n---------- -------\nflask 3\n", "pip freeze"),
            ("foo bar baz\n", "more than a requirement"),
            ("flask==\n", "a version is missing"),
            ("flask=>3\n", "write `flask>=3`"),
            ("flask<<3\n", "an operator stands where a version is expected"),
            ("flask>=2,<=>3; python_version>'3'\n", "an operator stands where a version is expected"),
            ("six\n<<<<<<< HEAD\n", "settle the conflict"),
            ("./nope/x.whl\n", "there is no ./nope/x.whl in the app"),
            ("-e ./nope\n", "there is no ./nope in the app"),
            (
                "flask==3.0\nFlask[async]==2.0 # old\n",
                "requirements.txt line 2: Flask[async]==2.0\n        requirements.txt line 1",
            ),
        ] {
            let page = page(text);
            assert!(page.contains(words) && page.contains("requirements.txt line "), "{text}: {page}");
        }
    }

    #[test]
    fn what_an_installer_may_take_is_left_to_it() {
        let fine = "six\nflask[async] >= 3.0 , <4 ; python_version > '3'\nnumpy (>=1.2)\nx @ https://h/x.whl\ngit+https://h/x.git\n\
                    own\n./own\n-e own\ntorch==2.1.0+cu118 --hash=sha256:00\na===weird\nb~=1.4\nc!=2\n${NAME}==1\nd==1.0\nd==1.0.0\n\
                    e==1; python_version<'3'\ne==2; python_version>='3'\nf==1.*\nf==1.2\ng @ ./own\nfoo_bar.baz-1\n--pre\nC:\\x.whl\n";
        assert_eq!(page(fine), "");
    }

    #[test]
    fn names_of_modules_are_warned_of() {
        let (_dir, tree) = tree("cv2\nsqlite3\nflask\nPIL==1\njson @ https://h/x.whl\n");
        assert_eq!(
            warnings(&tree),
            [
                "requirements.txt line 1: cv2: `cv2` is the name of an import, which comes with the package `opencv-python-headless`",
                "requirements.txt line 2: sqlite3: `sqlite3` is a part of Python itself, and needs no line",
                "requirements.txt line 4: PIL==1: `pil` is the name of an import, which comes with the package `pillow`",
            ]
        );
    }
}
