//! The services that `hoist init` can begin with; the text lies in `templates/`, compiled in.

/// A service to begin with.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// What `hoist init --template` calls it.
    pub name: &'static str,
    /// A line about it.
    pub about: &'static str,
    /// Its files.
    pub files: &'static [TemplateFile],
}

/// A file of a template.
#[derive(Debug, Clone, Copy)]
pub struct TemplateFile {
    /// Where it goes, relative to the new folder.
    pub path: &'static str,
    /// Its text, in which `{{name}}` stands for the service's name.
    pub text: &'static str,
}

impl TemplateFile {
    /// The text for a service called `name`; in JSON the name is escaped.
    pub fn render(&self, name: &str) -> String {
        let quoted = serde_json::Value::from(name).to_string();
        let inner = &quoted[1..quoted.len() - 1]; // without the quotes around it
        let name = if self.path.ends_with("json") { inner } else { name };
        self.text.replace("{{name}}", name)
    }
}

macro_rules! files {
    ($dir:literal: $($path:literal),+) => {
        &[$(TemplateFile { path: $path, text: include_str!(concat!("../templates/", $dir, "/", $path)) }),+]
    };
}

/// All templates, the default first.
pub fn templates() -> &'static [Template] {
    const {
        &[
            Template {
                name: "python",
                about: "a service with run(data, params) and no dependency",
                files: files!("python": "planqk.json", "src/__init__.py", "src/program.py", "requirements.txt", "input/data.json", "input/params.json", "README.md"),
            },
            Template {
                name: "qiskit",
                about: "a quantum circuit on qiskit's own simulator",
                files: files!("qiskit": "planqk.json", "src/__init__.py", "src/program.py", "requirements.txt", "input/data.json", "input/params.json", "README.md"),
            },
            Template {
                name: "typed",
                about: "a service whose run names its parameters with types (second generation)",
                files: files!("typed": "planqk.json", "src/__init__.py", "src/program.py", "requirements.txt", "input/data.json", "README.md"),
            },
            Template {
                name: "web",
                about: "a web app (Flask) with a Procfile",
                files: files!("web": "app.py", "Procfile", "requirements.txt", "README.md"),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use hoist_events::NullReporter;

    use super::*;
    use crate::{Contract, InputRequest, Layout, Limits, StageRequest, resolve_input, stage};

    #[test]
    fn every_template_is_staged_as_what_it_says() {
        for template in templates() {
            let dir = tempfile::tempdir().unwrap();
            for file in template.files {
                let path = dir.path().join(file.path);
                fs_err::create_dir_all(path.parent().unwrap()).unwrap();
                fs_err::write(path, file.render("Bear \"7\"")).unwrap();
            }
            let app = tempfile::tempdir().unwrap();
            let request = StageRequest {
                source: dir.path(),
                app_dir: app.path(),
                contract: None,
                dependencies: None,
                manager: None,
                lift: true,
                selection: crate::Selection::default(),
                owner: None,
                limits: Limits::default(),
            };
            let staged = stage(&request, &NullReporter).unwrap();
            let wanted = if template.name == "web" { Layout::App } else { Layout::PlanQk };
            assert_eq!(staged.layout, wanted, "{}", template.name);
            if template.name != "web" {
                assert_eq!(staged.name, "bear-7");
                let contract = if template.name == "typed" { Contract::G2 } else { Contract::G1 };
                assert_eq!(staged.contract.unwrap().contract, contract, "{}", template.name);
                let input = InputRequest { defaults: staged.default_input, ..InputRequest::default() };
                assert!(resolve_input(&input, &mut std::io::empty()).unwrap().data.is_some());
            }
            assert!(staged.dependencies.is_some());
        }
    }
}
