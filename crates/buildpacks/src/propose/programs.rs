//! The programs that a project declares (`[project.scripts]`, Poetry's), and which of them its image is likely meant to start.

use crate::context::Context;
use crate::encoding::decode_text;
use crate::pip::requirements::normalize;

/// Parts of names by which programs that stay and serve are called.
const SERVING: [&str; 9] = ["serve", "server", "web", "api", "app", "run", "start", "daemon", "service"];
/// As many as a line holds.
const SHOWN: usize = 6;

/// The programs of a project.
pub(super) struct Programs {
    /// `project.scripts`.
    pub(super) key: String,
    project: String,
    /// Names, and what they call.
    all: Vec<(String, String)>,
}

impl Programs {
    pub(super) fn of(context: &Context) -> Option<Self> {
        let text = decode_text(&fs_err::read(context.app_file("pyproject.toml")?).ok()?).ok()?;
        let document: toml::Table = text.parse().ok()?;
        let of = |path: &[&str]| {
            let parent = path[1..].iter().try_fold(document.get(path[0])?, |value, key| value.get(key))?;
            let table = parent.get("scripts")?.as_table()?;
            let project = parent.get("name").and_then(toml::Value::as_str).unwrap_or_default();
            let target = |value: &toml::Value| value.as_str().unwrap_or_default().to_owned();
            let all: Vec<_> = table.iter().map(|(name, value)| (name.clone(), target(value))).collect();
            (!all.is_empty()).then(|| Self {
                key: format!("{}.scripts", path.join(".")),
                project: normalize(project),
                all,
            })
        };
        of(&["project"]).or_else(|| of(&["tool", "poetry"]))
    }

    /// The only one; else the one that is called as the project is; else the only one that is called as servers are. Which of several tools for the command
    /// line an image starts is nobody's guess.
    pub(super) fn chosen(&self) -> Option<(&str, &str)> {
        let own = || self.all.iter().find(|(name, _)| normalize(name) == self.project);
        let serving = || {
            let is_it = |name: &str| name.split(['-', '_', '.']).any(|part| SERVING.contains(&part));
            let mut found = self.all.iter().filter(|(name, _)| is_it(name));
            found.next().filter(|_| found.next().is_none())
        };
        let chosen = if let [one] = self.all.as_slice() { Some(one) } else { own().or_else(serving) };
        chosen.map(|(name, target)| (name.as_str(), target.as_str()))
    }

    /// `the programs a, b and c, none of which is called as the project is`.
    pub(super) fn listed(&self) -> String {
        let mut names: Vec<&str> = self.all.iter().take(SHOWN).map(|(name, _)| name.as_str()).collect();
        let more = self.all.len() - names.len();
        let last = if more > 0 { format!("{more} more") } else { names.pop().unwrap_or_default().to_owned() };
        if names.is_empty() {
            return format!("the program {last}");
        }
        format!("the programs {} and {last}, none of which is called as the project or a server is", names.join(", "))
    }
}
