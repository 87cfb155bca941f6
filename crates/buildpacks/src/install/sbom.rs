//! The components of an environment for its bill of materials: what is really installed, as each distribution's own METADATA, the lock and the
//! installer's note of its origin (PEP 610) say it.

use std::path::Path;

use super::distributions::{Distribution, parse_metadata};
use super::lock::Lock;
use super::settings::without_login;
use crate::keep::sha256_of;
use crate::sbom::{Component, Kind, of_metadata, purl_encoded, read_start};

/// Headers stand before the description: a stranger's METADATA is not read further.
const MAX_METADATA_BYTES: u64 = 256 << 10;
const MAX_ORIGIN_BYTES: u64 = 64 << 10;

/// What is installed, in the order of `distributions`.
pub(crate) fn components(distributions: &[Distribution], lock: &Lock) -> Vec<Component> {
    distributions.iter().map(|distribution| component(distribution, lock)).collect()
}

fn component(distribution: &Distribution, lock: &Lock) -> Component {
    let text = read_start(&distribution.info_dir.join("METADATA"), MAX_METADATA_BYTES).unwrap_or_default();
    let metadata = parse_metadata(&text);
    let origin = origin(&distribution.info_dir);
    let plain = format!("{}@{}", distribution.name, purl_encoded(&distribution.version));
    let purl = match &origin {
        Origin::Index | Origin::File(_) => format!("pkg:pypi/{plain}"),
        Origin::Archive { url, .. } => format!("pkg:pypi/{plain}?download_url={}", purl_encoded(url)),
        Origin::Repository { url } => format!("pkg:pypi/{plain}?vcs_url={}", purl_encoded(url)),
        // What is made of a folder is no package of the index, whatever its name.
        Origin::Folder => format!("pkg:generic/{plain}"),
    };
    let (kind, download, noted) = match origin {
        Origin::Index => (Kind::Library, None, None),
        Origin::File(hash) => (Kind::Library, None, hash),
        Origin::Archive { url, hash } => (Kind::Library, Some(url), hash),
        // A repository of the app is nowhere else.
        Origin::Repository { url } => (Kind::Library, Some(url).filter(|url| !url.contains("+file:")), None),
        Origin::Folder => (Kind::Application, None, None),
    };
    let sha256 = lock.hash_of(&distribution.name).map(str::to_owned).or(noted);
    let record = || sha256_of(&distribution.info_dir.join("RECORD")).ok();
    Component {
        kind,
        name: if metadata.name.is_empty() { distribution.name.clone() } else { metadata.name },
        version: distribution.version.clone(),
        purl,
        summary: metadata.summary.unwrap_or_default(),
        licences: of_metadata(&text),
        record_sha256: if sha256.is_none() { record() } else { None },
        sha256,
        download,
        archive: lock.source_of(&distribution.name).map(str::to_owned),
    }
}

/// Where a distribution came from.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Index,
    /// An archive that lay in the build, with its hash where the installer noted it.
    File(Option<String>),
    Archive {
        url: String,
        hash: Option<String>,
    },
    /// `git+https://…@commit`.
    Repository {
        url: String,
    },
    Folder,
}

/// What `direct_url.json` says.
fn origin(info_dir: &Path) -> Origin {
    let Ok(text) = read_start(&info_dir.join("direct_url.json"), MAX_ORIGIN_BYTES) else { return Origin::Index };
    let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let url = without_login(said["url"].as_str().unwrap_or_default());
    if let Some(commit) = said["vcs_info"]["commit_id"].as_str() {
        let kind = said["vcs_info"]["vcs"].as_str().unwrap_or("git");
        return Origin::Repository { url: format!("{kind}+{url}@{commit}") };
    }
    if said["dir_info"].is_object() {
        return Origin::Folder;
    }
    let archive = &said["archive_info"];
    let old_form = || archive["hash"].as_str()?.strip_prefix("sha256=");
    let hash = archive["hashes"]["sha256"].as_str().or_else(old_form);
    let hash = hash.filter(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let hash = hash.map(str::to_owned);
    if url.starts_with("file:") || url.is_empty() { Origin::File(hash) } else { Origin::Archive { url, hash } }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    fn installed(dir: &Path, name: &str, metadata: &str, direct_url: &str) -> Distribution {
        let info_dir = dir.join(format!("{name}-1.dist-info"));
        fs::create_dir_all(&info_dir).unwrap();
        fs::write(info_dir.join("METADATA"), metadata).unwrap();
        fs::write(info_dir.join("RECORD"), "x\n").unwrap();
        if !direct_url.is_empty() {
            fs::write(info_dir.join("direct_url.json"), direct_url).unwrap();
        }
        Distribution { name: name.into(), version: "1+cpu".into(), info_dir }
    }

    #[test]
    fn where_a_package_came_from_is_in_its_package_url_and_no_password() {
        let dir = tempfile::tempdir().unwrap();
        let hash = "ab".repeat(32);
        let archive = format!(
            "{{\"url\": \"https://tok:s3cret@h/a.whl\", \"archive_info\": {{\"hashes\": {{\"sha256\": \"{hash}\"}}}}}}"
        );
        let all = [
            installed(dir.path(), "of-index", "Name: Of_Index\nSummary: One\nLicense: MIT\n\nx", ""),
            installed(
                dir.path(),
                "of-git",
                "",
                "{\"url\": \"https://me:s3cret@h/r.git\", \"vcs_info\": {\"vcs\": \"git\", \"commit_id\": \"abc\"}}",
            ),
            installed(dir.path(), "of-address", "", &archive),
            installed(
                dir.path(),
                "of-folder",
                "",
                "{\"url\": \"file:///workspace\", \"dir_info\": {\"editable\": true}}",
            ),
            installed(dir.path(), "of-wheel", "", "{\"url\": \"file:///workspace/a.whl\", \"archive_info\": {}}"),
        ];
        let lock = Lock { lines: vec!["of-index==1+cpu --hash=sha256:00".into()] };
        let found = components(&all, &lock);
        let purls: Vec<&str> = found.iter().map(|one| one.purl.as_str()).collect();
        assert_eq!(
            purls,
            [
                "pkg:pypi/of-index@1%2Bcpu",
                "pkg:pypi/of-git@1%2Bcpu?vcs_url=git%2Bhttps://h/r.git%40abc",
                "pkg:pypi/of-address@1%2Bcpu?download_url=https://h/a.whl",
                "pkg:generic/of-folder@1%2Bcpu",
                "pkg:pypi/of-wheel@1%2Bcpu",
            ]
        );
        assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
        let [index, git, address, folder, wheel] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (index.name.as_str(), index.summary.as_str(), index.sha256.as_deref()),
            ("Of_Index", "One", Some("00"))
        );
        assert_eq!((address.sha256.as_ref(), &address.record_sha256), (Some(&hash), &None));
        assert_eq!(git.download.as_deref(), Some("git+https://h/r.git@abc"));
        for one in [git, folder, wheel] {
            assert!(one.sha256.is_none() && one.record_sha256.as_ref().is_some_and(|hash| hash.len() == 64), "{one:?}");
        }
        assert_eq!(folder.kind, Kind::Application);
    }

    #[test]
    fn metadata_without_end_are_read_to_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let endless = format!("Name: a\nX-Much: {}\nLicense: MIT\n", "x".repeat(300 << 10));
        let found = components(&[installed(dir.path(), "a", &endless, "")], &Lock::default());
        assert_eq!((found[0].name.as_str(), &found[0].licences), ("a", &crate::sbom::Licences::default()));
    }
}
