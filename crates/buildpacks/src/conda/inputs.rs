//! What an app asks of conda: what the file that leads says, and where the machine has its channels.

use std::path::Path;

use hoist_conda::{
    LockError, Locked, Login, PackageList, ResolvedChannel, Settings, look_at_spec, mask, read_lock, vendored,
    virtual_packages,
};
use hoist_environment::{EnvironmentFile, Located, SyntaxError};

use super::diagnosis;
use crate::as_of::AsOf;
use crate::context::Context;
use crate::encoding::{DecodeError, decode_text};
use crate::failure::Failure;
use crate::install::key::surroundings;
use crate::install::settings;
use crate::pip::requirements::read_lines;
use crate::pip::unreadable::explain_unreadable;

/// The platform numbers the machine's files.
const MAX_CONDARC_FILES: usize = 16;
/// Locks of large projects for all systems have some megabytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Which environment of a pixi.lock is installed.
const ENVIRONMENT_VARIABLE: &str = "BP_CONDA_ENVIRONMENT";

/// What is to be installed, and from where.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// The file that leads.
    pub(crate) file: String,
    /// All text that decides, for the key.
    pub(crate) text: String,
    pub(crate) asked: Asked,
    pub(crate) channels: Vec<ResolvedChannel>,
    pub(crate) settings: Settings,
    /// Lines of requirements for pip.
    pub(crate) pip: Vec<String>,
    /// A digest of what those lines take from the app and from the settings; empty without lines.
    pub(crate) pip_surroundings: String,
    pub(crate) variables: Vec<(String, String)>,
    /// The version of the base's C library.
    pub(crate) glibc: String,
    /// The day of which a solver takes packages.
    pub(crate) as_of: Option<AsOf>,
    pub(crate) warnings: Vec<String>,
}

/// How exactly it is known what to install.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// A solver chooses.
    Specs(Vec<Located>),
    /// These archives.
    Archives(Vec<Located>),
    /// What a lock has for this system.
    Locked(Box<Locked>),
}

fn not_text(error: &DecodeError) -> SyntaxError {
    SyntaxError { line: error.line(), why: error.to_string() }
}

/// The bytes of a file of the app, at most as many as a lock has.
fn bytes_of(context: &Context, name: &str) -> Result<Vec<u8>, SyntaxError> {
    let Some(path) = context.app_file(name) else { return Ok(Vec::new()) };
    let wrong = |why: String| SyntaxError { line: 1, why };
    let bytes = fs_err::metadata(&path).map_err(|error| wrong(error.to_string()))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(wrong(format!("it has {bytes} bytes, and at most {MAX_FILE_BYTES} are read")));
    }
    fs_err::read(path).map_err(|error| wrong(error.to_string()))
}

/// Reads the file that leads, and what the machine says of channels.
pub(crate) fn read(context: &Context, file: &str) -> Result<Inputs, Failure> {
    let text = bytes_of(context, file).and_then(|bytes| decode_text(&bytes).map_err(|error| not_text(&error)));
    let text = text.map_err(|error| diagnosis::unreadable(file, &error, ""))?;
    let mut inputs = Inputs {
        file: file.to_owned(),
        text: text.clone(),
        asked: Asked::Specs(Vec::new()),
        channels: Vec::new(),
        settings: settings_of(context)?,
        pip: Vec::new(),
        pip_surroundings: String::new(),
        variables: Vec::new(),
        glibc: glibc(&context.root_dir),
        as_of: AsOf::of(context)?,
        warnings: Vec::new(),
    };
    match file {
        "conda-lock.yml" | "conda-lock.yaml" | "pixi.lock" => inputs.read_lock(context, &text)?,
        "package-list.txt" => inputs.read_list(&text)?,
        _ => inputs.read_environment(context, &text)?,
    }
    if !matches!(inputs.asked, Asked::Specs(_))
        && let Some(as_of) = inputs.as_of.take()
    {
        inputs.warnings.push(as_of.idle(file));
    }
    if let Err(error) = virtual_packages(&inputs.glibc, &inputs.settings.overrides) {
        return Err(diagnosis::explain(&error.into(), &inputs));
    }
    Ok(inputs)
}

impl Inputs {
    fn read_environment(&mut self, context: &Context, text: &str) -> Result<(), Failure> {
        let found = EnvironmentFile::parse(text).map_err(|error| diagnosis::unreadable(&self.file, &error, text))?;
        for key in &found.unknown {
            self.warnings.push(format!("{} line {}: conda does not read `{}`", self.file, key.line, key.text));
        }
        self.take_pip(context, &found.pip.unwrap_or_default())?;
        self.variables = found.variables.into_iter().map(|(name, value)| (name.text, value)).collect();
        let mut channels = found.channels;
        if !found.no_defaults {
            channels.extend(self.settings.channels.iter().map(|text| Located { text: text.clone(), line: 0 }));
        }
        self.choose_from(found.specs, channels)
    }

    /// Lines for pip, and what they include: files that are not there are named before anything is installed.
    fn take_pip(&mut self, context: &Context, lines: &[Located]) -> Result<(), Failure> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        let mut at = 1;
        for line in lines {
            while at < line.line {
                text.push('\n');
                at += 1;
            }
            text.push_str(&line.text.replace('\n', " "));
        }
        let tree =
            read_lines(&context.app_dir, Path::new(&self.file), &text).map_err(|error| explain_unreadable(&error))?;
        self.pip_surroundings = surroundings(&tree, &settings::settings(context), &context.app_dir);
        self.pip = lines.iter().map(|line| line.text.clone()).collect();
        Ok(())
    }

    fn read_list(&mut self, text: &str) -> Result<(), Failure> {
        let found = PackageList::parse(text).map_err(|error| diagnosis::unreadable(&self.file, &error, text))?;
        if let Some(platform) = &found.platform {
            let here = if cfg!(target_arch = "x86_64") { "linux-64" } else { "linux-aarch64" };
            if platform.text != here {
                let error = LockError::Platform { wanted: here.to_owned(), has: vec![platform.text.clone()] };
                return Err(diagnosis::lock(&self.file, &error, &self.text));
            }
        }
        if !found.archives.is_empty() {
            let settings = &mut self.settings;
            let plain = |one: Located| Located { text: settings.without_login(&one.text), ..one };
            self.asked = Asked::Archives(found.archives.into_iter().map(plain).collect());
            return Ok(());
        }
        let channels = self.settings.channels.iter().map(|text| Located { text: text.clone(), line: 0 }).collect();
        self.choose_from(found.specs, channels)
    }

    fn read_lock(&mut self, context: &Context, text: &str) -> Result<(), Failure> {
        let environment = context.variable(ENVIRONMENT_VARIABLE).unwrap_or("default");
        let mut locked = read_lock(text, environment).map_err(|error| diagnosis::lock(&self.file, &error, text))?;
        locked.solution.take_logins(&mut self.settings);
        let lines: Vec<Located> =
            locked.pip.iter().zip(1..).map(|(text, line)| Located { text: text.clone(), line }).collect();
        self.take_pip(context, &lines)?;
        self.asked = Asked::Locked(Box::new(locked));
        Ok(())
    }

    /// A solver has to choose: every entry is looked at, and every channel is looked up.
    fn choose_from(&mut self, mut specs: Vec<Located>, mut channels: Vec<Located>) -> Result<(), Failure> {
        let mut has_python = false;
        for spec in &specs {
            let (name, channel) = look_at_spec(spec).map_err(|error| diagnosis::explain(&error, self))?;
            has_python |= name == "python";
            channels.extend(channel.map(|text| Located { text, line: spec.line }));
        }
        if !has_python {
            self.warnings.push(format!("{} does not ask for python: the newest that fits is taken", self.file));
            specs.push(Located { text: "python".to_owned(), line: 0 });
        }
        if !self.pip.is_empty() && !specs.iter().any(|spec| spec.text.starts_with("pip")) {
            self.warnings.push(format!("{} has pip: without asking for pip; conda warns of that, too", self.file));
        }
        if let Some(vendor) = self.settings.root_dir.as_deref().and_then(vendored) {
            self.warnings.push("the folder vendor is a channel: no other is asked".to_owned());
            channels = vec![Located { text: vendor.to_owned(), line: 0 }];
        }
        if channels.is_empty() {
            channels.push(Located { text: "defaults".to_owned(), line: 0 });
        }
        let mut known: Vec<String> = Vec::new();
        for channel in channels {
            let found = self
                .settings
                .resolve(&channel.text)
                .map_err(|error| diagnosis::channel(&self.file, channel.line, &error))?;
            for one in found {
                if !known.contains(&one.name) {
                    known.push(one.name.clone());
                    self.channels.push(one);
                }
            }
        }
        self.asked = Asked::Specs(specs);
        Ok(())
    }

    /// The line of the file that asks for a package.
    pub(crate) fn line_of(&self, package: &str) -> Option<usize> {
        let Asked::Specs(specs) = &self.asked else { return None };
        let asks = |spec: &&Located| look_at_spec(spec).is_ok_and(|(name, _)| name == package);
        specs.iter().find(asks).map(|spec| spec.line).filter(|line| *line > 0)
    }

    /// The Python, as far as the file says it.
    pub(crate) fn python(&self) -> String {
        let asked = |spec: &&Located| look_at_spec(spec).is_ok_and(|(name, _)| name == "python");
        match &self.asked {
            Asked::Specs(specs) => {
                let (_, version) = hoist_environment::split(specs.iter().find(asked).map_or("", |spec| &spec.text));
                match hoist_environment::python(&version) {
                    Some(python) => python,
                    None if version.is_empty() => "the newest that fits".to_owned(),
                    None => version,
                }
            }
            Asked::Locked(locked) => {
                let packages = locked.solution.packages();
                packages
                    .into_iter()
                    .find(|one| one.name == "python")
                    .map_or_else(|| "none".to_owned(), |one| one.version)
            }
            Asked::Archives(_) => "that of the list".to_owned(),
        }
    }

    /// How many packages the file names.
    pub(crate) fn count(&self) -> String {
        match &self.asked {
            Asked::Specs(specs) => format!("{} asked for", specs.len()),
            Asked::Archives(archives) => format!("{} archives", archives.len()),
            Asked::Locked(locked) => format!("{} locked packages", locked.solution.packages().len()),
        }
    }

    /// What of the settings can change which packages are chosen; without who asks.
    pub(crate) fn sources(&self) -> String {
        let places = self.channels.iter().flat_map(|channel| &channel.places);
        let places: Vec<String> = places.map(|place| mask(place.base_url.as_str())).collect();
        let overrides = self.settings.overrides.iter().map(|(name, version)| format!("__{name}={version}"));
        let priority = if self.settings.any_channel { "any channel" } else { "first channel" };
        let own = self.channels.iter().filter_map(|channel| channel.own_digest.clone());
        places.into_iter().chain(own).chain(overrides).chain([priority.to_owned()]).collect::<Vec<_>>().join(" ")
    }
}

/// `.condarc` files of bindings, then of the app, then variables.
fn settings_of(context: &Context) -> Result<Settings, Failure> {
    let mut settings = Settings { root_dir: Some(context.app_dir.clone()), ..Settings::default() };
    let bindings: Vec<_> = ["condarc", "conda"].into_iter().flat_map(|kind| context.bindings.of_type(kind)).collect();
    for binding in &bindings {
        let numbered = (0..MAX_CONDARC_FILES).map(|number| format!("{number:02}.condarc"));
        for name in numbered.chain(["condarc".to_owned(), ".condarc".to_owned()]) {
            let Some(text) = binding.text(&name) else { continue };
            settings.merge(&text).map_err(|error| {
                diagnosis::unreadable(&format!("{name} of the binding {}", binding.name), &error, "")
            })?;
        }
        if let Some(Ok(serde_json::Value::Object(values))) =
            binding.text("settings.json").map(|text| serde_json::from_str(&text))
        {
            let values = values.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
            settings.merge_variables(values);
        }
        if let (Some(host), Some(token)) = (binding.text("host"), binding.text("token")) {
            let user = binding.text("username").map(|user| user.trim().to_owned());
            settings.logins.push(Login { host: host.trim().to_owned(), user, secret: token.trim().to_owned() });
        }
    }
    let text = bytes_of(context, ".condarc").and_then(|bytes| decode_text(&bytes).map_err(|error| not_text(&error)));
    let text = text.map_err(|error| diagnosis::unreadable(".condarc", &error, ""))?;
    // An app does not say whose certificates count where this machine's logins are sent.
    let trusted = (settings.insecure, settings.ca_bundle.clone());
    settings.merge(&text).map_err(|error| diagnosis::unreadable(".condarc", &error, &text))?;
    (settings.insecure, settings.ca_bundle) = trusted;
    let variables: Vec<(&str, &str)> =
        context.environment.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str()?))).collect();
    settings.merge_variables(variables.into_iter());
    Ok(settings)
}

/// The version that the C library of the build's base says of itself.
fn glibc(root: &Path) -> String {
    const SAYS: &[u8] = b"release version ";
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let places =
        [format!("usr/lib/{triple}/libc.so.6"), format!("lib/{triple}/libc.so.6"), "lib64/libc.so.6".to_owned()];
    let read = |place: &String| fs_err::read(root.join(place)).ok();
    let found = places.iter().find_map(read).and_then(|bytes| {
        let at = bytes.windows(SAYS.len()).position(|window| window == SAYS)? + SAYS.len();
        let version: String = bytes[at..]
            .iter()
            .take(12)
            .map(|&byte| char::from(byte))
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        Some(version.trim_end_matches('.').to_owned())
    });
    found.filter(|version| !version.is_empty()).unwrap_or_else(|| "2.17".to_owned())
}
