//! What a package says of its licence, as SPDX expressions where it can be told for sure, and else by the name that it gives. Pure.
//!
//! Where several are named without a word between them, all of them are listed: which of them may be chosen is not known.

use serde::{Deserialize, Serialize};
use spdx::{Expression, ParseMode};

/// A longer value is the text of a licence, not its name.
const MAX_NAME_BYTES: usize = 100;
/// An expression of a stranger is no longer.
const MAX_EXPRESSION_BYTES: usize = 1000;
/// A package names no more.
const MAX_TERMS: usize = 60;

/// What identifiers the format has, older ones too.
const MODE: ParseMode = ParseMode { allow_deprecated: true, ..ParseMode::STRICT };

/// One licence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Term {
    /// A valid SPDX expression, mostly a single identifier.
    Expression(String),
    /// What the package calls it.
    Name(String),
}

/// The licences of a package; all of them hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Licences(Vec<Term>);

impl Licences {
    /// An identifier that is known to be one.
    pub(crate) fn of_id(id: &str) -> Self {
        Self(vec![Term::Expression(id.to_owned())])
    }

    pub(super) fn terms(&self) -> &[Term] {
        &self.0
    }

    pub(super) fn push(&mut self, term: Term) {
        if self.0.len() < MAX_TERMS && !self.0.contains(&term) {
            self.0.push(term);
        }
    }

    /// One expression, when none is only a name.
    pub(super) fn expression(&self) -> Option<String> {
        let expressions = self.0.iter().map(|term| match term {
            Term::Expression(text) => Some(text.clone()),
            Term::Name(_) => None,
        });
        expressions.collect::<Option<Vec<_>>>().map(|all| Self::all_of(&all))
    }

    /// Expressions joined with AND.
    pub(super) fn all_of(expressions: &[String]) -> String {
        let is_alone = expressions.len() == 1;
        let one = |text: &String| if is_alone || !text.contains(" OR ") { text.clone() } else { format!("({text})") };
        expressions.iter().map(one).collect::<Vec<_>>().join(" AND ")
    }
}

/// The licences that a distribution's METADATA (core metadata specification) names: `License-Expression`, else `License`, else the classifiers.
/// The description below the headers is not looked at.
pub(crate) fn of_metadata(text: &str) -> Licences {
    let mut said = None;
    let mut classified = Vec::new();
    let mut lines = text.lines().take_while(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key {
            "License-Expression" => {
                if let Some(expression) = expression(value) {
                    return Licences(vec![Term::Expression(expression)]);
                }
                said = said.or_else(|| name(value));
            }
            // The whole text of a licence goes on in the lines below: its first line may be a title.
            "License" => {
                let is_text = lines.peek().is_some_and(|next| next.starts_with([' ', '\t']));
                said = said.or_else(|| name(value).filter(|name| !is_text || known(name).is_some()));
            }
            "Classifier" => {
                let path = value.strip_prefix("License ::").map(str::trim);
                classified.extend(path.filter(|path| *path != "OSI Approved"));
            }
            _ => {}
        }
    }
    if let Some(term) = said.as_deref().and_then(known) {
        return Licences(vec![term]);
    }
    let mut found = Licences::default();
    for path in &classified {
        let last = path.rsplit(" :: ").next().unwrap_or(path).trim();
        found.push(of_classifier(last).map_or_else(|| Term::Name(shortened(last)), |id| Term::Expression(id.into())));
    }
    // A name of its own says more than a group of licences ("BSD License").
    let is_sure = found.0.iter().all(|term| matches!(term, Term::Expression(_)));
    match said {
        Some(name) if found.0.is_empty() || !is_sure => Licences(vec![Term::Name(name)]),
        _ => found,
    }
}

/// What may be a name of a licence: a short line that says something.
fn name(value: &str) -> Option<String> {
    let line: String = value.chars().filter(|c| !c.is_control()).collect();
    let is_name = !line.is_empty() && !matches!(line.to_ascii_uppercase().as_str(), "UNKNOWN" | "NONE" | "N/A");
    (is_name && line.len() <= MAX_NAME_BYTES).then_some(line)
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME_BYTES).collect()
}

/// The text itself when it is a valid expression.
fn expression(text: &str) -> Option<String> {
    let is_one = text.len() <= MAX_EXPRESSION_BYTES && Expression::parse_mode(text, MODE).is_ok();
    is_one.then(|| text.to_owned())
}

/// A licence by what people call it, when only one can be meant.
fn known(name: &str) -> Option<Term> {
    expression(name).or_else(|| by_name(name).map(str::to_owned)).map(Term::Expression)
}

/// What people write for an identifier, without case, punctuation and words that say nothing.
fn by_name(name: &str) -> Option<&'static str> {
    const FILLING: &[&str] = &["the", "license", "licence", "licensed", "under", "version", "software", "opensource"];
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '+')).filter(|word| !word.is_empty());
    let key: String = words.filter(|word| !FILLING.contains(word)).collect::<Vec<_>>().join("");
    Some(match key.as_str() {
        "mit" | "expat" | "mitexpat" => "MIT",
        "mit0" => "MIT-0",
        "apache2" | "apache2.0" | "apachev2" | "apachev2.0" | "asl2.0" | "apl2.0" | "al2.0" => "Apache-2.0",
        "bsd3clause" | "3clausebsd" | "bsd3" | "newbsd" | "modifiedbsd" | "revisedbsd" | "bsdnew" => "BSD-3-Clause",
        "bsd2clause" | "2clausebsd" | "bsd2" | "simplifiedbsd" | "freebsd" => "BSD-2-Clause",
        "0bsd" | "zeroclausebsd" => "0BSD",
        "isc" | "iscl" => "ISC",
        "mpl2" | "mpl2.0" | "mplv2" | "mplv2.0" | "mozillapublic2.0" => "MPL-2.0",
        "psf" | "psf2.0" | "psfl" | "pythonfoundation" => "PSF-2.0",
        "unlicense" => "Unlicense",
        "zlib" | "zliblibpng" => "Zlib",
        "hpnd" => "HPND",
        "wtfpl" => "WTFPL",
        "zpl2.1" => "ZPL-2.1",
        "cc01.0" => "CC0-1.0",
        "bsl1.0" | "boost1.0" => "BSL-1.0",
        "gplv2+" | "gpl2+" | "gplv2orlater" => "GPL-2.0-or-later",
        "gplv3+" | "gpl3+" | "gplv3orlater" => "GPL-3.0-or-later",
        "lgplv2.1+" | "lgpl2.1+" => "LGPL-2.1-or-later",
        "lgplv3+" | "lgpl3+" => "LGPL-3.0-or-later",
        "agplv3+" | "agpl3+" => "AGPL-3.0-or-later",
        _ => return None,
    })
}

/// The identifier of a trove classifier, where it means one licence alone: `BSD License` and `Apache Software License` do not.
fn of_classifier(last: &str) -> Option<&'static str> {
    let short = last.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    if let Some(id) = short.and_then(spdx::license_id) {
        return Some(id.name);
    }
    Some(match last {
        "GNU General Public License v2 (GPLv2)" => "GPL-2.0-only",
        "GNU General Public License v2 or later (GPLv2+)" => "GPL-2.0-or-later",
        "GNU General Public License v3 (GPLv3)" => "GPL-3.0-only",
        "GNU General Public License v3 or later (GPLv3+)" => "GPL-3.0-or-later",
        "GNU Lesser General Public License v2 (LGPLv2)" => "LGPL-2.0-only",
        "GNU Lesser General Public License v2 or later (LGPLv2+)" => "LGPL-2.0-or-later",
        "GNU Lesser General Public License v3 (LGPLv3)" => "LGPL-3.0-only",
        "GNU Lesser General Public License v3 or later (LGPLv3+)" => "LGPL-3.0-or-later",
        "GNU Affero General Public License v3" => "AGPL-3.0-only",
        "GNU Affero General Public License v3 or later (AGPLv3+)" => "AGPL-3.0-or-later",
        "Mozilla Public License 1.0 (MPL)" => "MPL-1.0",
        "Mozilla Public License 1.1 (MPL 1.1)" => "MPL-1.1",
        "Mozilla Public License 2.0 (MPL 2.0)" => "MPL-2.0",
        "Python Software Foundation License" => "PSF-2.0",
        "ISC License (ISCL)" => "ISC",
        "zlib/libpng License" => "Zlib",
        "Historical Permission Notice and Disclaimer (HPND)" => "HPND",
        "University of Illinois/NCSA Open Source License" => "NCSA",
        "Eclipse Public License 1.0 (EPL-1.0)" => "EPL-1.0",
        "Eclipse Public License 2.0 (EPL-2.0)" => "EPL-2.0",
        "European Union Public Licence 1.1 (EUPL 1.1)" => "EUPL-1.1",
        "European Union Public Licence 1.2 (EUPL 1.2)" => "EUPL-1.2",
        "Universal Permissive License (UPL)" => "UPL-1.0",
        "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication" => "CC0-1.0",
        "W3C License" => "W3C",
        "MIT License" => "MIT",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let shown = |term: &Term| match term {
            Term::Expression(text) => text.clone(),
            Term::Name(name) => format!("`{name}`"),
        };
        of_metadata(text).terms().iter().map(shown).collect()
    }

    #[test]
    fn metadata_say_the_licence_in_three_ways() {
        let classified = |last: &str| said(&format!("Classifier: License :: OSI Approved :: {last}\n"));
        assert_eq!(
            said("Name: a\nLicense-Expression: MIT AND (BSD-3-Clause OR GPL-2.0)\n"),
            ["MIT AND (BSD-3-Clause OR GPL-2.0)"]
        );
        assert_eq!(said("License-Expression: MIT\nLicense: BSD\n"), ["MIT"]);
        assert_eq!(said("License-Expression: nonsense AND\n"), ["`nonsense AND`"]);
        assert_eq!(said("License: BSD\n\nLicense-Expression: MIT\n"), ["`BSD`"], "the description is not read");
        for (text, id) in [
            ("MIT License", "MIT"),
            ("The MIT License", "MIT"),
            ("Apache License, Version 2.0", "Apache-2.0"),
            ("Apache 2.0", "Apache-2.0"),
            ("BSD-3-Clause", "BSD-3-Clause"),
            ("3-Clause BSD License", "BSD-3-Clause"),
            ("new BSD", "BSD-3-Clause"),
            ("MPL-2.0", "MPL-2.0"),
            ("PSF", "PSF-2.0"),
            ("GPLv3+", "GPL-3.0-or-later"),
            ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("Apache", "`Apache`"),
            ("GPL", "`GPL`"),
        ] {
            assert_eq!(said(&format!("License: {text}\n")), [id], "{text}");
        }
        assert_eq!(classified("MIT License"), ["MIT"]);
        assert_eq!(classified("MIT No Attribution License (MIT-0)"), ["MIT-0"]);
        assert_eq!(classified("The Unlicense (Unlicense)"), ["Unlicense"]);
        assert_eq!(classified("GNU Lesser General Public License v3 or later (LGPLv3+)"), ["LGPL-3.0-or-later"]);
        assert_eq!(classified("BSD License"), ["`BSD License`"]);
        assert_eq!(said("Classifier: License :: Public Domain\nClassifier: Topic :: X\n"), ["`Public Domain`"]);
        assert_eq!(said("Classifier: License :: OSI Approved\n"), Vec::<String>::new());
    }

    #[test]
    fn of_several_ways_the_one_that_is_sure_counts() {
        let both = |license: &str, last: &str| {
            said(&format!("License: {license}\nClassifier: License :: OSI Approved :: {last}\n"))
        };
        assert_eq!(both("see LICENCE", "MIT License"), ["MIT"]);
        assert_eq!(both("BSD-3-Clause", "BSD License"), ["BSD-3-Clause"]);
        assert_eq!(both("BSD", "BSD License"), ["`BSD`"]);
        assert_eq!(both("UNKNOWN", "BSD License"), ["`BSD License`"]);
        let text = "Copyright: ".repeat(20);
        assert_eq!(both(&text, "MIT License"), ["MIT"], "the text of a licence is no name of one");
        assert_eq!(both("Copyright (c) 2005 Numpy\n  All rights", "BSD License"), ["`BSD License`"]);
        assert_eq!(both("MIT License\n\t\n\tCopyright (c) Somebody", "BSD License"), ["MIT"]);
        assert_eq!(
            said(
                "Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: BSD License\n"
            ),
            ["MIT", "`BSD License`"]
        );
    }

    #[test]
    fn a_stranger_s_endless_list_ends() {
        let text: String = (0..1000).fold(String::new(), |text, n| text + &format!("Classifier: License :: x{n}\n"));
        assert_eq!(of_metadata(&text).terms().len(), MAX_TERMS);
        let deep = format!("License-Expression: {}MIT\n", "(".repeat(5000));
        assert!(of_metadata(&deep).terms().is_empty());
    }
}
