//! `hoist rebase`, as pack has it: an app image on its run image as that is now.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use hoist_image::{Compression, Image, Reference};
use hoist_platform::{
    Attest, LocalEngine, Place, Placed, PullPolicy, RebaseRequest, Rebased, attest_places, write_places,
};
use serde_json::json;

use crate::commands::attest_options::AttestOptions;
use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure, harmless};
use crate::registry::{RegistryFlags, apply_policy, pull_policy, registries};
use crate::terminal::counted;

/// The most packages of each kind that the text shows; --json has them all.
const SHOWN: usize = 20;

/// Put an app image on a newer run image, without building it: its own layers stay as they are
#[derive(Debug, Args)]
pub(crate) struct RebaseArgs {
    /// Name or id; a name then stands for the rebased image
    image: String,
    /// The run image to put it on; otherwise the one that it was built on, by name
    #[arg(long, value_name = "NAME")]
    run_image: Option<String>,
    /// The image to rebase, where IMAGE is to be a new name
    #[arg(long, value_name = "IMAGE")]
    previous_image: Option<String>,
    /// always: make hoist's own run image from the newest packages first, and fetch others from their registry
    #[arg(long, value_name = "POLICY")]
    pull_policy: Option<PullPolicy>,
    /// Also where the run image is for something else, or has another name than the image was built for
    #[arg(long)]
    force: bool,
    /// Folder for report.toml
    #[arg(long, value_name = "DIR")]
    report_output_dir: Option<PathBuf>,
    /// Push the rebased image to the registry of its name. Where the store does not have the image it is rebased there, and none of its layers is
    /// fetched
    #[arg(long)]
    publish: bool,
    #[command(flatten)]
    attest: AttestOptions,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl RebaseArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        apply_policy(context, self.pull_policy);
        self.registry.apply(context)?;
        let mut attest = None;
        if self.publish {
            let name: Reference = self.image.parse()?;
            registries(context).check_push(&name)?;
            attest = self.attest.wanted(&[Place::Registry(name)])?;
        } else {
            self.attest.wanted(&[])?;
        }
        let engine = engine::open(context)?;
        let image = self.previous_image.clone().unwrap_or_else(|| self.image.clone());
        // What is attested is read from the layers of the app, too.
        if self.publish
            && attest.is_none()
            && let Some(name) = engine.is_remote(&image)?
        {
            return self.at_registry(context, &engine, &name);
        }
        engine.bring_app(&image)?;
        // An id names no image anew: those that have it already move.
        let names = match engine.store().image(&self.image) {
            Ok(found)
                if !self
                    .image
                    .parse::<Reference>()
                    .is_ok_and(|name| found.names().is_ok_and(|all| all.contains(&name))) =>
            {
                found.names()?
            }
            _ => vec![self.image.parse()?],
        };
        let request = self.request(context, image, names)?;
        let rebased = engine.rebase(&request)?;
        let outputs = if self.publish {
            publish(context, &engine, &engine.store().image(&rebased.image_id)?, &request.names, attest.as_ref())?
        } else {
            Vec::new()
        };
        answer(context, &rebased, &outputs)
    }

    /// The image is where its layers stay: what is new is pushed there.
    fn at_registry(&self, context: &Context, engine: &LocalEngine, name: &Reference) -> Result<(), Failure> {
        let request = self.request(context, name.to_string(), vec![self.image.parse()?])?;
        let (rebased, image) = engine.rebase_remote(&request, name)?;
        let outputs = publish(context, engine, &image, &request.names, None)?;
        answer(context, &rebased, &outputs)
    }

    fn request(&self, context: &Context, image: String, names: Vec<Reference>) -> Result<RebaseRequest, Failure> {
        Ok(RebaseRequest {
            image,
            names,
            run_image: self.run_image.as_deref().map(str::parse).transpose()?,
            newest: pull_policy(context) == PullPolicy::Always,
            force: self.force,
            report_dir: self.report_output_dir.clone(),
        })
    }
}

fn publish(
    context: &Context,
    engine: &LocalEngine,
    image: &Image,
    names: &[Reference],
    attest: Option<&Attest>,
) -> Result<Vec<Placed>, Failure> {
    let outputs: Vec<Place> = names.iter().cloned().map(Place::Registry).collect();
    let told = (&*context.reporter, &context.cancel);
    let (mut placed, failed) = write_places(image, names, &outputs, Compression::Gzip, engine.registries(), told);
    failed.map_or(Ok(()), Err)?;
    if let Some(attest) = attest {
        attest_places(engine.store(), image, &mut placed, attest, engine.registries(), &*context.reporter)?;
    }
    Ok(placed)
}

fn answer(context: &Context, rebased: &Rebased, outputs: &[Placed]) -> Result<(), Failure> {
    if !context.json {
        return context.print(&text(rebased));
    }
    let mut value = serde_json::to_value(rebased).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
    if !outputs.is_empty() {
        value["outputs"] = json!(outputs);
    }
    context.print_json(&value)
}

fn text(rebased: &Rebased) -> String {
    let names = rebased.names.join(", ");
    let mut text = if rebased.unchanged {
        format!("{names} stands on {} as it is now; nothing was changed\n", rebased.run_image)
    } else {
        format!(
            "{names} now stands on {}\n  layers    {} of the app as they were; of the run image {} came and {} went\n",
            rebased.run_image, rebased.kept_layers, rebased.added_layers, rebased.removed_layers
        )
    };
    if rebased.unchanged && rebased.run_image.starts_with("hoist/run") {
        text.push_str(
            "  do        for newer packages of Debian: hoist rebase --pull-policy always, with the same image\n",
        );
    }
    packages(&mut text, rebased);
    let _ = writeln!(text, "{}", rebased.image_id);
    text
}

fn packages(text: &mut String, rebased: &Rebased) {
    if rebased.unchanged {
        return;
    }
    if let Some(why) = &rebased.packages_unknown {
        let _ = writeln!(text, "  packages  cannot be told {}", harmless(why));
    }
    let Some(packages) = &rebased.packages else { return };
    let _ = writeln!(
        text,
        "  packages  {} changed, {} added, {} removed, {} as before",
        packages.changed.len(),
        packages.added.len(),
        packages.removed.len(),
        packages.same
    );
    let moved = packages.changed.iter().map(|one| format!("{} {} -> {}", one.name, one.from, one.to)).collect();
    let one =
        |sign: &'static str| move |one: &hoist_platform::OnePackage| format!("{sign} {} {}", one.name, one.version);
    let added = packages.added.iter().map(one("+")).collect();
    let removed = packages.removed.iter().map(one("-")).collect();
    for lines in [moved, added, removed] {
        let lines: Vec<String> = lines;
        for line in lines.iter().take(SHOWN) {
            let _ = writeln!(text, "            {}", harmless(line));
        }
        if lines.len() > SHOWN {
            let more = counted(lines.len() - SHOWN, "more package");
            let _ = writeln!(text, "            and {more}: --json has them all");
        }
    }
}

#[cfg(test)]
mod tests {
    use hoist_platform::{ChangedPackage, OnePackage, PackageChanges};

    use super::*;

    #[test]
    fn what_is_different_below_the_app_is_told_by_package() {
        let package = |name: &str| OnePackage { name: name.into(), version: "1".into() };
        let mut rebased = Rebased {
            image_id: "sha256:02".into(),
            previous_id: "sha256:01".into(),
            names: vec!["shop:latest".into()],
            run_image: "hoist/run:latest".into(),
            run_image_id: "sha256:03".into(),
            unchanged: false,
            kept_layers: 14,
            removed_layers: 2,
            added_layers: 3,
            packages: Some(PackageChanges {
                changed: vec![ChangedPackage { name: "libssl3".into(), from: "3.5.1".into(), to: "3.5.4".into() }],
                added: (0..22).map(|at| package(&format!("p{at:02}"))).collect(),
                removed: vec![package("old")],
                same: 78,
            }),
            packages_unknown: None,
        };
        let told = text(&rebased);
        let begin = "shop:latest now stands on hoist/run:latest
  layers    14 of the app as they were; of the run image 3 came and 2 went
  packages  1 changed, 22 added, 1 removed, 78 as before
            libssl3 3.5.1 -> 3.5.4
            + p00 1
";
        assert!(told.starts_with(begin), "{told}");
        assert!(told.ends_with("            + p19 1\n            and 2 more packages: --json has them all\n            - old 1\nsha256:02\n"), "{told}");
        rebased.packages = None;
        rebased.packages_unknown = Some("of the new run image: it has no list of dpkg or apk".into());
        assert!(
            text(&rebased).contains("  packages  cannot be told of the new run image: it has no list of dpkg or apk\n")
        );
        rebased.unchanged = true;
        let expected = "shop:latest stands on hoist/run:latest as it is now; nothing was changed
  do        for newer packages of Debian: hoist rebase --pull-policy always, with the same image
sha256:02
";
        assert_eq!(text(&rebased), expected);
    }
}
