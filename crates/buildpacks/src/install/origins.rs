//! Where the addresses of the package indexes were said: what a person must change when one of them does not answer. Pure.

use super::credentials::host_of;
use super::masking::mask_credentials;
use crate::context::Environment;
use crate::pip::requirements::RequirementsTree;

/// Hosts of indexes, each with who named it, as `PIP_INDEX_URL`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins(Vec<(String, String)>);

impl Origins {
    /// What variables of the build say.
    pub(super) fn of_variables(environment: &Environment, names: &[&str]) -> Self {
        let mut origins = Self::default();
        for name in names {
            if let Some(value) = environment.get(*name) {
                origins.push(&value.to_string_lossy(), &format!("the variable {name}"));
            }
        }
        origins
    }

    /// Adds addresses between blanks, with who names them.
    pub(super) fn push(&mut self, addresses: &str, who: &str) {
        for address in addresses.split([' ', ',', '\n']) {
            if let Some(host) = host(address) {
                self.0.push((host, who.to_owned()));
            }
        }
    }

    /// Who names the index at an address: a variable, a binding, a line of the requirements.
    pub(crate) fn of(&self, address: &str, tree: &RequirementsTree) -> Option<String> {
        let wanted = host(address)?;
        let named = self.0.iter().find(|(host, _)| *host == wanted).map(|(_, who)| who.clone());
        named.or_else(|| {
            tree.files.iter().find_map(|file| {
                let says = |line: &str| {
                    line.split([' ', '=', '\t', '"', '\'']).any(|word| host(word).as_ref() == Some(&wanted))
                };
                let (at, _) = file.text.lines().enumerate().find(|(_, line)| says(line))?;
                Some(format!("{} line {}", file.path.display(), at + 1))
            })
        })
    }
}

/// `host:port` of an address, without who asks.
fn host(address: &str) -> Option<String> {
    let masked = mask_credentials(address).replace("***@", "");
    host_of(&masked)?;
    let authority = masked.split_once("://")?.1.split(['/', '?', '#']).next()?;
    (!authority.is_empty()).then(|| authority.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_an_index_is_found_by_its_host() {
        let environment = Environment::from([("PIP_INDEX_URL".to_owned(), "https://me:x@Own.example:8/simple".into())]);
        let mut origins = Origins::of_variables(&environment, &["PIP_INDEX_URL", "UV_INDEX"]);
        origins.push("https://a.example/ https://b.example/simple", "the binding `i` of type pip");
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("r.txt"), "six\n--extra-index-url=https://u:p@line.example/simple\n").unwrap();
        let tree = crate::pip::requirements::read_requirements(dir.path(), "r.txt".as_ref()).unwrap();
        let of = |address| origins.of(address, &tree);
        assert_eq!(of("https://own.example:8").as_deref(), Some("the variable PIP_INDEX_URL"));
        assert_eq!(of("https://b.example/x").as_deref(), Some("the binding `i` of type pip"));
        assert_eq!(of("https://line.example/simple/six/").as_deref(), Some("r.txt line 2"));
        assert_eq!(of("https://other.example"), None);
        assert_eq!(of("the package index"), None);
    }
}
