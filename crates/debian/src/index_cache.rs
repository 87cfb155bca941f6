//! The parsed form of one index of packages: written once, then read by binary search.
//!
//! A file is a line with the SHA-256 of all that follows, then one line of tab-separated fields for each package, sorted by name,
//! an empty line, and one line for each virtual name with its providers. It is a cache: whatever is wrong with it, it is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::abandoned::remove_unchanged;
use crate::environment::now;
use crate::fetch::is_sha256;
use crate::packages::Package;
use crate::relation::{is_name, parse_dependencies};
use crate::sha256::{Sha256, hex};
use crate::sources::Source;

/// The longest unpacked index, and the longest line in it.
const UNPACKED_LIMIT_BYTES: u64 = 1 << 30;
const LINE_LIMIT_BYTES: u64 = 1 << 20;
/// Memory that an xz stream may ask for.
const XZ_MEMORY_BYTES: u64 = 256 << 20;
/// How files are named in which a parsed index is kept, and until they are whole.
const ENDING: &str = ".packages-1";
const INCOMING: &str = ".index-";
/// A parsed index that was not used for so long is another day's; a file in the making that old was left by a killed process.
const UNUSED: Duration = Duration::from_hours(24 * 30);
const ABANDONED: Duration = Duration::from_hours(1);
/// Number of fields of a record.
const FIELDS: usize = 11;

/// Why an index cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// It cannot be unpacked.
    #[error("the index cannot be unpacked")]
    Unpack {
        /// Why.
        #[from]
        source: std::io::Error,
    },
    /// It is packed in a way that is not known.
    #[error("the index is packed as `{ending}`, which is not known")]
    Packing {
        /// The name's ending.
        ending: String,
    },
    /// It is not what an index looks like.
    #[error("line {line} of the index is wrong: {problem}")]
    Grammar {
        /// Counted from 1.
        line: usize,
        /// Why.
        problem: &'static str,
    },
}

/// One parsed index in memory.
#[derive(Debug)]
pub(crate) struct Part {
    text: String,
    records: Vec<Range<u32>>,
    virtuals: Vec<Range<u32>>,
}

/// One package of a [`Part`], its fields not yet parsed.
pub(crate) struct Record<'a> {
    fields: [&'a str; FIELDS],
}

impl Part {
    pub(crate) fn new(text: String) -> Self {
        let (mut records, mut virtuals) = (Vec::new(), Vec::new());
        let (mut start, mut in_records) = (0_u32, true);
        for line in text.split_inclusive('\n') {
            let end = start + u32::try_from(line.len()).unwrap_or(0);
            match (line.len(), in_records) {
                (1, _) => in_records = false,
                (_, true) => records.push(start..end - 1),
                (_, false) => virtuals.push(start..end - 1),
            }
            start = end;
        }
        Self { text, records, virtuals }
    }

    fn line(&self, range: &Range<u32>) -> &str {
        &self.text[range.start as usize..range.end as usize]
    }

    fn first_field(&self, range: &Range<u32>) -> &str {
        let line = self.line(range);
        line.split_once('\t').map_or(line, |(first, _)| first)
    }

    /// The records of a name.
    pub(crate) fn records<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Record<'a>> {
        let start = self.records.partition_point(|range| self.first_field(range) < name);
        self.records[start..].iter().take_while(move |range| self.first_field(range) == name).filter_map(|range| {
            let mut fields = [""; FIELDS];
            let mut count = 0;
            for (place, field) in fields.iter_mut().zip(self.line(range).split('\t')) {
                *place = field;
                count += 1;
            }
            (count == FIELDS).then_some(Record { fields })
        })
    }

    pub(crate) fn providers(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.virtuals.binary_search_by(|range| self.first_field(range).cmp(name)).ok();
        found.into_iter().flat_map(|place| self.line(&self.virtuals[place]).split('\t').skip(1))
    }

    pub(crate) fn names_with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let start = self.records.partition_point(|range| self.first_field(range) < prefix);
        self.records[start..]
            .iter()
            .map(|range| self.first_field(range))
            .take_while(move |name| name.starts_with(prefix))
    }
}

impl Record<'_> {
    /// The package; none where a field cannot be read, because a package that cannot be understood cannot be chosen.
    pub(crate) fn package(&self, source: &Source) -> Option<Package> {
        let [name, version, architecture, multi_arch, essential, depends, conflicts, provides, filename, sha256, size] =
            self.fields;
        let provides = parse_dependencies(provides)
            .ok()?
            .into_iter()
            .flat_map(|dependency| dependency.0)
            .map(|one| (one.name, one.constraint.map(|constraint| constraint.version)))
            .collect();
        let inside = !filename.starts_with('/') && !filename.split('/').any(|part| part == ".." || part.is_empty());
        (inside && is_sha256(sha256) && is_name(name) && is_name(architecture)).then_some(())?;
        Some(Package {
            name: name.to_owned(),
            version: version.parse().ok()?,
            architecture: architecture.to_owned(),
            multi_arch: multi_arch.to_owned(),
            essential: essential == "yes",
            depends: parse_dependencies(depends).ok()?,
            conflicts: parse_dependencies(conflicts).ok()?,
            provides,
            suite: source.suite.clone(),
            uri: source.uri.clone(),
            filename: filename.to_owned(),
            sha256: sha256.to_owned(),
            size_bytes: size.parse().ok()?,
        })
    }
}

/// Where the parsed form of the index with this hash is kept.
pub(crate) fn part_path(cache_dir: &Path, sha256: &str) -> PathBuf {
    cache_dir.join(format!("{sha256}{ENDING}"))
}

/// Reads a parsed index that was kept; none where there is none or where it is damaged.
pub(crate) fn read_part(path: &Path) -> Option<Part> {
    let mut text = fs_err::read_to_string(path).ok()?;
    let (checksum, rest) = text.split_once('\n')?;
    if hex(&Sha256::digest(rest.as_bytes())) != checksum {
        return None;
    }
    text.drain(..65);
    // "In use": what nobody reads for long is removed.
    let _ = fs_err::OpenOptions::new().append(true).open(path).and_then(|file| file.file().set_modified(now()));
    Some(Part::new(text))
}

/// Keeps a parsed index, all or nothing, and removes what older ones left.
pub(crate) fn write_part(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(dir)?;
    remove_unchanged(dir, |name| name.ends_with(ENDING), UNUSED);
    remove_unchanged(dir, |name| name.starts_with(INCOMING), ABANDONED);
    let mut file = tempfile::Builder::new().prefix(INCOMING).tempfile_in(dir)?;
    writeln!(file, "{}", hex(&Sha256::digest(text.as_bytes())))?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Unpacks and parses an index into the kept form.
pub(crate) fn parse_packages(packed: &[u8], ending: &str) -> Result<String, PartError> {
    let plain: Box<dyn Read + '_> = match ending {
        "xz" => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)
                .map_err(std::io::Error::from)?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        "gz" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        "" | "Packages" => Box::new(packed),
        other if other.ends_with("Packages") => Box::new(packed),
        other => return Err(PartError::Packing { ending: other.chars().take(20).collect() }),
    };
    let mut reader = BufReader::with_capacity(256 << 10, plain);
    let mut collector = Collector::default();
    let mut line = Vec::new();
    let mut total = 0;
    for number in 1.. {
        line.clear();
        let count = reader.by_ref().take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line)?;
        total += count as u64;
        if total > UNPACKED_LIMIT_BYTES {
            return Err(PartError::Grammar { line: number, problem: "the index is longer than 1 GiB" });
        }
        if count as u64 == LINE_LIMIT_BYTES {
            return Err(PartError::Grammar { line: number, problem: "it is too long" });
        }
        let text =
            std::str::from_utf8(&line).map_err(|_| PartError::Grammar { line: number, problem: "it is not UTF-8" })?;
        collector.line(text.trim_end()).map_err(|problem| PartError::Grammar { line: number, problem })?;
        if count == 0 {
            break;
        }
    }
    Ok(collector.finish())
}

/// Names of the fields that are kept, in the order of a record. `Depends` and `Pre-Depends` share a place, so do `Conflicts` and
/// `Breaks`.
const KEPT: [(&str, usize); 13] = [
    ("Package", 0),
    ("Version", 1),
    ("Architecture", 2),
    ("Multi-Arch", 3),
    ("Essential", 4),
    ("Pre-Depends", 5),
    ("Depends", 5),
    ("Conflicts", 6),
    ("Breaks", 6),
    ("Provides", 7),
    ("Filename", 8),
    ("SHA256", 9),
    ("Size", 10),
];

/// Gathers records line by line.
#[derive(Default)]
struct Collector {
    current: [String; FIELDS],
    /// Where a continuation line belongs.
    place: Option<usize>,
    records: Vec<String>,
    virtuals: BTreeMap<String, BTreeSet<String>>,
}

impl Collector {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        if line.is_empty() {
            return self.end_of_paragraph();
        }
        if line.starts_with([' ', '\t']) {
            if let Some(place) = self.place {
                self.append(place, line.trim(), " ");
            }
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or("it has no colon")?;
        self.place = KEPT.iter().find(|(kept, _)| *kept == name).map(|(_, place)| *place);
        if let Some(place) = self.place {
            self.append(place, value.trim(), ", ");
        }
        Ok(())
    }

    fn append(&mut self, place: usize, value: &str, between: &str) {
        let field = &mut self.current[place];
        if !field.is_empty() && !value.is_empty() {
            field.push_str(between);
        }
        field.extend(value.chars().map(|c| if c == '\t' { ' ' } else { c }));
    }

    fn end_of_paragraph(&mut self) -> Result<(), &'static str> {
        self.place = None;
        let fields = std::mem::take(&mut self.current);
        if fields.iter().all(String::is_empty) {
            return Ok(());
        }
        if [0, 1, 2, 8, 9, 10].iter().any(|place| fields[*place].is_empty()) {
            return Err("the package before it lacks Package, Version, Architecture, Filename, SHA256 or Size");
        }
        for provided in fields[7].split(',') {
            let name = provided.split(['(', ':']).next().unwrap_or("").trim();
            if !name.is_empty() {
                self.virtuals.entry(name.to_owned()).or_default().insert(fields[0].clone());
            }
        }
        self.records.push(fields.join("\t"));
        Ok(())
    }

    fn finish(mut self) -> String {
        // By name alone: a tab sorts before every character of a name, so that whole lines sort as their names do.
        self.records.sort();
        let mut text =
            String::with_capacity(self.records.iter().map(|record| record.len() + 1).sum::<usize>() + (1 << 20));
        for record in self.records {
            text.push_str(&record);
            text.push('\n');
        }
        text.push('\n');
        for (name, providers) in self.virtuals {
            text.push_str(&name);
            for provider in providers {
                text.push('\t');
                text.push_str(&provider);
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Package: b\nVersion: 2\nArchitecture: all\nDepends: a,\n c\nPre-Depends: p\nFilename: pool/b.deb\n\
        SHA256: 0000000000000000000000000000000000000000000000000000000000000000\nSize: 5\nDescription: x\n y\n\n\
        Package: a\nVersion: 1\nArchitecture: amd64\nProvides: v (= 3), w\nFilename: ../a.deb\n\
        SHA256: 0000000000000000000000000000000000000000000000000000000000000000\nSize: 5\n";

    #[test]
    fn an_index_is_parsed_kept_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x/part");
        let text = parse_packages(TEXT.as_bytes(), "").unwrap();
        write_part(&path, &text).unwrap();
        let part = read_part(&path).unwrap();
        let source = Source::new("http://host", "trixie", &["main"]);
        let package = part.records("b").next().unwrap().package(&source).unwrap();
        assert_eq!(package.depends.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "c", "p"]);
        assert_eq!(part.providers("v").collect::<Vec<_>>(), ["a"]);
        assert_eq!(part.names_with_prefix("").collect::<Vec<_>>(), ["a", "b"]);
        // A path that leads out of the mirror makes a package that cannot be chosen.
        assert!(part.records("a").next().unwrap().package(&source).is_none());
        fs_err::write(&path, fs_err::read_to_string(&path).unwrap().replace("pool", "pond")).unwrap();
        assert!(read_part(&path).is_none());
    }

    #[test]
    fn a_broken_index_names_its_line() {
        let error = parse_packages(b"Package: a\nnonsense\n", "").unwrap_err();
        assert_eq!(error.to_string(), "line 2 of the index is wrong: it has no colon");
        let error = parse_packages(b"Package: a\n\n", "").unwrap_err();
        assert!(error.to_string().contains("lacks Package, Version"), "{error}");
        assert!(parse_packages(b"not xz", "xz").is_err());
    }
}
