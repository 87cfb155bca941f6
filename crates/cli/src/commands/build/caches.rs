//! The options that say what of earlier builds is used, and what is left for later ones: `--cache` in the words of pack.

use std::path::{Path, PathBuf};

use clap::Args;
use hoist_image::Reference;
use hoist_lifecycle::CacheImage;
use hoist_platform::{BuildCache, BuildRequest};

use crate::context::Context;
use crate::failure::Failure;

/// What of earlier builds is used.
#[derive(Debug, Args)]
pub(crate) struct CacheOptions {
    /// Cache of the build, or of the layers of the image; may be given for both:
    /// type=build|launch;format=volume[;name=NAME], …;format=bind;source=DIR, …;format=image;name=IMAGE
    #[arg(long = "cache", value_name = "OPTIONS")]
    caches: Vec<String>,
    /// Image that keeps the cached layers: a name in the store, or oci:DIR for an OCI layout. The same as --cache 'format=image;name=…'
    #[arg(long, value_name = "NAME")]
    cache_image: Option<String>,
    /// Image to go on from, instead of the one that has the name of the new one: a name or an id
    #[arg(long, value_name = "IMAGE")]
    previous_image: Option<String>,
    /// Begin without the layers of earlier builds, and forget what the build's cache has
    #[arg(long)]
    clear_cache: bool,
}

impl CacheOptions {
    /// Writes them into the request.
    pub(crate) fn apply(&self, context: &Context, request: &mut BuildRequest) -> Result<(), Failure> {
        let caches = Caches::parse(&self.caches).map_err(|problem| {
            let hint = "for example --cache 'type=build;format=bind;source=./cache'";
            Failure::usage(format!("--cache: {problem}"), hint)
        })?;
        if caches.launch.format == Format::Image {
            context.reporter.warn("a launch cache cannot be an image: it is left out", Some("use format=bind"));
        }
        request.launch_cache = caches.launch.folder("launch-cache")?;
        request.build_cache = match (&self.cache_image, caches.build.format) {
            (Some(_), Format::Image) => {
                let text = "--cache with format=image and --cache-image are the same: give one of them";
                return Err(Failure::usage(text, "leave --cache-image out"));
            }
            (Some(name), _) => BuildCache::Image(cache_image(name)?),
            (None, Format::Image) => BuildCache::Image(cache_image(&caches.build.source)?),
            (None, Format::Bind) => caches.build.folder("build-cache")?.map_or(BuildCache::OfImage, BuildCache::Folder),
            (None, Format::Volume) if caches.build.source.is_empty() => BuildCache::OfImage,
            (None, Format::Volume) => BuildCache::Volume(caches.build.source),
        };
        request.previous_image.clone_from(&self.previous_image);
        request.clear_cache = self.clear_cache;
        Ok(())
    }
}

fn cache_image(name: &str) -> Result<CacheImage, Failure> {
    match name.strip_prefix("oci:") {
        Some(dir) => absolute(Path::new(dir)).map(CacheImage::Layout),
        None => Ok(CacheImage::Store(name.parse::<Reference>()?)),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::new(&error, Some("name a folder".to_owned()), crate::failure::Code::Usage);
    std::path::absolute(path).map_err(failed)
}

/// Where a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Format {
    /// In hoist's store.
    #[default]
    Volume,
    /// A folder.
    Bind,
    /// An image.
    Image,
}

/// One cache, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Cache {
    format: Format,
    /// The name, or the folder.
    source: String,
}

impl Cache {
    /// Its folder, if it is one: as pack, each type of cache has its own in the folder that is named.
    fn folder(&self, below: &str) -> Result<Option<PathBuf>, Failure> {
        let bind = self.format == Format::Bind;
        bind.then(|| Ok(absolute(Path::new(&self.source))?.join(below))).transpose()
    }
}

/// The two caches of a build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Caches {
    build: Cache,
    launch: Cache,
}

impl Caches {
    /// Each value is about one of them; a later one about the same adds to it.
    fn parse(values: &[String]) -> Result<Self, String> {
        let mut caches = Self::default();
        for value in values {
            caches.add(value)?;
        }
        Ok(caches)
    }

    fn add(&mut self, value: &str) -> Result<(), String> {
        let fields: Vec<(String, String)> = split(value)?
            .iter()
            .map(|field| match field.split_once('=') {
                Some((key, value)) => Ok((key.to_lowercase(), value.to_owned())),
                None => Err(format!("invalid field '{field}' must be a key=value pair")),
            })
            .collect::<Result<_, _>>()?;
        let kind = fields.iter().find(|(key, _)| key == "type").map_or("build", |(_, value)| value.as_str());
        let cache = match kind {
            "build" => &mut self.build,
            "launch" => &mut self.launch,
            other => return Err(format!("invalid cache type '{other}'")),
        };
        for (key, value) in &fields {
            match (key.as_str(), value.as_str()) {
                ("type", _) => {}
                ("format", "volume") => cache.format = Format::Volume,
                ("format", "bind") => cache.format = Format::Bind,
                ("format", "image") => cache.format = Format::Image,
                ("format", other) => return Err(format!("invalid cache format '{other}'")),
                ("name" | "source", value) => value.clone_into(&mut cache.source),
                (other, _) => {
                    return Err(format!("there is no key '{other}': there are type, format, name and source"));
                }
            }
        }
        match cache.format {
            Format::Image if cache.source.is_empty() => Err("cache 'name' is required".to_owned()),
            Format::Bind if cache.source.is_empty() => Err("cache 'source' is required".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Fields between semicolons; in double quotes a field may hold some itself.
fn split(value: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ';' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Caches, String> {
        Caches::parse(&[value.to_owned()])
    }

    fn cache(format: Format, source: &str) -> Cache {
        Cache { format, source: source.to_owned() }
    }

    /// The cases of pack's own tests.
    #[test]
    fn caches_are_read_and_refused_as_pack_does() {
        let volume = Cache::default;
        for (value, build, launch) in [
            ("type=build;format=image;name=a/b:c", cache(Format::Image, "a/b:c"), volume()),
            ("type=launch;format=image;name=a/b:c", volume(), cache(Format::Image, "a/b:c")),
            ("format=image;name=a/b:c", cache(Format::Image, "a/b:c"), volume()),
            ("type=build;name=a/b:c", cache(Format::Volume, "a/b:c"), volume()),
            ("name=a/b:c", cache(Format::Volume, "a/b:c"), volume()),
            ("type=build", volume(), volume()),
            ("type=launch;name=test", volume(), cache(Format::Volume, "test")),
            ("format=volume", volume(), volume()),
            ("TYPE=build;Format=bind;Source=/Cache", cache(Format::Bind, "/Cache"), volume()),
            ("type=launch;format=bind;source=/c", volume(), cache(Format::Bind, "/c")),
            ("format=bind;\"source=/a;b\"", cache(Format::Bind, "/a;b"), volume()),
        ] {
            assert_eq!(parse(value).unwrap(), Caches { build, launch }, "{value}");
        }
        for (value, problem) in [
            ("type=build;format=image", "cache 'name' is required"),
            ("format=bind", "cache 'source' is required"),
            ("type=invalid_cache;format=image;name=x", "invalid cache type 'invalid_cache'"),
            ("type=launch;format=invalid_format;name=x", "invalid cache format 'invalid_format'"),
            ("launch;format=image;name=x", "invalid field 'launch' must be a key=value pair"),
            ("type=launch;format=image;name=x;", "invalid field '' must be a key=value pair"),
            ("type=build;fromat=bind;source=x", "there is no key 'fromat': there are type, format, name and source"),
        ] {
            assert_eq!(parse(value).unwrap_err(), problem, "{value}");
        }
        assert_eq!(parse("\"format=bind").unwrap_err(), "a quote is not closed");
    }

    #[test]
    fn both_caches_may_be_given_and_each_has_its_own_folder() {
        let values = ["type=build;format=bind;source=/c".to_owned(), "type=launch;format=bind;source=/c".to_owned()];
        let caches = Caches::parse(&values).unwrap();
        assert_eq!(caches.build.folder("build-cache").ok().flatten(), Some("/c/build-cache".into()));
        assert_eq!(caches.launch.folder("launch-cache").ok().flatten(), Some("/c/launch-cache".into()));
    }
}
