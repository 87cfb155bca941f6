//! Where packages come from: the machine's apt sources (sources.list(5)), and from them the sources of any suite of Debian.
//!
//! No mirror's address is written here: it is the machine's, or what the user names.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::apt_conf::read_apt_settings;
use crate::control::{ControlError, Paragraph, parse_paragraphs};
use crate::environment::native_architecture;

/// Names by which suites of Debian go. A suite that is not here is still Debian's where its mirror is recognised otherwise.
const SUITES: [&str; 12] = [
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "stable",
    "testing",
    "unstable",
    "oldstable",
    "oldoldstable",
];
/// The longest list of sources.
const LIMIT_BYTES: u64 = 1 << 20;

/// Whose signatures a source's index must bear.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedBy {
    /// Those of the machine's Debian keyring.
    #[default]
    Default,
    /// Those of files.
    Files(Vec<PathBuf>),
    /// Keys written into the source, armored.
    Inline(String),
}

/// One suite of one mirror. Serializable, so that a process elsewhere can use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Address of the mirror, without a slash at its end.
    pub uri: String,
    /// `trixie`, `trixie-updates`.
    pub suite: String,
    /// `main`, …
    pub components: Vec<String>,
    /// Whose signatures its index must bear.
    #[serde(default)]
    pub signed_by: SignedBy,
    /// Architectures that the entry is limited to; all where empty.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// False where an index past its date is good enough, as for a frozen mirror.
    pub check_valid_until: bool,
    /// True where the suite may be missing (updates, security).
    #[serde(default)]
    pub optional: bool,
}

/// A mirror, in place of the machine's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mirror {
    /// Address of the archive (`…/debian`).
    pub archive: String,
    /// Address of the security archive, if there is one.
    pub security: Option<String>,
    /// False for a frozen mirror, whose indexes are past their date.
    pub check_valid_until: bool,
}

/// Why the sources cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A file cannot be read.
    #[error("the apt sources {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no list of sources.
    #[error("the apt sources {} are wrong", path.display())]
    Grammar {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ControlError,
    },
    /// No source is Debian's.
    #[error("the machine's apt sources name no Debian mirror ({seen})")]
    NoDebian {
        /// What they name instead.
        seen: String,
    },
    /// The suite's name is none.
    #[error("`{suite}` is no name of a suite")]
    Suite {
        /// As given.
        suite: String,
    },
}

impl SourcesError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } | Self::Grammar { .. } => {
                "correct the file, or name a mirror with `hoist config set mirror ADDRESS`".into()
            }
            Self::NoDebian { .. } => {
                "name a Debian mirror: `hoist config set mirror http://HOST/debian`, or --mirror for one command".into()
            }
            Self::Suite { .. } => "take the codename of a Debian release: trixie, bookworm, forky, sid".into(),
        }
    }
}

impl Mirror {
    /// The mirror as a machine's sources, from which [`sources_for`] derives those of any suite.
    pub fn sources(&self) -> Vec<Source> {
        let of = |uri: &String, suite: &str| Source {
            check_valid_until: self.check_valid_until,
            ..Source::new(uri, suite, &["main"])
        };
        let mut sources = vec![of(&self.archive, "stable")];
        sources.extend(self.security.as_ref().map(|uri| of(uri, "stable-security")));
        sources
    }
}

impl Source {
    /// A required source that is signed by the default keys.
    pub fn new(uri: &str, suite: &str, components: &[&str]) -> Self {
        Self {
            uri: uri.trim_end_matches('/').to_owned(),
            suite: suite.to_owned(),
            components: components.iter().map(|&component| component.to_owned()).collect(),
            signed_by: SignedBy::Default,
            architectures: Vec::new(),
            check_valid_until: true,
            optional: false,
        }
    }

    /// The address of a file below the mirror.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{}", self.uri.trim_end_matches('/'), path)
    }

    /// How much this looks like a source of Debian's own archive that can be fetched from; 0 where it does not.
    fn debian_score(&self) -> u32 {
        let reachable = ["http://", "https://", "file:"].iter().any(|scheme| self.uri.starts_with(scheme));
        if !reachable || !self.components.iter().any(|component| component == "main") || !is_debian_suite(&self.suite) {
            return 0;
        }
        let debian_path = self.uri.rsplit('/').take(4).any(|part| part == "debian" || part.starts_with("debian-"));
        let debian_keys =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("debian-archive"));
        match &self.signed_by {
            SignedBy::Files(files) if files.iter().any(debian_keys) => 5 + u32::from(debian_path),
            // Somebody else's keys and an address that does not say Debian: a third party that names its suites like Debian's.
            SignedBy::Files(_) | SignedBy::Inline(_) => u32::from(debian_path) * 2,
            SignedBy::Default => 1 + 2 * u32::from(debian_path),
        }
    }

    /// True for a suite of security updates.
    pub fn is_security(&self) -> bool {
        self.suite.ends_with("-security") || self.suite.ends_with("/updates")
    }
}

/// True for a codename or an alias, with or without `-updates` and the like.
fn is_debian_suite(suite: &str) -> bool {
    let stem = suite.strip_suffix("/updates").unwrap_or(suite);
    let endings = ["-updates", "-security", "-backports", "-proposed-updates", "-backports-sloppy"];
    let stem = endings.iter().find_map(|ending| stem.strip_suffix(ending)).unwrap_or(stem);
    SUITES.contains(&stem)
}

/// Reads `etc/apt/sources.list` and `etc/apt/sources.list.d/*.{list,sources}` below a root: all enabled sources of binary packages for
/// this architecture, those of third parties too.
pub fn read_apt_sources(root: &Path) -> Result<Vec<Source>, SourcesError> {
    let mut paths: Vec<PathBuf> = vec![root.join("etc/apt/sources.list")];
    let folder = root.join("etc/apt/sources.list.d");
    if folder.is_dir() {
        let fail = |source| SourcesError::Read { path: folder.clone(), source };
        let mut more = Vec::new();
        for entry in fs_err::read_dir(&folder).map_err(fail)? {
            more.push(entry.map_err(fail)?.path());
        }
        more.sort();
        paths.extend(more);
    }
    let settings = read_apt_settings(root);
    let mut sources = Vec::new();
    for path in paths {
        let deb822 = path.extension().is_some_and(|ending| ending == "sources");
        if !(deb822 || path.extension().is_some_and(|ending| ending == "list")) || !path.is_file() {
            continue;
        }
        let fail = |source| SourcesError::Read { path: path.clone(), source };
        if fs_err::metadata(&path).map_err(fail)?.len() > LIMIT_BYTES {
            return Err(fail(std::io::Error::other("it is longer than 1 MiB")));
        }
        let text = String::from_utf8_lossy(&fs_err::read(&path).map_err(fail)?).into_owned();
        if deb822 {
            let paragraphs =
                parse_paragraphs(&text).map_err(|source| SourcesError::Grammar { path: path.clone(), source })?;
            sources
                .extend(paragraphs.iter().flat_map(|paragraph| from_paragraph(paragraph, settings.check_valid_until)));
        } else {
            sources.extend(parse_source_lines(&text, settings.check_valid_until));
        }
    }
    for source in &mut sources {
        if let Some(uri) = source.uri.strip_prefix("mirror+file:").and_then(|list| first_of_list(root, list)) {
            source.uri = uri;
        }
    }
    sources.retain(|source| {
        source.architectures.is_empty()
            || source.architectures.iter().any(|architecture| architecture == native_architecture())
    });
    Ok(sources)
}

/// Sources in apt's one-line form (`deb [check-valid-until=no] http://HOST/debian stable main`), a line each, or with `;` between them. What
/// is no source of packages is passed over, as in apt's own files.
pub fn parse_source_lines(text: &str, check_valid_until: bool) -> Vec<Source> {
    text.split(['\n', ';']).filter_map(|line| from_line(line, check_valid_until)).collect()
}

/// The Debian mirror of a machine in apt's one-line form, for processes on other machines: the archive and its security archive. None where
/// there is no Debian mirror, or where others cannot use it: a folder, or an address with a credential, which is nobody else's business.
pub fn shareable_lines(machine: &[Source], mirror: Option<&Mirror>) -> Option<String> {
    let portable = match mirror {
        Some(mirror) => mirror.sources(),
        None => sources_for("stable", machine, None).ok()?,
    };
    let shareable = |source: &&Source| {
        let rest = source.uri.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        rest.is_some_and(|(_, rest)| !rest.contains(['@', '?', '#', '\n', ';', ' ', '\t']))
    };
    let archive = portable.first().filter(shareable)?;
    let security = portable.iter().filter(|source| source.is_security()).find(shareable);
    let line = |source: &Source| {
        let option = if source.check_valid_until { "" } else { "[check-valid-until=no] " };
        format!("deb {option}{} {} main\n", source.uri, source.suite)
    };
    Some([Some(archive), security].into_iter().flatten().map(line).collect())
}

/// The first address of a list of mirrors (apt-transport-mirror(1)), which Debian's cloud images have. What cannot be read is no list.
fn first_of_list(root: &Path, list: &str) -> Option<String> {
    let path = root.join(list.trim_start_matches('/'));
    if fs_err::metadata(&path).ok()?.len() > LIMIT_BYTES {
        return None;
    }
    let text = fs_err::read_to_string(path).ok()?;
    let mut addresses = text.lines().filter_map(|line| line.split('#').next()?.split_whitespace().next());
    addresses.next().map(|address| address.trim_end_matches('/').to_owned())
}

impl Source {
    /// The same mirror without who asks it, for those who may not know.
    #[must_use]
    pub fn without_login(&self) -> Self {
        Self { uri: without_login(&self.uri), ..self.clone() }
    }
}

/// An address without user and password.
fn without_login(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
    format!("{scheme}://{host}{}", &rest[end..])
}

/// `yes` and its kin.
fn truth(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on" | "with" | "enable")
}

fn signed_by(text: &str) -> SignedBy {
    let text = text.trim();
    if text.is_empty() {
        SignedBy::Default
    } else if text.contains("BEGIN PGP") {
        // In deb822 an empty line of the armour is written as a full stop.
        let lines: Vec<&str> = text.lines().map(|line| if line.trim() == "." { "" } else { line.trim() }).collect();
        SignedBy::Inline(lines.join("\n"))
    } else {
        // Fingerprints, which may stand here too, choose among the default keys.
        let files: Vec<PathBuf> =
            text.split([' ', ',', '\n']).filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
        if files.is_empty() { SignedBy::Default } else { SignedBy::Files(files) }
    }
}

fn from_paragraph(paragraph: &Paragraph, check_valid_until: bool) -> Vec<Source> {
    let words = |name: &str| -> Vec<String> {
        paragraph.get(name).unwrap_or("").split_whitespace().map(str::to_owned).collect()
    };
    if paragraph.get("Enabled").is_some_and(|text| !truth(text)) || !words("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let mut sources = Vec::new();
    for uri in words("URIs") {
        for suite in words("Suites").iter().filter(|suite| !suite.ends_with('/')) {
            sources.push(Source {
                uri: uri.trim_end_matches('/').to_owned(),
                suite: suite.clone(),
                components: words("Components"),
                signed_by: signed_by(paragraph.get("Signed-By").unwrap_or("")),
                architectures: words("Architectures"),
                check_valid_until: paragraph.get("Check-Valid-Until").map_or(check_valid_until, truth),
                optional: false,
            });
        }
    }
    sources
}

fn from_line(line: &str, check_valid_until: bool) -> Option<Source> {
    let line = line.split('#').next().unwrap_or("").trim();
    let rest = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t']))?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    if suite.ends_with('/') {
        return None;
    }
    let option = |name: &str| {
        options.split_whitespace().find_map(|option| {
            option.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    };
    Some(Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.to_owned(),
        components: words.map(str::to_owned).collect(),
        signed_by: signed_by(option("signed-by").unwrap_or("")),
        architectures: option("arch").map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        check_valid_until: option("check-valid-until").map_or(check_valid_until, truth),
        optional: false,
    })
}

/// The sources of a suite (`trixie` with its updates and security), from the Debian mirror among the machine's sources or from the
/// one named. Updates and security are optional: a suite may not have them.
pub fn sources_for(suite: &str, machine: &[Source], mirror: Option<&Mirror>) -> Result<Vec<Source>, SourcesError> {
    let name_ok = !suite.is_empty()
        && suite.len() < 100
        && suite.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if !name_ok || suite.starts_with(['.', '-']) {
        return Err(SourcesError::Suite { suite: suite.chars().take(100).collect() });
    }
    let (archive, security) = match mirror {
        Some(mirror) => {
            let named = |uri: &String| Source {
                check_valid_until: mirror.check_valid_until,
                ..Source::new(uri, "", &["main"])
            };
            (named(&mirror.archive), mirror.security.as_ref().map(named))
        }
        None => debian_mirror(machine)?,
    };
    let of = |base: &Source, suite: String, optional| Source {
        suite,
        components: vec!["main".into()],
        architectures: Vec::new(),
        optional,
        ..base.clone()
    };
    let mut sources = vec![of(&archive, suite.to_owned(), false)];
    if !matches!(suite, "sid" | "unstable" | "experimental") {
        sources.push(of(&archive, format!("{suite}-updates"), true));
        if let Some(security) = security {
            let name = if suite == "buster" { format!("{suite}/updates") } else { format!("{suite}-security") };
            sources.push(of(&security, name, true));
        }
    }
    Ok(sources)
}

/// The archive and the security archive among the machine's sources.
fn debian_mirror(machine: &[Source]) -> Result<(Source, Option<Source>), SourcesError> {
    let best = |security: bool| {
        let mut found: Option<&Source> = None;
        for source in machine.iter().filter(|source| source.is_security() == security && source.debian_score() > 0) {
            if found.is_none_or(|best| source.debian_score() > best.debian_score()) {
                found = Some(source);
            }
        }
        found.cloned()
    };
    if let Some(archive) = best(false) {
        Ok((archive, best(true)))
    } else {
        let mut seen: Vec<&str> = machine.iter().map(|source| source.suite.as_str()).collect();
        seen.dedup();
        let seen =
            if seen.is_empty() { "there are none".to_owned() } else { format!("their suites: {}", seen.join(", ")) };
        Err(SourcesError::NoDebian { seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Result<Vec<Source>, SourcesError> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join("etc/apt").join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        read_apt_sources(root.path())
    }

    const DEB822: &str = "Types: deb deb-src\n# note\nURIs: http://m/debian/\nSuites: bookworm bookworm-updates\nComponents: main contrib\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        Types: deb\nURIs: http://m/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
        Types: deb\nEnabled: no\nURIs: http://off/debian\nSuites: sid\nComponents: main\n";

    #[test]
    fn both_forms_of_apt_sources_are_read() {
        let list = "# c\ndeb [arch=amd64,arm64 signed-by=/k.gpg check-valid-until=no] https://h/x/ bookworm main # d\n\
            deb-src http://h/y bookworm main\ndeb http://h/flat ./\ndeb [arch=s390x] http://h/z bookworm main\n";
        let sources = machine(&[
            ("sources.list.d/debian.sources", DEB822),
            ("sources.list", list),
            ("sources.list.d/x.bak", list),
        ])
        .unwrap();
        let suites: Vec<_> = sources.iter().map(|source| (source.uri.as_str(), source.suite.as_str())).collect();
        let expected = [
            ("https://h/x", "bookworm"),
            ("http://m/debian", "bookworm"),
            ("http://m/debian", "bookworm-updates"),
            ("http://m/debian-security", "bookworm-security"),
        ];
        assert_eq!(suites, expected);
        assert_eq!(sources[0].signed_by, SignedBy::Files(vec!["/k.gpg".into()]));
        assert!(!sources[0].check_valid_until && sources[1].check_valid_until);
    }

    #[test]
    fn a_list_of_mirrors_stands_for_its_first_and_a_disc_for_nothing() {
        let list = "deb cdrom:[Debian 13]/ trixie main\ndeb mirror+file:/etc/apt/mirrors/debian.list trixie main\n\
            deb mirror+file:///etc/apt/mirrors/none.list trixie main\n";
        let mirrors = "# ours\nhttps://first/debian/ priority:1\nhttps://second/debian\n";
        let sources = machine(&[("sources.list", list), ("mirrors/debian.list", mirrors)]).unwrap();
        let found = sources_for("trixie", &sources, None).unwrap();
        assert_eq!(found[0].uri, "https://first/debian");
        let sources = machine(&[("sources.list", "deb cdrom:[Debian 13]/ trixie main\n")]).unwrap();
        assert!(sources_for("trixie", &sources, None).unwrap_err().to_string().contains("name no Debian mirror"));
    }

    #[test]
    fn another_suite_is_looked_for_on_the_debian_mirror_not_on_a_third_partys() {
        let others = "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor/apt bookworm main\n\
            deb https://other/node nodistro main\n";
        let sources = machine(&[("sources.list", others), ("sources.list.d/debian.sources", DEB822)]).unwrap();
        let trixie = sources_for("trixie", &sources, None).unwrap();
        let found: Vec<_> =
            trixie.iter().map(|source| (source.uri.as_str(), source.suite.as_str(), source.optional)).collect();
        let expected = [
            ("http://m/debian", "trixie", false),
            ("http://m/debian", "trixie-updates", true),
            ("http://m/debian-security", "trixie-security", true),
        ];
        assert_eq!(found, expected);
        assert_eq!(sources_for("sid", &sources, None).unwrap().len(), 1);
        let mirror = Mirror { archive: "file:///m".into(), security: None, check_valid_until: false };
        let named = sources_for("trixie", &sources, Some(&mirror)).unwrap();
        assert_eq!((named.len(), named[0].uri.as_str(), named[0].check_valid_until), (2, "file:///m", false));
    }

    #[test]
    fn a_mirror_is_told_to_other_machines_without_what_is_not_theirs() {
        let frozen = DEB822.replace("Components: main contrib", "Components: main contrib\nCheck-Valid-Until: no");
        let sources = machine(&[("sources.list.d/debian.sources", &frozen)]).unwrap();
        let lines = shareable_lines(&sources, None).unwrap();
        let expected = "deb [check-valid-until=no] http://m/debian stable main\n\
            deb http://m/debian-security stable-security main\n";
        assert_eq!(lines, expected);
        let there = parse_source_lines(&lines, true);
        let mut here = sources_for("trixie", &sources, None).unwrap();
        for source in &mut here {
            source.signed_by = SignedBy::Default;
        }
        assert_eq!(sources_for("trixie", &there, None).unwrap(), here);
        assert_eq!(parse_source_lines(&lines.replace('\n', ";"), true), there);
        let named = |archive: &str, security: Option<&str>| {
            let security = security.map(str::to_owned);
            shareable_lines(&sources, Some(&Mirror { archive: archive.into(), security, check_valid_until: true }))
        };
        assert_eq!(named("https://me:secret@m/debian", None), None);
        assert_eq!(named("file:///srv/debian", None), None);
        let half = named("https://m/debian", Some("https://me:secret@m/debian-security")).unwrap();
        assert_eq!(half, "deb https://m/debian stable main\n");
        assert_eq!(shareable_lines(&[], None), None);
    }

    #[test]
    fn a_machine_without_a_debian_mirror_is_told_how_to_name_one() {
        let sources = machine(&[("sources.list", "deb http://u/ubuntu noble main\n")]).unwrap();
        let error = sources_for("trixie", &sources, None).unwrap_err();
        assert_eq!(error.to_string(), "the machine's apt sources name no Debian mirror (their suites: noble)");
        assert!(error.hint().contains("hoist config set mirror"));
        assert!(sources_for("../x", &sources, None).is_err());
        let error = machine(&[("sources.list.d/x.sources", "Types deb\n")]).unwrap_err();
        assert!(error.to_string().contains("x.sources are wrong"), "{error}");
    }
}
