//! `hoist init`: a new service from a template.

use std::path::{Path, PathBuf};

use clap::Args;
use fs_err as fs;
use hoist_service::{Template, templates};
use serde_json::json;
use thiserror::Error;

use crate::context::Context;
use crate::failure::{Code, Failure};

/// Begin a new service from a template
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Folder of the new service; made if it does not exist
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Template to begin with (see --list)
    #[arg(short, long)]
    template: Option<String>,
    /// Name of the service; otherwise the folder's
    #[arg(long)]
    name: Option<String>,
    /// List the templates
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Error)]
enum InitError {
    #[error("cannot write the new service's {path}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("will not begin a service in {dir}: it holds {existing} already, and nothing of yours is overwritten")]
    Exists { dir: PathBuf, existing: String },
}

impl InitArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        if self.list {
            return list(context);
        }
        let template = choose(self.template.as_deref())?;
        let name = self.name.unwrap_or_else(|| folder_name(&self.dir));
        refuse_to_overwrite(&self.dir, template)?;
        for file in template.files {
            let path = self.dir.join(file.path);
            let failed = |source| {
                let error = InitError::Write { path: path.clone(), source };
                Failure::new(&error, Some("choose a folder that you may write to: hoist init DIR".into()), Code::Hoist)
            };
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            fs::write(&path, file.render(&name)).map_err(failed)?;
        }
        let dir = self.dir.display();
        if context.json {
            let files: Vec<_> = template.files.iter().map(|file| file.path).collect();
            return context
                .print_json(&json!({"dir": self.dir, "name": name, "template": template.name, "files": files}));
        }
        context.reporter.step(&format!("made {name} in {dir} from the template {}", template.name));
        context.reporter.step(&format!("next: {}", next(&self.dir, template)));
        Ok(())
    }
}

/// The command to go on with: a service is executed, an app is built and started.
fn next(dir: &Path, template: &Template) -> String {
    let text = dir.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    let shown = if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) };
    if template.files.iter().any(|file| file.path == "src/program.py") {
        format!("hoist job run {shown}")
    } else {
        format!("hoist build my-app --path {shown}, then hoist run -p 8080:8080 my-app")
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    if context.json {
        let all: Vec<_> =
            templates().iter().map(|template| json!({"name": template.name, "about": template.about})).collect();
        return context.print_json(&json!(all));
    }
    for template in templates() {
        context.print(&format!("{:<12} {}\n", template.name, template.about))?;
    }
    Ok(())
}

fn choose(name: Option<&str>) -> Result<&'static Template, Failure> {
    let all = templates();
    let found = match name {
        None => all.first(),
        Some(name) => all.iter().find(|template| template.name == name),
    };
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|template| template.name).collect();
        Failure::usage(
            format!("there is no template {:?}; there are {}", name.unwrap_or_default(), names.join(", ")),
            "hoist init --list",
        )
    })
}

fn refuse_to_overwrite(dir: &Path, template: &Template) -> Result<(), Failure> {
    let existing: Vec<_> =
        template.files.iter().map(|file| file.path).filter(|path| dir.join(path).symlink_metadata().is_ok()).collect();
    if existing.is_empty() {
        return Ok(());
    }
    let error = InitError::Exists { dir: dir.to_owned(), existing: existing.join(", ") };
    Err(Failure::new(&error, Some("hoist init NEW-FOLDER".into()), Code::Usage))
}

fn folder_name(dir: &Path) -> String {
    let full = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    full.file_name().map_or_else(|| "service".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_fits_the_template_and_can_be_pasted() {
        let template = |name: &str| templates().iter().find(|template| template.name == name).unwrap();
        assert_eq!(next(Path::new("it's mine"), template("python")), r"hoist job run 'it'\''s mine'");
        assert_eq!(
            next(Path::new("shop"), template("web")),
            "hoist build my-app --path shop, then hoist run -p 8080:8080 my-app"
        );
    }
}
