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

/// All templates, the default first.
pub fn templates() -> &'static [Template] {
    &[]
}
