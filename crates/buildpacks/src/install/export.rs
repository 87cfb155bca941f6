//! What was installed as a `pylock.toml` (the "pylock.toml" specification, PEP 751), for `hoist check --lock`. What comes of an index is told by uv, with
//! each file's address and hash; what comes of elsewhere is read from the environment (PEP 610).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use fs_err as fs;

use super::distributions::Distribution;
use super::settings::{mask_credentials, without_login};
use crate::failure::Failure;
use crate::keep::sha256_of;

/// The platform wants the lock, and nothing else of this build.
pub(crate) const VARIABLE: &str = "HOIST_LOCK";
/// The layer that holds it, and its name in there.
pub(crate) const LAYER: &str = "lock";
pub(crate) const FILE: &str = "pylock.toml";

const START: &str = "[[packages]]";

/// The distributions, as those of an index and others.
pub(super) fn split(distributions: &[Distribution]) -> (Vec<&Distribution>, Vec<&Distribution>) {
    distributions.iter().partition(|one| !one.info_dir.join("direct_url.json").exists())
}

/// The requirements that name exactly these.
pub(super) fn pins(of_index: &[&Distribution]) -> String {
    of_index.iter().map(|one| format!("{}=={}", one.name, one.version)).collect::<Vec<_>>().join("\n")
}

/// The arguments of uv for a lock of pins.
pub(super) fn arguments() -> impl Iterator<Item = OsString> {
    ["--quiet", "--no-deps", "--no-header", "--format", FILE].into_iter().map(OsString::from)
}

/// The whole lock: uv's text for what is of an index (empty when nothing is), and the others.
pub(super) fn lock(of_uv: &str, others: &[&Distribution], app_dir: &Path, python: &str) -> Result<String, Failure> {
    let (head, rest) = of_uv.split_once(START).unwrap_or((of_uv, ""));
    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    for block in rest.split(START).filter(|block| !block.trim().is_empty()) {
        let name = block.lines().find_map(|line| line.strip_prefix("name = ")).unwrap_or_default();
        packages.insert(name.trim_matches('"').to_owned(), of_the_app(block.trim(), app_dir));
    }
    for other in others {
        packages.insert(other.name.clone(), direct(other, app_dir)?);
    }
    let minor: String = python.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let written = head.lines().find(|line| line.starts_with("requires-python")).map(str::to_owned);
    let requires = written.unwrap_or_else(|| format!("requires-python = \">={minor}\""));
    let mut text = format!("lock-version = \"1.0\"\ncreated-by = \"hoist\"\n{requires}\n");
    if packages.is_empty() {
        text.push_str("packages = []\n");
    }
    for block in packages.values() {
        let _ = writeln!(text, "\n{START}\n{block}");
    }
    Ok(text)
}

/// A package as uv writes it, where archives that lie in the app have their path in place of an address, and the hash that they have now.
fn of_the_app(block: &str, app_dir: &Path) -> String {
    const ADDRESS: &str = "url = \"file://";
    const HASH: &str = "sha256 = \"";
    let mut parts = block.split(ADDRESS);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (address, rest) = part.split_once('"').unwrap_or((part, ""));
        let path = decoded(address);
        let inside = Path::new(&path).strip_prefix(app_dir).ok().and_then(Path::to_str);
        let hash = sha256_of(Path::new(&path)).ok();
        let after = rest.split_once(HASH).and_then(|(between, rest)| Some((between, rest.split_once('"')?.1)));
        match (inside, hash, after) {
            (Some(inside), Some(hash), Some((between, rest))) => {
                let _ = write!(text, "path = {}{between}{HASH}{hash}\"{rest}", quoted(inside));
            }
            _ => {
                let _ = write!(text, "{ADDRESS}{part}");
            }
        }
    }
    text
}

/// A package that no index was asked for.
fn direct(one: &Distribution, app_dir: &Path) -> Result<String, Failure> {
    let doing = "writing the lock";
    let text = fs::read_to_string(one.info_dir.join("direct_url.json")).map_err(|error| Failure::io(doing, &error))?;
    let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let url = said["url"].as_str().unwrap_or_default();
    let cannot = |why: &str| {
        let seen = format!("{} {} comes from {}", one.name, one.version, mask_credentials(url));
        Failure::new(doing, seen, why, "take it from an index, a repository or a folder of the app")
    };
    let name = format!("name = {}", quoted(&one.name));
    let version = format!("version = {}", quoted(&one.version));
    if let Some(commit) = said["vcs_info"]["commit_id"].as_str() {
        let kind = said["vcs_info"]["vcs"].as_str().unwrap_or("git");
        let below = said["subdirectory"].as_str().map(|path| format!(", subdirectory = {}", quoted(path)));
        let (kind, url, commit, below) =
            (quoted(kind), quoted(&without_login(url)), quoted(commit), below.unwrap_or_default());
        return Ok(format!("{name}\nvcs = {{ type = {kind}, url = {url}, commit-id = {commit}{below} }}"));
    }
    let local = url.strip_prefix("file://").map(decoded);
    let Some(path) = local.as_deref().map(Path::new) else {
        let archive = &said["archive_info"];
        let old_form = || archive["hash"].as_str()?.strip_prefix("sha256=");
        let hash = archive["hashes"]["sha256"].as_str().or_else(old_form);
        let hash = hash.ok_or_else(|| cannot("the installer did not note its hash"))?;
        let (url, hash) = (quoted(&without_login(url)), quoted(hash));
        return Ok(format!("{name}\n{version}\narchive = {{ url = {url}, hashes = {{ sha256 = {hash} }} }}"));
    };
    let inside = path.strip_prefix(app_dir);
    let inside = inside.map_err(|_| cannot("that place is not of the app, and means nothing elsewhere"))?;
    let shown = quoted(&if inside.as_os_str().is_empty() { ".".to_owned() } else { inside.display().to_string() });
    if path.is_dir() {
        // The version of a folder is what the folder says when it is built.
        let editable = said["dir_info"]["editable"].as_bool() == Some(true);
        return Ok(format!("{name}\ndirectory = {{ path = {shown}, editable = {editable} }}"));
    }
    let hash = sha256_of(path).map_err(|error| Failure::io(doing, &error))?;
    Ok(format!("{name}\n{version}\narchive = {{ path = {shown}, hashes = {{ sha256 = \"{hash}\" }} }}"))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The path of a `file://` address (RFC 8089): `%20` is a blank.
pub(super) fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        if let Some(byte) = hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(dir: &Path, name: &str, direct: &str) -> Distribution {
        let info_dir = dir.join(format!("{name}-1.dist-info"));
        fs::create_dir_all(&info_dir).unwrap();
        if !direct.is_empty() {
            fs::write(info_dir.join("direct_url.json"), direct).unwrap();
        }
        Distribution { name: name.into(), version: "1".into(), info_dir }
    }

    #[test]
    fn all_kinds_of_origins_are_written_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        fs::create_dir_all(app.join("libs/own")).unwrap();
        fs::write(app.join("own.whl"), "x").unwrap();
        let file = |path: &str| format!("{{\"url\": \"file://{}\"}}", app.join(path).display());
        let all = [
            distribution(dir.path(), "of-index", ""),
            distribution(
                dir.path(),
                "of-git",
                "{\"url\": \"https://me:s3cret@h/r.git\", \"vcs_info\": {\"vcs\": \"git\", \"commit_id\": \"abc\"}, \"subdirectory\": \"d\"}",
            ),
            distribution(dir.path(), "of-folder", &file("libs/own")),
            distribution(dir.path(), "of-wheel", &file("own.whl")),
            distribution(
                dir.path(),
                "of-address",
                "{\"url\": \"https://tok@h/a.whl\", \"archive_info\": {\"hashes\": {\"sha256\": \"ff\"}}}",
            ),
        ];
        let (of_index, others) = split(&all);
        assert_eq!(pins(&of_index), "of-index==1");
        let uv = "lock-version = \"1.0\"\ncreated-by = \"uv\"\nrequires-python = \">=3.13.5\"\n\n[[packages]]\nname = \"of-index\"\nversion = \"1\"\nwheels = [{ url = \"https://h/w.whl\", hashes = { sha256 = \"00\" } }]\n";
        let text = lock(uv, &others, &app, "3.13.5").unwrap();
        insta::assert_snapshot!(text, @r#"
        lock-version = "1.0"
        created-by = "hoist"
        requires-python = ">=3.13.5"

        [[packages]]
        name = "of-address"
        version = "1"
        archive = { url = "https://h/a.whl", hashes = { sha256 = "ff" } }

        [[packages]]
        name = "of-folder"
        directory = { path = "libs/own", editable = false }

        [[packages]]
        name = "of-git"
        vcs = { type = "git", url = "https://h/r.git", commit-id = "abc", subdirectory = "d" }

        [[packages]]
        name = "of-index"
        version = "1"
        wheels = [{ url = "https://h/w.whl", hashes = { sha256 = "00" } }]

        [[packages]]
        name = "of-wheel"
        version = "1"
        archive = { path = "own.whl", hashes = { sha256 = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" } }
        "#);
        assert!(toml::from_str::<toml::Table>(&text).is_ok());
    }

    #[test]
    fn archives_of_the_app_have_a_path_and_their_own_hash() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("vendor")).unwrap();
        fs::write(dir.path().join("vendor/a-1.tar.gz"), "x").unwrap();
        let app = dir.path().display();
        let uv = format!(
            "lock-version = \"1.0\"\n\n[[packages]]\nname = \"a\"\nversion = \"1\"\nsdist = {{ url = \"file://{app}/vendor/a%2D1.tar.gz\", hashes = {{ sha256 = \"00\" }} }}\n[[packages]]\nname = \"b\"\nversion = \"1\"\nwheels = [{{ url = \"file:///srv/b.whl\", hashes = {{ sha256 = \"01\" }} }}]\n"
        );
        let text = lock(&uv, &[], dir.path(), "3.13.5").unwrap();
        insta::assert_snapshot!(text, @r#"
        lock-version = "1.0"
        created-by = "hoist"
        requires-python = ">=3.13"

        [[packages]]
        name = "a"
        version = "1"
        sdist = { path = "vendor/a-1.tar.gz", hashes = { sha256 = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" } }

        [[packages]]
        name = "b"
        version = "1"
        wheels = [{ url = "file:///srv/b.whl", hashes = { sha256 = "01" } }]
        "#);
    }

    #[test]
    fn blanks_of_a_path_are_blanks() {
        assert_eq!(decoded("/my%20app/a%2Fb%zz/100%"), "/my app/a/b%zz/100%");
    }

    #[test]
    fn a_place_outside_of_the_app_cannot_be_locked() {
        let dir = tempfile::tempdir().unwrap();
        let one = distribution(dir.path(), "a", "{\"url\": \"file:///opt/a.whl\"}");
        let failure = lock("", &[&one], &dir.path().join("app"), "3.13.5").unwrap_err().to_string();
        assert!(
            failure.contains("a 1 comes from file:///opt/a.whl") && failure.contains("not of the app"),
            "{failure}"
        );
        let nothing = lock("", &[], dir.path(), "3.13.5").unwrap();
        assert!(nothing.contains("requires-python = \">=3.13\"\npackages = []"), "{nothing}");
    }
}
