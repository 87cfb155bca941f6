//! Virtual packages: what conda's packages want of the system below them. It is the image's system and not the building machine's that counts, so
//! nothing is asked of the machine: the kernel is any, the C library is the base's, and there is a GPU when somebody says so.

use std::collections::BTreeMap;

use rattler_conda_types::GenericVirtualPackage;
use rattler_conda_types::package::BuildString;

/// The oldest kernel that containers are commonly run on.
const KERNEL: &str = "5.10";

/// A version that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CONDA_OVERRIDE_{}: `{version}` is no version", name.to_uppercase())]
pub struct BadOverride {
    /// `cuda`.
    pub name: String,
    /// As it was written.
    pub version: String,
}

/// The virtual packages of an image whose C library is `glibc`; overrides as in `CONDA_OVERRIDE_CUDA=12.4`, an empty one takes away.
pub fn virtual_packages(
    glibc: &str,
    overrides: &BTreeMap<String, String>,
) -> Result<Vec<GenericVirtualPackage>, BadOverride> {
    let architecture = std::env::consts::ARCH;
    let mut versions: BTreeMap<&str, (&str, &str)> = BTreeMap::from([
        ("unix", ("0", "0")),
        ("linux", (KERNEL, "0")),
        ("glibc", (glibc, "0")),
        ("archspec", ("1", architecture)),
    ]);
    for (name, version) in overrides {
        match (name.as_str(), version.as_str()) {
            (name, "") => drop(versions.remove(name)),
            ("archspec", build) => drop(versions.insert("archspec", ("1", build))),
            (name, version) => drop(versions.insert(name, (version, "0"))),
        }
    }
    let made = versions.into_iter().map(|(name, (version, build))| {
        let bad = || BadOverride { name: name.to_owned(), version: version.to_owned() };
        Ok(GenericVirtualPackage {
            name: format!("__{name}").parse().map_err(|_| bad())?,
            version: version.parse().map_err(|_| bad())?,
            build_string: build.parse::<BuildString>().map_err(|_| bad())?,
        })
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_a_c_library_and_a_gpu_when_one_is_named() {
        let of = |overrides: &[(&str, &str)]| {
            let overrides =
                overrides.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
            virtual_packages("2.41", &overrides).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let plain = of(&[]).unwrap();
        assert!(plain.contains(&"__glibc=2.41=0".to_owned()) && plain.iter().all(|one| !one.starts_with("__cuda")));
        assert!(of(&[("cuda", "12.4")]).unwrap().contains(&"__cuda=12.4=0".to_owned()));
        assert!(of(&[("glibc", "")]).unwrap().iter().all(|one| !one.starts_with("__glibc")));
        assert_eq!(of(&[("cuda", "a b")]).unwrap_err().to_string(), "CONDA_OVERRIDE_CUDA: `a b` is no version");
    }
}
