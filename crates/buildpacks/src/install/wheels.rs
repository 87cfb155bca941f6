//! Which Pythons the wheels of a lock are for. A lock is older than the newest Python as a rule: what it has no wheel for is built from its
//! source, which takes long and often fails, while another Python of Debian has all wheels. Pure.

use std::collections::BTreeMap;

/// Packages that are named.
const SHOWN: usize = 5;

/// What the wheels of a lock say of Pythons, gathered package by package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wheels {
    /// Packages that have wheels for this machine, and none for the chosen Python.
    lacking: Vec<String>,
    /// Pythons of Debian that all packages have wheels for, as far as they have wheels: the version (`3.13.5`) by the minor one.
    fitting: BTreeMap<u32, String>,
}

impl Wheels {
    /// Nothing is known yet of these Pythons, which can be had here: `3.13.5`.
    pub(super) fn among(pythons: Vec<String>) -> Self {
        let fitting = pythons.into_iter().filter_map(|python| Some((minor_of(&python)?, python))).collect();
        Self { lacking: Vec::new(), fitting }
    }

    /// Keeps only Pythons that this allows.
    pub(super) fn limit(&mut self, allows: impl Fn(&str) -> bool) {
        self.fitting.retain(|_, python| allows(python));
    }

    /// Adds the files of a package. Answers the Pythons that it has wheels for on this machine when the chosen one is not among them.
    pub(super) fn add(&mut self, package: &str, files: &[&str], python: &str) -> Option<String> {
        let here: Vec<&str> = files.iter().copied().filter(|name| is_wheel(name) && fits(name)).collect();
        let minor = minor_of(python)?;
        if here.is_empty() {
            return None;
        }
        let is_for = |minor: u32| here.iter().any(|name| fits_python(name, minor));
        self.fitting.retain(|minor, _| is_for(*minor));
        if is_for(minor) {
            return None;
        }
        self.lacking.push(package.to_owned());
        let known: Vec<String> = (6..30).filter(|minor| is_for(*minor)).map(|minor| format!("3.{minor}")).collect();
        Some(if known.is_empty() { "other Pythons".to_owned() } else { format!("Python {}", known.join(", ")) })
    }

    /// A Python that needs fewer builds: `3.11`.
    pub(crate) fn better(&self) -> Option<String> {
        self.fitting.keys().next_back().filter(|_| !self.lacking.is_empty()).map(|minor| format!("3.{minor}"))
    }

    /// What a person is told before anything is built.
    pub(crate) fn warning(&self, lock: &str, python: &str) -> Option<String> {
        if self.lacking.is_empty() {
            return None;
        }
        let mut names = self.lacking.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        if self.lacking.len() > SHOWN {
            names = format!("{names} and {} more", self.lacking.len() - SHOWN);
        }
        let way = match self.better() {
            Some(other) => {
                format!(
                    "it has wheels of everything for Python {other} (.python-version, or BP_CPYTHON_VERSION={other})"
                )
            }
            None => "newer versions may have wheels: make the lock anew".to_owned(),
        };
        Some(format!("{lock} has no wheel for Python {python} of {names}, built from source therefore; {way}"))
    }
}

/// `13` of `3.13.5`.
fn minor_of(python: &str) -> Option<u32> {
    python.split('.').nth(1)?.parse().ok()
}

/// Whether a file is a wheel, by its name.
pub(super) fn is_wheel(name: &str) -> bool {
    name.strip_suffix(".whl").is_some()
}

/// Whether a file can be installed on this machine, by its name. Source distributions can.
pub(crate) fn fits(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    let Some(stem) = name.strip_suffix(".whl") else { return true };
    let platform = stem.rsplit('-').next().unwrap_or_default();
    platform.split('.').any(|tag| {
        tag == "any"
            || ((tag.starts_with("manylinux") || tag.starts_with("linux")) && tag.ends_with(std::env::consts::ARCH))
    })
}

/// Whether a wheel can be installed on this machine into this Python (`3.13.5`), by its name.
pub(super) fn is_for(name: &str, python: &str) -> bool {
    is_wheel(name) && fits(name) && minor_of(python).is_some_and(|minor| fits_python(name, minor))
}

/// Whether a wheel is for CPython 3.`minor`, by its name.
fn fits_python(name: &str, minor: u32) -> bool {
    let mut tags = name.strip_suffix(".whl").unwrap_or(name).rsplit('-').skip(1);
    let (Some(abi), Some(python)) = (tags.next(), tags.next()) else { return true };
    let own = format!("cp3{minor}");
    let number =
        |tag: &str| tag.get(3..).filter(|digits| !digits.is_empty()).map_or(Some(0), |digits| digits.parse().ok());
    python.split('.').any(|tag| {
        if tag.starts_with("py3") {
            return number(tag).is_some_and(|least: u32| least <= minor);
        }
        let later = || tag.starts_with("cp3") && number(tag).is_some_and(|least: u32| least <= minor);
        abi.split('.').any(|abi| match abi {
            "abi3" => later(),
            "none" => tag == own,
            // `cp37m` was 3.7's word for itself.
            abi => tag == own && abi.strip_suffix('m').unwrap_or(abi) == own,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_of_other_platforms_do_not_fit() {
        let machine = std::env::consts::ARCH;
        for (name, wanted) in [
            ("a-1-py3-none-any.whl", true),
            ("https://h/x/a-1.tar.gz", true),
            (&format!("a-1-cp313-cp313-manylinux_2_17_{machine}.manylinux2014_{machine}.whl") as &str, true),
            ("a-1-cp313-cp313-win_amd64.whl", false),
            ("a-1-cp313-cp313-macosx_11_0_arm64.whl", false),
            (&format!("a-1-cp313-cp313-musllinux_1_2_{machine}.whl"), false),
        ] {
            assert_eq!(fits(name), wanted, "{name}");
        }
    }

    #[test]
    fn the_tags_of_a_wheel_say_its_pythons() {
        for (name, minors) in [
            ("a-1-py3-none-any.whl", &[9, 11, 13][..]),
            ("a-1-py2.py3-none-any.whl", &[9, 11, 13]),
            ("a-1-py310-none-any.whl", &[11, 13]),
            ("a-1-py2-none-any.whl", &[]),
            ("a-1-cp311-cp311-linux.whl", &[11]),
            ("a-1-1build-cp39-cp39-linux.whl", &[9]),
            ("a-1-cp37-cp37m-linux.whl", &[7]),
            ("a-1-cp37-abi3-linux.whl", &[7, 9, 11, 13]),
            ("a-1-cp311-none-linux.whl", &[11]),
            ("a-1-cp313-cp313t-linux.whl", &[]),
            ("a-1-pp310-pypy310_pp73-linux.whl", &[]),
        ] {
            let found: Vec<u32> = [7, 9, 11, 13].into_iter().filter(|minor| fits_python(name, *minor)).collect();
            let wanted: Vec<u32> = minors.to_vec();
            let found: Vec<u32> = found.into_iter().filter(|minor| *minor != 7 || wanted.contains(&7)).collect();
            assert_eq!(found, wanted, "{name}");
        }
    }

    #[test]
    fn another_python_is_named_where_the_chosen_one_has_no_wheels() {
        let machine = std::env::consts::ARCH;
        let wheel = |name: &str, minor: u32| format!("{name}-1-cp3{minor}-cp3{minor}-manylinux_2_17_{machine}.whl");
        let mut wheels = Wheels::among(vec!["3.13.5".into(), "3.11.2".into(), "3.9.2".into()]);
        assert_eq!(wheels.add("pure", &["pure-1-py3-none-any.whl"], "3.13.5"), None);
        assert_eq!(wheels.add("old", &["old-1.tar.gz"], "3.13.5"), None);
        assert_eq!(wheels.add("mac", &["mac-1-cp39-cp39-macosx_11_0_arm64.whl", "mac-1.tar.gz"], "3.13.5"), None);
        assert_eq!(wheels.warning("pdm.lock", "3.13.5"), None);
        let fast = [wheel("fast", 9), wheel("fast", 11), "fast-1.tar.gz".to_owned()];
        let fast: Vec<&str> = fast.iter().map(String::as_str).collect();
        assert_eq!(wheels.add("fast", &fast, "3.13.5").as_deref(), Some("Python 3.9, 3.11"));
        assert_eq!(
            wheels.warning("pdm.lock", "3.13.5").as_deref(),
            Some(
                "pdm.lock has no wheel for Python 3.13.5 of fast, built from source therefore; it has wheels of everything for Python 3.11 (.python-version, or BP_CPYTHON_VERSION=3.11)"
            )
        );
        wheels.limit(|python| !python.starts_with("3.11"));
        assert_eq!(wheels.better().as_deref(), Some("3.9"));
        wheels.limit(|_| false);
        assert!(wheels.warning("pdm.lock", "3.13.5").unwrap().contains("make the lock anew"));
        let mut on_forky = Wheels::among(vec!["3.14.0".into(), "3.13.5".into()]);
        assert!(on_forky.add("new", &[&wheel("new", 14)], "3.13.5").is_some());
        assert_eq!(on_forky.better().as_deref(), Some("3.14"));
    }
}
