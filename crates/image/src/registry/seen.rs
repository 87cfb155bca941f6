//! What a registry tells of an image without any layer of it being fetched; the names that a repository has; single layers of an image.

use std::collections::{BTreeMap, BTreeSet};

use hoist_events::Reporter;
use serde::Deserialize;
use ureq::http::Method;

use crate::digest::{DiffId, Digest};
use crate::image::Image;
use crate::load::LoadLimits;
use crate::reference::Reference;
use crate::registry::error::RegistryError;
use crate::registry::manifest::{Descriptor, Platform, suits};
use crate::registry::pull::{fetch, note};
use crate::registry::resolve::{Resolved, registry_of};
use crate::registry::talk::{Ask, Inner, Payload, Registries, Remote, no_registry};
use crate::registry::wire::Origin;
use crate::store::Store;

/// A page of names; registries give fewer if they like.
const PAGE: usize = 1000;
/// Pages of names that are read, and their length.
const MOST_PAGES: usize = 200;
const MAX_PAGE_BYTES: u64 = 4 << 20;

/// An image of a registry, as its manifest and its configuration tell it.
#[derive(Debug)]
pub struct Seen {
    /// What the configuration says. Its layers need not be in the store.
    pub image: Image,
    /// The digest of what the name stands for: a manifest or an index.
    pub digest: Digest,
    /// Where it was found: the registry, or one of its mirrors.
    pub from: String,
    /// Its layers, lowest first.
    pub layers: Vec<SeenLayer>,
}

/// A layer as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLayer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The digest of its blob.
    pub digest: Digest,
    /// Length of its blob.
    pub size_bytes: u64,
    /// How the manifest calls its encoding.
    pub media_type: String,
}

impl Seen {
    pub(super) fn of(found: &Resolved<'_>, image: Image) -> Self {
        let layers = image.diff_ids().iter().zip(&found.layers).map(|(diff_id, layer)| SeenLayer {
            diff_id: *diff_id,
            digest: layer.digest,
            size_bytes: layer.size,
            media_type: layer.media_type.clone(),
        });
        Self { layers: layers.collect(), digest: found.digest, from: found.remote.name(), image }
    }
}

impl Inner {
    /// Finds an image and reads its configuration, as far as both fit together and are for that machine.
    pub(super) fn read_image(
        &self,
        store: &Store,
        doing: &str,
        name: &Reference,
        platform: &Platform,
    ) -> Result<(Resolved<'_>, Image), RegistryError> {
        let found = self.resolve(doing, name, platform)?;
        let wrong = |problem: String| RegistryError::NotAnImage { name: name.to_string(), problem };
        let image = Image::parse(store, found.remote.config(doing, &found.config)?)
            .map_err(|problem| wrong(format!("its configuration cannot be read: {problem}")))?;
        if image.diff_ids().len() != found.layers.len() {
            let (listed, there) = (image.diff_ids().len(), found.layers.len());
            return Err(wrong(format!("its configuration names {listed} layers, its manifest {there}")));
        }
        let (os, architecture) = (image.config().os().to_string(), image.config().architecture().to_string());
        if !suits(platform, &os, &architecture) {
            let there = vec![format!("{os}/{architecture}")];
            return Err(RegistryError::Platform { name: name.to_string(), wanted: platform.to_string(), there });
        }
        Ok((found, image))
    }
}

impl Registries {
    /// Looks at the image `name` of its registry: that for `platform`, where it is for several. Where its layers are is remembered, so that
    /// an image with some of them can be pushed there without having them.
    pub fn look(&self, store: &Store, name: &Reference, platform: &Platform) -> Result<Seen, RegistryError> {
        let doing = format!("looking at `{name}`");
        let (found, image) = self.inner.read_image(store, &doing, name, platform)?;
        for (diff_id, layer) in image.diff_ids().iter().zip(&found.layers) {
            note(store, &found.remote, diff_id, layer)?;
            found.remote.saw(&layer.digest);
        }
        Ok(Seen::of(&found, image))
    }

    /// Fetches those of an image's layers that are wanted and not in the store; as many bytes came. No image and no name is made: whoever needs
    /// them longer holds them.
    pub fn fetch_layers(
        &self,
        store: &Store,
        name: &Reference,
        platform: &Platform,
        wanted: &BTreeSet<DiffId>,
        reporter: &dyn Reporter,
    ) -> Result<u64, RegistryError> {
        let doing = format!("fetching layers of `{name}`");
        let session = store.session()?;
        let (found, image) = self.inner.read_image(store, &doing, name, platform)?;
        session.hold_image(&image)?;
        let mut missing: BTreeMap<DiffId, &Descriptor> = BTreeMap::new();
        for (diff_id, layer) in image.diff_ids().iter().zip(&found.layers) {
            if wanted.contains(diff_id) && store.layer(diff_id)?.is_none() {
                missing.insert(*diff_id, layer);
            }
        }
        fetch(store, &doing, &found, &missing, LoadLimits::default(), reporter)
    }

    /// The tags of the repository that `name` is in, sorted.
    pub fn tags(&self, name: &Reference) -> Result<Vec<String>, RegistryError> {
        let doing = format!("listing the tags of `{}`", name.name());
        let registry = registry_of(&doing, name)?;
        self.inner.remote(&doing, registry, name.repository())?.tags(&doing)
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Remote<'_> {
    pub(super) fn tags(&self, doing: &str) -> Result<Vec<String>, RegistryError> {
        let mut tags = BTreeSet::new();
        let mut url = self.url(&format!("tags/list?n={PAGE}"));
        for _ in 0..MOST_PAGES {
            let (page, next) = self.page(doing, &url)?;
            let before = tags.len();
            let count = page.len();
            tags.extend(page.into_iter().filter(|tag| is_tag(tag)));
            match next {
                // A page with nothing new leads in a circle.
                Some(next) if tags.len() > before || count == 0 => url = next,
                _ => return Ok(tags.into_iter().collect()),
            }
        }
        Err(no_registry(doing, &url, &format!("more than {MOST_PAGES} pages of tags")))
    }

    fn page(&self, doing: &str, url: &str) -> Result<(Vec<String>, Option<String>), RegistryError> {
        let scopes = self.scopes("pull");
        let answer = self.ask(&Ask {
            doing,
            method: Method::GET,
            url: url.to_owned(),
            headers: Vec::new(),
            scopes: &scopes,
            payload: Payload::None,
            small: true,
        })?;
        let answer = self.there(doing, answer, || format!("repository {}", self.repository))?;
        let next = answer.header("link").and_then(parse_next).and_then(|next| answer.resolve(next));
        if next.as_ref().is_some_and(|next| Origin::of(next).is_none_or(|(origin, _)| origin != self.origin)) {
            return Err(no_registry(doing, url, "more tags that lie with somebody else"));
        }
        let bytes = self.read_bounded(doing, answer, "a list of tags", MAX_PAGE_BYTES)?;
        let page: Page = serde_json::from_slice(&bytes)
            .map_err(|_| no_registry(doing, url, "a list of tags that cannot be read"))?;
        Ok((page.tags.unwrap_or_default(), next))
    }
}

/// What a registry calls a tag and none can be is passed over.
fn is_tag(text: &str) -> bool {
    text.len() <= 128 && "a".parse::<Reference>().is_ok_and(|name| name.with_tag(text).is_ok())
}

/// `</v2/a/tags/list?last=b&n=10>; rel="next"`.
pub(super) fn parse_next(link: &str) -> Option<&str> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_further_pages_are_read() {
        assert_eq!(parse_next(r#"</v2/a/tags/list?last=b&n=10>; rel="next""#), Some("/v2/a/tags/list?last=b&n=10"));
        assert_eq!(parse_next(r#"</v2/a>; rel="previous""#), None);
        assert_eq!(parse_next("/v2/a"), None);
        assert!(is_tag("1.0-b_c") && !is_tag("a b") && !is_tag("") && !is_tag("\u{1b}[2J"));
    }
}
