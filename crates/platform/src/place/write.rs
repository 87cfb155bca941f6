//! Brings an image to its places, one after the other.

use hoist_events::{Event, Reporter, TransferId};
use hoist_image::{ArchiveFormat, Compression, DockerError, Image, Reference, Registries};
use hoist_sandbox::Cancel;

use crate::place::{Place, PlaceError, Placed, PlacesError, Sent, docker_daemon};

/// Brings `image` to every place, under `names` where the place has no name of its own. What was written is told in any case; the error stands
/// for the places that failed. `compression` is for OCI layouts: a daemon and a docker-archive get plain layers.
pub fn write_places(
    image: &Image,
    names: &[Reference],
    places: &[Place],
    compression: Compression,
    registries: &Registries,
    (reporter, cancel): (&dyn Reporter, &Cancel),
) -> (Vec<Placed>, Option<PlacesError>) {
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for place in places {
        let written = match place {
            Place::Docker => to_docker(image, names, place, (reporter, cancel)),
            Place::DockerName(name) => to_docker(image, std::slice::from_ref(name), place, (reporter, cancel)),
            Place::Registry(name) => to_registry(image, name, compression, registries, reporter),
            _ => to_file(image, names, place, compression),
        };
        match written {
            Ok(written) => {
                reporter.step(&told(&written));
                done.push(written);
            }
            Err(error) => failed.push((place.to_string(), error)),
        }
        if cancel.is_cancelled() {
            break;
        }
    }
    let mut failed = failed.into_iter();
    let error = failed.next().map(|(place, source)| PlacesError {
        image: names.first().map_or_else(|| image.id().to_string(), ToString::to_string),
        written: done.iter().map(|one| one.output.clone()).collect(),
        failed: place,
        source: Box::new(source),
        others: failed.map(|(place, error)| (place, error.to_string())).collect(),
    });
    (done, error)
}

fn to_file(image: &Image, names: &[Reference], place: &Place, compression: Compression) -> Result<Placed, PlaceError> {
    let changed = match place {
        Place::OciDir(path) => image.replace_dir(path, names, compression)?,
        Place::OciArchive(path) => {
            image.save_to_file(path, names, ArchiveFormat::Oci, compression)?;
            true
        }
        Place::DockerArchive(path) => {
            image.save_to_file(path, names, ArchiveFormat::Docker, Compression::None)?;
            true
        }
        Place::Docker | Place::DockerName(_) | Place::Registry(_) => true,
    };
    let names = names.iter().map(ToString::to_string).collect();
    Ok(Placed { output: place.to_string(), names, id: None, unchanged: !changed, sent: None, attached: Vec::new() })
}

fn to_docker(
    image: &Image,
    names: &[Reference],
    place: &Place,
    (reporter, cancel): (&dyn Reporter, &Cancel),
) -> Result<Placed, PlaceError> {
    let daemon = docker_daemon(cancel)?;
    let transfer = TransferId::next();
    let mut begun = false;
    let mut told_bytes = 0;
    let pushed = daemon.push(image, names, &mut |done_bytes| {
        if !begun {
            let what = "the image for docker".to_owned();
            reporter.report(&Event::TransferStarted { id: transfer, what, total_bytes: None });
        }
        // Every piece would be an event of its own; a megabyte is enough.
        if !begun || done_bytes >= told_bytes + (1 << 20) {
            told_bytes = done_bytes;
            reporter.report(&Event::TransferProgressed { id: transfer, done_bytes });
        }
        begun = true;
    });
    if begun {
        let done_bytes = pushed.as_ref().map_or(told_bytes, |pushed| pushed.sent_bytes);
        reporter.report(&Event::TransferFinished { id: transfer, done_bytes });
    }
    let pushed = pushed.map_err(|error: DockerError| PlaceError::from(error))?;
    Ok(Placed {
        output: place.to_string(),
        names: names.iter().filter(|name| name.tag().is_some()).map(ToString::to_string).collect(),
        id: Some(pushed.id),
        unchanged: pushed.sent_bytes == 0,
        sent: Some(Sent {
            sent_bytes: pushed.sent_bytes,
            sent_layers: pushed.layers_sent,
            layers_there: pushed.layers_there,
            mounted_layers: 0,
        }),
        attached: Vec::new(),
    })
}

fn to_registry(
    image: &Image,
    name: &Reference,
    compression: Compression,
    registries: &Registries,
    reporter: &dyn Reporter,
) -> Result<Placed, PlaceError> {
    let pushed = registries.push(image, name, compression, reporter)?;
    Ok(Placed {
        output: name.to_string(),
        names: vec![name.to_string()],
        id: Some(pushed.digest.to_string()),
        unchanged: pushed.unchanged,
        sent: Some(Sent {
            sent_bytes: pushed.sent_bytes,
            sent_layers: pushed.sent_layers,
            layers_there: pushed.layers_there,
            mounted_layers: pushed.mounted_layers,
        }),
        attached: Vec::new(),
    })
}

fn told(placed: &Placed) -> String {
    let Placed { output, unchanged, sent, .. } = placed;
    match sent {
        _ if *unchanged => format!("{output}: the image was there already"),
        Some(sent) => {
            let s = if sent.sent_layers == 1 { "" } else { "s" };
            let mounted = match sent.mounted_layers {
                0 => String::new(),
                count => format!(", {count} taken from another repository there"),
            };
            format!("{output}: {} layer{s} sent, {} there before{mounted}", sent.sent_layers, sent.layers_there)
        }
        None => format!("{output}: written"),
    }
}
