//! Where a module is, from what was written: pack's forms, and `urn:hoist:buildpack:ID` for hoist's own.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use hoist_image::Reference;

use super::error::ModuleError;

/// A place where modules come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A buildpack of hoist's own, by its id.
    Shipped(String),
    /// A folder: of a buildpack, or an OCI layout.
    Folder(PathBuf),
    /// A tar.
    File(PathBuf),
    /// An address.
    Http(String),
    /// An image of the store.
    Image(Reference),
}

impl Location {
    /// Reads a location; relative paths start at `base_dir`.
    pub(crate) fn parse(text: &str, is_image: bool, base_dir: &Path) -> Result<Self, ModuleError> {
        if let Some(id) = text.strip_prefix("urn:hoist:buildpack:") {
            return Ok(Self::Shipped(id.to_owned()));
        }
        if let Some(name) = text.strip_prefix("docker://") {
            return image(text, name);
        }
        if text.starts_with("urn:cnb:registry:") {
            return Err(ModuleError::Unsupported { location: text.to_owned(), what: "a buildpack registry" });
        }
        if text.starts_with("urn:cnb:builder:") || text == "from=builder" || text.starts_with("from=builder:") {
            return Err(ModuleError::OfABuilder { location: text.to_owned() });
        }
        if is_image {
            return image(text, text);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Http(text.to_owned()));
        }
        let path = match text.strip_prefix("file:") {
            Some(rest) => unescaped(rest.strip_prefix("//localhost").or(rest.strip_prefix("//")).unwrap_or(rest)),
            None => PathBuf::from(text),
        };
        let path = base_dir.join(path);
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        if path.exists() {
            return Ok(Self::File(path));
        }
        let looks_like_path = text.starts_with(['.', '/']) || text.starts_with("file:");
        match text.parse::<Reference>() {
            Ok(name) if !looks_like_path => Ok(Self::Image(name)),
            _ => Err(ModuleError::NoPath { location: text.to_owned(), path }),
        }
    }
}

/// The path of a URI, in which a blank is `%20`.
fn unescaped(text: &str) -> PathBuf {
    let is_code = |hex: &&str| hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex =
            after.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok()).filter(is_code);
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn image(text: &str, name: &str) -> Result<Location, ModuleError> {
    let wrong = |source| ModuleError::Reference { location: text.to_owned(), source };
    name.parse().map(Location::Image).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_leads_to_its_place() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("pip")).unwrap();
        fs_err::write(dir.path().join("pip.tgz"), "").unwrap();
        let at = |text: &str| Location::parse(text, false, dir.path()).unwrap();
        assert_eq!(at("urn:hoist:buildpack:hoist/pip"), Location::Shipped("hoist/pip".into()));
        assert_eq!(at("pip"), Location::Folder(dir.path().join("pip")));
        assert_eq!(at("./pip.tgz"), Location::File(dir.path().join("./pip.tgz")));
        let file = format!("file://{}", dir.path().join("pip.tgz").display());
        assert_eq!(at(&file), Location::File(dir.path().join("pip.tgz")));
        fs_err::write(dir.path().join("100% é"), "").unwrap();
        let file = format!("file://{}", dir.path().join("100%%20%C3%a9").display());
        assert_eq!(at(&file), Location::File(dir.path().join("100% é")));
        assert_eq!(at("https://example.org/x.tgz"), Location::Http("https://example.org/x.tgz".into()));
        assert_eq!(at("docker://acme/pip:1"), Location::Image("acme/pip:1".parse().unwrap()));
        assert_eq!(at("acme/pip:1"), Location::Image("acme/pip:1".parse().unwrap()));
        // A folder of the same name is not an image that was asked for as one.
        assert_eq!(Location::parse("pip", true, dir.path()).unwrap(), Location::Image("pip".parse().unwrap()));
    }

    #[test]
    fn what_leads_nowhere_says_so() {
        let text = |text: &str| Location::parse(text, false, Path::new("/nowhere")).unwrap_err().to_string();
        assert_eq!(text("./pip"), "finding the buildpack `./pip`: there is nothing at /nowhere/./pip");
        assert_eq!(text("file:///x.tgz"), "finding the buildpack `file:///x.tgz`: there is nothing at /x.tgz");
        assert!(text("urn:cnb:registry:acme/pip@1").contains("hoist does not ask a buildpack registry yet"));
        assert!(text("from=builder").contains("a buildpack of the builder that an app is built with"));
        assert!(text("docker://A B").starts_with("finding the buildpack `docker://A B`"));
    }
}
