//! What goes into a job: arguments, defaults, checks, and the files that the program finds.
//!
//! Everything is checked to be JSON before anything is built or run, and handed on as it was written, to the digit.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::{Contract, JsonError, JsonText, Signature};

/// One input may be this large. (The platform itself takes 1 MB by value.)
const MAX_BYTES: u64 = 256 << 20;
/// Files in an input directory.
const MAX_KEYS: usize = 1000;
/// Bytes of a key, which becomes a file's name.
const KEY_BYTES: usize = 200;

/// `--data` or `--params` as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputArgument {
    /// A file.
    File(PathBuf),
    /// `-`.
    Stdin,
    /// JSON itself.
    Inline(String),
}

impl InputArgument {
    /// `-` is standard input; what begins with `{`, `[` or `"` is JSON; then a file that is there; then a bare number or word of JSON.
    pub fn parse(text: &str) -> Self {
        let trimmed = text.trim_start();
        if text == "-" {
            Self::Stdin
        } else if trimmed.starts_with(['{', '[', '"'])
            || (!Path::new(text).exists() && JsonText::parse("argument", trimmed).is_ok())
        {
            Self::Inline(text.to_owned())
        } else {
            Self::File(PathBuf::from(text))
        }
    }
}

/// The input files that a service brings along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefaultInput {
    /// `input/data.json`.
    pub data: Option<Vec<u8>>,
    /// `input/params.json`.
    pub params: Option<Vec<u8>>,
    /// Further keys (G2): the file's name, `<key>.json` or `<key>.txt`, and its bytes.
    pub extra: Vec<(String, Vec<u8>)>,
}

/// Everything that may say what the input is. `data` and `params` win over `input_dir`, which wins over `defaults`.
#[derive(Debug, Clone, Default)]
pub struct InputRequest<'a> {
    /// `--data`.
    pub data: Option<InputArgument>,
    /// `--params`.
    pub params: Option<InputArgument>,
    /// `--input DIR`: `data.json`, `params.json`, for G2 any `<key>.json` or `<key>.txt`.
    pub input_dir: Option<&'a Path>,
    /// Of the service.
    pub defaults: DefaultInput,
}

/// The input of a job, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// What `data` is.
    pub data: Option<JsonText>,
    /// What `params` is.
    pub params: Option<JsonText>,
    /// Further keys (G2).
    pub extra: Vec<(String, JsonText)>,
}

/// A directory of the host that the job sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: PathBuf,
    /// Whether the job may not write there.
    pub read_only: bool,
}

/// Files that were written for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenInput {
    /// What to mount.
    pub mounts: Vec<Mount>,
    /// What to set.
    pub env: Vec<(String, String)>,
    /// Where the program writes its results (G2), on the host; anyone may write there, so keep the directory above it private.
    pub output_dir: Option<PathBuf>,
}

/// An input that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is neither a file nor JSON.
    #[error("{argument} is {path:?}, which is neither a file nor JSON")]
    NoSuchFile {
        /// `--data` or `--params`.
        argument: &'static str,
        /// As typed.
        path: String,
    },
    /// `--input` names no directory.
    #[error("--input is {}, which is no directory", path.display())]
    NoSuchDir {
        /// As typed.
        path: PathBuf,
    },
    /// Both `--data` and `--params` are `-`.
    #[error("--data and --params are both -, and standard input can be read once only")]
    StdinTwice,
    /// It cannot be read.
    #[error("reading {origin}")]
    Read {
        /// What.
        origin: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{origin} is larger than {MAX_BYTES} bytes")]
    TooLarge {
        /// What.
        origin: String,
    },
    /// It is no text.
    #[error("{origin} is not UTF-8 text: byte {offset}")]
    NotText {
        /// What.
        origin: String,
        /// Where the text ends.
        offset: usize,
    },
    /// A key cannot be a file's name.
    #[error("the input has the key {key:?}, which cannot be the name of a parameter")]
    Key {
        /// The key.
        key: String,
    },
    /// Two files give the same key.
    #[error("{} gives {key}, which a file before it gives already", path.display())]
    Twice {
        /// The key.
        key: String,
        /// The second file.
        path: PathBuf,
    },
    /// There are too many.
    #[error("the input has more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// The files for the job cannot be written.
    #[error("writing the input of the job to {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl InputError {
    /// The next step.
    pub fn hint(&self) -> String {
        match self {
            Self::Json(error) => error.hint(),
            Self::NoSuchFile { argument, .. } => {
                format!("give a file, - for standard input, or JSON: {argument} '{{\"shots\": 100}}'")
            }
            Self::NoSuchDir { .. } => "give the directory that has data.json and params.json".to_owned(),
            Self::StdinTwice => "give one of them as a file".to_owned(),
            Self::Read { .. } => "look at the file's permissions".to_owned(),
            Self::TooLarge { .. } | Self::TooManyKeys => {
                "mount large inputs as files: hoist run -v DIR:/var/runtime/datapool/NAME".to_owned()
            }
            Self::NotText { .. } => "save it as UTF-8".to_owned(),
            Self::Twice { .. } => "remove one of the two files".to_owned(),
            Self::Key { .. } => "keys are names of parameters of run: letters, digits, _ and -".to_owned(),
            Self::Write { .. } => "look for a full disk: hoist system df".to_owned(),
        }
    }
}

/// Reads and checks the input. `stdin` is read only if an argument is `-`.
pub fn resolve_input(request: &InputRequest<'_>, stdin: &mut dyn Read) -> Result<Input, InputError> {
    if request.data == Some(InputArgument::Stdin) && request.params == Some(InputArgument::Stdin) {
        return Err(InputError::StdinTwice);
    }
    let mut input = match request.input_dir {
        Some(dir) => read_dir(dir)?,
        None => Input::default(),
    };
    if let Some(argument) = &request.data {
        input.data = Some(read_argument("--data", argument, stdin)?);
    }
    if let Some(argument) = &request.params {
        input.params = Some(read_argument("--params", argument, stdin)?);
    }
    if request.input_dir.is_none() {
        add_defaults(&mut input, &request.defaults)?;
    }
    Ok(input)
}

/// What the service brings along, for each key that was not given.
fn add_defaults(input: &mut Input, defaults: &DefaultInput) -> Result<(), InputError> {
    let whole = [
        ("input/data.json", &defaults.data, &mut input.data),
        ("input/params.json", &defaults.params, &mut input.params),
    ];
    for (origin, bytes, slot) in whole {
        if let (Some(bytes), true) = (bytes, slot.is_none()) {
            *slot = Some(check(origin, bytes)?);
        }
    }
    for (name, bytes) in &defaults.extra {
        let json = value_of(name, &format!("input/{name}"), bytes)?;
        input.extra.push((key_of(name).to_owned(), json));
    }
    Ok(())
}

/// The key that a file of an input folder gives: its name up to the first dot.
fn key_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The value of `<key>.json` or, as a text, of `<key>.txt`.
fn value_of(name: &str, origin: &str, bytes: &[u8]) -> Result<JsonText, InputError> {
    if Path::new(name).extension().is_none_or(|extension| extension != "txt") {
        return check(origin, bytes);
    }
    let text = text_of(origin, bytes)?;
    Ok(JsonText::parse(origin, &serde_json::Value::from(text).to_string())?)
}

fn read_argument(name: &'static str, argument: &InputArgument, stdin: &mut dyn Read) -> Result<JsonText, InputError> {
    match argument {
        InputArgument::Inline(text) => Ok(JsonText::parse(name, text)?),
        InputArgument::Stdin => check("standard input", &read_bounded("standard input", stdin)?),
        InputArgument::File(path) => {
            if !path.exists() || path.is_dir() {
                return Err(InputError::NoSuchFile { argument: name, path: path.display().to_string() });
            }
            check(&path.display().to_string(), &read_file(path)?)
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, InputError> {
    let origin = path.display().to_string();
    let mut file = fs::File::open(path).map_err(|source| InputError::Read { origin: origin.clone(), source })?;
    read_bounded(&origin, &mut file)
}

fn read_bounded(origin: &str, from: &mut dyn Read) -> Result<Vec<u8>, InputError> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| InputError::Read { origin: origin.to_owned(), source })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(InputError::TooLarge { origin: origin.to_owned() });
    }
    Ok(bytes)
}

fn check(origin: &str, bytes: &[u8]) -> Result<JsonText, InputError> {
    Ok(JsonText::parse(origin, text_of(origin, bytes)?)?)
}

fn text_of<'a>(origin: &str, bytes: &'a [u8]) -> Result<&'a str, InputError> {
    std::str::from_utf8(bytes)
        .map_err(|error| InputError::NotText { origin: origin.to_owned(), offset: error.valid_up_to() })
}

/// `<key>.json` is JSON, `<key>.txt` a text; other files are not inputs.
fn read_dir(dir: &Path) -> Result<Input, InputError> {
    if !dir.is_dir() {
        return Err(InputError::NoSuchDir { path: dir.to_owned() });
    }
    let read = |source| InputError::Read { origin: dir.display().to_string(), source };
    let mut input = Input::default();
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "json" || extension == "txt") {
            names.push(path);
        }
        if names.len() > MAX_KEYS {
            return Err(InputError::TooManyKeys);
        }
    }
    names.sort();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let json = value_of(&name, &path.display().to_string(), &read_file(&path)?)?;
        let key = key_of(&name);
        match key {
            "data" => input.data = Some(json),
            "params" => input.params = Some(json),
            _ if input.extra.iter().any(|(known, _)| known == key) => {
                return Err(InputError::Twice { key: key.to_owned(), path });
            }
            _ => input.extra.push((key.to_owned(), json)),
        }
    }
    Ok(input)
}

/// Writes `input` into the empty directory `dir` as `contract` wants it.
///
/// G1: `data.json` and `params.json`, both also in folders of their own, since the platform mounted them in both ways. G2: one file for
/// each key; where `run` has no parameter `data` (or `params`), the members of that object are the keys, as in a request to the platform.
pub fn write_input(
    input: &Input,
    contract: Contract,
    signature: Option<&Signature>,
    dir: &Path,
) -> Result<WrittenInput, InputError> {
    let input_dir = dir.join("input");
    make_dir(&input_dir, 0o755)?;
    match contract {
        Contract::G1 => write_g1(input, &input_dir),
        Contract::G2 => write_g2(input, signature, dir, &input_dir),
    }
}

fn write_g1(input: &Input, input_dir: &Path) -> Result<WrittenInput, InputError> {
    for (key, json) in [("data", &input.data), ("params", &input.params)] {
        let text = json.as_ref().map_or("{}", JsonText::as_str);
        let own_dir = input_dir.join(key);
        make_dir(&own_dir, 0o755)?;
        write_file(&input_dir.join(format!("{key}.json")), text)?;
        write_file(&own_dir.join(format!("{key}.json")), text)?;
    }
    let mount = Mount { source: input_dir.to_owned(), target: "/var/input".into(), read_only: true };
    // Templates with a runner of their own take files for base64 unless they are told.
    let env = [("HOIST_CONTRACT", "G1"), ("BASE64_ENCODED", "false")];
    Ok(WrittenInput { mounts: vec![mount], env: owned(&env), output_dir: None })
}

fn write_g2(
    input: &Input,
    signature: Option<&Signature>,
    dir: &Path,
    input_dir: &Path,
) -> Result<WrittenInput, InputError> {
    // Later ones win: what was typed as a member of data over a file of its own.
    let mut members: Vec<(String, JsonText)> = input.extra.clone();
    for (key, json) in [("params", &input.params), ("data", &input.data)] {
        let Some(json) = json else { continue };
        match json.members() {
            Some(inner) if signature.is_some_and(|signature| !signature.takes(key)) => members.extend(inner),
            _ => members.push((key.to_owned(), json.clone())),
        }
    }
    if members.len() > MAX_KEYS {
        return Err(InputError::TooManyKeys);
    }
    for (key, json) in &members {
        let plain = !key.is_empty()
            && key.len() <= KEY_BYTES
            && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        if !plain {
            return Err(InputError::Key { key: key.clone() });
        }
        write_file(&input_dir.join(format!("{key}.json")), json.as_str())?;
    }
    let output_dir = dir.join("output");
    make_dir(&output_dir, 0o777)?;
    let (input_target, output_target) = ("/var/runtime/input", "/var/runtime/output");
    Ok(WrittenInput {
        mounts: vec![
            Mount { source: input_dir.to_owned(), target: input_target.into(), read_only: true },
            Mount { source: output_dir.clone(), target: output_target.into(), read_only: false },
        ],
        env: owned(&[("HOIST_CONTRACT", "G2"), ("INPUT_DIRECTORY", input_target), ("OUTPUT_DIRECTORY", output_target)]),
        output_dir: Some(output_dir),
    })
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The modes are set whatever the umask is: another user than this one reads them.
fn make_dir(path: &Path, mode: u32) -> Result<(), InputError> {
    let make = || {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    make().map_err(|source| InputError::Write { path: path.to_owned(), source })
}

fn write_file(path: &Path, text: &str) -> Result<(), InputError> {
    let write = || {
        fs::write(path, text)?;
        fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
    };
    write().map_err(|source| InputError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(request: &InputRequest<'_>, stdin: &str) -> Result<Input, InputError> {
        resolve_input(request, &mut stdin.as_bytes())
    }

    #[test]
    fn arguments_win_over_the_directory_and_that_over_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("data.json"), "{\"from\": \"dir\"}").unwrap();
        fs::write(dir.path().join("note.txt"), "a \"text\"\n").unwrap();
        let defaults = DefaultInput { data: Some(b"1".to_vec()), params: Some(b"2".to_vec()), extra: Vec::new() };
        let mut request = InputRequest { defaults, ..InputRequest::default() };
        let text = |json: &Option<JsonText>| json.as_ref().map(|json| json.as_str().to_owned());
        let found = resolve(&request, "").unwrap();
        assert_eq!((text(&found.data), text(&found.params)), (Some("1".into()), Some("2".into())));
        request.data = Some(InputArgument::parse("-"));
        let found = resolve(&request, "[1.50]").unwrap();
        assert_eq!((text(&found.data), text(&found.params)), (Some("[1.50]".into()), Some("2".into())));
        request.input_dir = Some(dir.path());
        request.data = None;
        request.params = Some(InputArgument::parse("{\"shots\": 3}"));
        let found = resolve(&request, "").unwrap();
        assert_eq!(text(&found.data), Some("{\"from\": \"dir\"}".into()));
        assert_eq!(text(&found.params), Some("{\"shots\": 3}".into()));
        assert_eq!(found.extra[0].1.value(), "a \"text\"\n");
    }

    #[test]
    fn a_wrong_input_is_named_before_anything_runs() {
        let with =
            |argument: &str| InputRequest { data: Some(InputArgument::parse(argument)), ..InputRequest::default() };
        let error = resolve(&with("{\"a\": NaN}"), "").unwrap_err().to_string();
        assert_eq!(
            error,
            "--data is not JSON: line 1, column 7: JSON has no NaN; write null\n    {\"a\": NaN}\n          ^"
        );
        assert!(matches!(resolve(&with("nothing.json"), ""), Err(InputError::NoSuchFile { .. })));
        assert!(matches!(resolve(&with("/"), ""), Err(InputError::NoSuchFile { .. })));
        assert_eq!(InputArgument::parse("-"), InputArgument::Stdin);
        for json in ["17", "-1", "null", "true", "{\"a\": 1}"] {
            assert_eq!(InputArgument::parse(json), InputArgument::Inline(json.into()));
        }
        assert_eq!(InputArgument::parse("data.json"), InputArgument::File("data.json".into()));
        let twice = InputRequest { params: Some(InputArgument::Stdin), ..with("-") };
        assert!(matches!(resolve(&twice, "1"), Err(InputError::StdinTwice)));
    }

    #[test]
    fn every_key_has_its_default_and_what_is_given_wins() {
        let extra = vec![("shots.json".to_owned(), b"5".to_vec()), ("note.txt".to_owned(), b"a\n".to_vec())];
        let defaults = DefaultInput { extra, ..DefaultInput::default() };
        let data = Some(InputArgument::parse("{\"shots\": 7, \"seed\": 1}"));
        let input = resolve(&InputRequest { data, defaults, ..InputRequest::default() }, "").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let signature = Signature::parse("def run(shots: int, seed: int, note: str): ...").unwrap();
        write_input(&input, Contract::G2, Some(&signature), dir.path()).unwrap();
        let read = |key: &str| fs::read_to_string(dir.path().join(format!("input/{key}.json"))).unwrap();
        assert_eq!((read("shots"), read("seed"), read("note")), ("7".into(), "1".into(), "\"a\\n\"".into()));
        let broken = DefaultInput { extra: vec![("x.json".to_owned(), b"{".to_vec())], ..DefaultInput::default() };
        let error = resolve(&InputRequest { defaults: broken, ..InputRequest::default() }, "").unwrap_err();
        assert!(error.to_string().starts_with("input/x.json is not JSON: line 1"), "{error}");
    }

    #[test]
    fn two_files_of_one_key_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["shots.json", "shots.old.json"] {
            fs::write(dir.path().join(name), "1").unwrap();
        }
        let error = resolve(&InputRequest { input_dir: Some(dir.path()), ..InputRequest::default() }, "").unwrap_err();
        assert!(
            error.to_string().ends_with("shots.old.json gives shots, which a file before it gives already"),
            "{error}"
        );
    }

    #[test]
    fn both_generations_find_their_files() {
        let json = |text: &str| Some(JsonText::parse("x", text).unwrap());
        let input = Input { data: json("{\"shots\": 1.0, \"seed\": 7}"), params: None, extra: vec![] };
        let dir = tempfile::tempdir().unwrap();
        let written = write_input(&input, Contract::G1, None, dir.path()).unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join("input").join(path)).unwrap();
        assert_eq!(read("data.json"), "{\"shots\": 1.0, \"seed\": 7}");
        assert_eq!(read("data/data.json"), read("data.json"));
        assert_eq!(read("params/params.json"), "{}");
        assert_eq!(written.mounts[0].target, Path::new("/var/input"));

        let dir = tempfile::tempdir().unwrap();
        let signature = Signature::parse("def run(shots, seed): ...").unwrap();
        let written = write_input(&input, Contract::G2, Some(&signature), dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("input/shots.json")).unwrap(), "1.0");
        assert!(!dir.path().join("input/data.json").exists());
        assert!(written.output_dir.unwrap().is_dir());
        let signature = Signature::parse("def run(shots: int, **rest): ...").unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_input(&input, Contract::G2, Some(&signature), dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("input/seed.json")).unwrap(), "7");
        let hostile = Input { data: json("{\"../../x\": 1}"), ..Input::default() };
        assert!(matches!(
            write_input(&hostile, Contract::G2, Some(&signature), dir.path()),
            Err(InputError::Key { .. })
        ));
    }
}
