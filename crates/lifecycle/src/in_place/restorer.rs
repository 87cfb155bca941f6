//! `restorer`: brings back what `<analyzed>` and the cache have for the buildpacks of the group.

use std::path::PathBuf;

use hoist_events::{Phase, Reporter};
use hoist_spec::{Analyzed as AnalyzedToml, escape_id};

use crate::analyze::Before;
use crate::cache_folder::CacheFolder;
use crate::extract::extract;
use crate::in_place::images::{ImagePhaseInputs, Passage, RESTORE, document_error, read_group};
use crate::in_place::{PhaseError, read_optional, remove_dir};
use crate::portable_cache::{OpenCache, PortableCache};
use crate::restore::{Back, bring_back, copy_sboms};
use crate::setup::Setup;
use crate::timing::timed;
use crate::tree::{Tree, UpperWriter};

/// The phase `restorer`: writes what `<analyzed>` and the cache have for the buildpacks of the group.
pub fn run_restorer(inputs: &ImagePhaseInputs, reporter: &dyn Reporter) -> Result<(), PhaseError> {
    restore(inputs, &Passage::open()?, reporter)
}

pub(super) fn restore(inputs: &ImagePhaseInputs, passage: &Passage, reporter: &dyn Reporter) -> Result<(), PhaseError> {
    timed(reporter, Phase::Restore, || {
        let group = read_group(inputs)?;
        let mut before = Before::default();
        match read_optional(&inputs.analyzed_path, AnalyzedToml::parse)? {
            Some(analyzed) => {
                let metadata = analyzed.lifecycle_metadata().map_err(document_error(&inputs.analyzed_path))?;
                before.previous = Some(metadata);
            }
            None => reporter.warn("there is no analyzed.toml: it is restored as if there were no previous image", None),
        }
        let setup = passage.setup(inputs, reporter);
        if inputs.skip_layers {
            for buildpack in before.previous.iter_mut().flat_map(|previous| &mut previous.buildpacks) {
                buildpack.layers.clear();
            }
        } else if let Some(dir) = &inputs.cache_dir {
            let open = OpenCache::open(&setup, PortableCache::Folder(CacheFolder::new(dir)));
            let open = open.map_err(PhaseError::Cache)?;
            before.cache.buildpacks.clone_from(&open.buildpacks);
            before.cache.sbom.clone_from(&open.sbom);
            before.portable = Some(open);
        }
        let ids: Vec<&str> = group.group.iter().map(|buildpack| buildpack.id.as_str()).collect();
        let back = bring_back(&setup, &before, &ids)?;
        write_layers(&setup, &back, &ids)
    })
}

/// The content of restored layers, and the SBOM documents that the analyzer left.
fn write_layers(setup: &Setup<'_>, back: &Back, ids: &[&str]) -> Result<(), PhaseError> {
    let writer = UpperWriter::new(PathBuf::from("/"), None);
    for ((id, name), restored) in &back.layers {
        let dir = setup.buildpack_layers_dir(id).join(name);
        for layer in &restored.layers {
            let what = format!("layer `{name}` of {id}");
            extract(layer, &dir, &writer).map_err(|source| PhaseError::Extract { what, code: RESTORE, source })?;
        }
    }
    let sbom_dir = setup.directories.layers_dir.join("sbom");
    let tree = Tree::new(vec!["/".into()]);
    for id in ids {
        let wanted = |name: &str| back.known.contains(&((*id).to_owned(), name.to_owned()));
        let (from, to) = (sbom_dir.join("launch").join(escape_id(id)), setup.buildpack_layers_dir(id));
        copy_sboms(&tree, &from, &to, &writer, &wanted).map_err(PhaseError::Sbom)?;
    }
    remove_dir(&sbom_dir)
}
