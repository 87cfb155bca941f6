//! Folders and archives, honest and hostile.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use hoist_events::{NullReporter, RecordingReporter};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn request<'a>(source: &'a Path, app_dir: &'a Path) -> StageRequest<'a> {
    StageRequest {
        source,
        app_dir,
        contract: None,
        dependencies: None,
        manager: None,
        lift: true,
        selection: Selection::default(),
        owner: None,
        limits: Limits::default(),
    }
}

fn staged(source: &Path) -> (tempfile::TempDir, Result<Staged, StageError>) {
    let app = tempfile::tempdir().unwrap();
    let result = stage(&request(source, app.path()), &NullReporter);
    (app, result)
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

const PROGRAM: &str = "def run(data=None, params=None):\n    return data\n";

fn service() -> tempfile::TempDir {
    tree(&[
        ("planqk.json", "{\"name\": \"Grizzly Bear!\", \"resources\": {\"cpu\": 1, \"memory\": 2}}"),
        ("src/program.py", PROGRAM),
        ("src/libs/a.py", ""),
        ("requirements.txt", "loguru\n"),
        ("input/data.json", "{\"a\": 1}"),
        ("input/more.csv", ""),
        (".git/config", ""),
        (".venv/bin/python", ""),
        ("env/pyvenv.cfg", ""),
        ("src/__pycache__/program.cpython-311.pyc", ""),
        (".planqkignore", "*.log\n/notes\n"),
        ("a.log", ""),
        ("notes/x", ""),
    ])
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = walkdir::WalkDir::new(dir)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().strip_prefix(dir).unwrap().display().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_is_staged_without_what_is_of_no_use() {
    let source = service();
    let before = names(source.path());
    let app = tempfile::tempdir().unwrap();
    let reporter = RecordingReporter::default();
    let staged = stage(&request(source.path(), app.path()), &reporter).unwrap();
    assert_eq!(
        names(app.path()),
        [".planqkignore", "input/more.csv", "planqk.json", "requirements.txt", "src/libs/a.py", "src/program.py"]
    );
    assert_eq!(names(source.path()), before);
    assert_eq!(staged.name, "grizzly-bear");
    assert_eq!(staged.layout, Layout::PlanQk);
    assert_eq!(staged.contract.unwrap().contract, Contract::G1);
    assert_eq!(staged.default_input.data.as_deref(), Some(&b"{\"a\": 1}"[..]));
    assert_eq!(staged.manifest.unwrap().resources.memory_bytes(), Some(2 << 30));
    assert_eq!(staged.build_env[0], ("HOIST_CONTRACT".to_owned(), "G1".to_owned()));
    assert!(
        reporter.events().iter().any(|event| matches!(event, Event::Choice { what, .. } if what == "service contract"))
    );
}

#[test]
fn a_small_service_is_staged_in_a_few_milliseconds() {
    let source = service();
    let best = (0..10)
        .map(|_| {
            let start = std::time::Instant::now();
            staged(source.path()).1.unwrap();
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(best.as_millis() < 20, "{best:?}");
    println!("staged in {best:?}");
}

#[test]
fn modes_do_not_depend_on_whose_folder_it_is() {
    let source = tree(&[("main.py", ""), ("run.sh", "")]);
    fs::set_permissions(source.path().join("main.py"), std::fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(source.path().join("run.sh"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let (app, result) = staged(source.path());
    assert_eq!(result.unwrap().layout, Layout::App);
    let mode = |name: &str| fs::metadata(app.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("main.py"), mode("run.sh")), (0o644, 0o755));
    assert_eq!(mode(""), 0o777, "the user of the image is another one, and may put files here");
}

#[test]
fn links_inside_are_kept_and_links_out_are_named() {
    let source = tree(&[("main.py", ""), ("d/x.py", "")]);
    symlink("../main.py", source.path().join("d/link.py")).unwrap();
    symlink(source.path().join("main.py"), source.path().join("d/absolute.py")).unwrap();
    symlink("gone", source.path().join("dangling")).unwrap();
    let (app, result) = staged(source.path());
    result.unwrap();
    assert_eq!(fs::read_link(app.path().join("d/absolute.py")).unwrap(), Path::new("../main.py"));
    for target in ["/etc/passwd", "../outside", "../../../../etc"] {
        let source = tree(&[("d/x.py", "")]);
        symlink(target, source.path().join("d/bad")).unwrap();
        symlink("..", source.path().join("d/up")).unwrap();
        let inside = target == "../outside"; // beside d, where nothing is
        let wanted = (!inside).then(|| format!("the link d/bad leads out of the source, to {target}"));
        assert_eq!(staged(source.path()).1.err().map(|error| error.to_string()), wanted);
    }
    // `..` behind a link is not what its text says, and it matters not whether anything is there.
    for target in ["d/up/../etc", "d/up/d/up/d/up/../../../../tmp/not-there-yet"] {
        let source = tree(&[("d/x.py", "")]);
        symlink("..", source.path().join("d/up")).unwrap();
        symlink(target, source.path().join("requirements.txt")).unwrap();
        assert!(matches!(staged(source.path()).1, Err(StageError::LinkOut { .. })), "{target}");
    }
    let source = tree(&[("main.py", "")]);
    symlink("round", source.path().join("round")).unwrap();
    staged(source.path()).1.unwrap();
    let source = tree(&[("a/b/x.py", ""), ("t", "")]);
    symlink("../..", source.path().join("a/b/up")).unwrap();
    symlink("a/b/up/../../..", source.path().join("bad")).unwrap();
    assert!(matches!(staged(source.path()).1, Err(StageError::LinkOut { .. })));
}

#[test]
fn bounds_hold_for_folders() {
    let source = tree(&[("a/b/c/d.py", "12345")]);
    let with = |limits: Limits| {
        let app = tempfile::tempdir().unwrap();
        stage(&StageRequest { limits, ..request(source.path(), app.path()) }, &NullReporter).map(|_| ()).unwrap_err()
    };
    assert!(matches!(with(Limits { entries: 2, ..Limits::default() }), StageError::TooMany { limit: 2 }));
    assert!(matches!(with(Limits { file_bytes: 4, ..Limits::default() }), StageError::TooLarge { .. }));
    assert!(matches!(with(Limits { total_bytes: 4, ..Limits::default() }), StageError::TooLarge { .. }));
    assert!(matches!(with(Limits { depth: 2, ..Limits::default() }), StageError::TooDeep { limit: 2, .. }));
    let full = tree(&[("x", "")]);
    assert!(matches!(stage(&request(source.path(), full.path()), &NullReporter), Err(StageError::AppDir { .. })));
    let inside = source.path().join("a/out");
    fs::create_dir(&inside).unwrap();
    assert!(matches!(stage(&request(source.path(), &inside), &NullReporter), Err(StageError::AppDir { .. })));
    assert!(matches!(staged(Path::new("/nonexistent/x")).1, Err(StageError::NotFound { .. })));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(staged(empty.path()).1, Err(StageError::Empty { .. })));
}

type Fill<'a> = &'a dyn Fn(&mut ZipWriter<std::fs::File>);

fn zip_of(write: Fill<'_>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file =
        std::fs::OpenOptions::new().write(true).create_new(true).open(dir.path().join("My Service.zip")).unwrap();
    let mut zip = ZipWriter::new(file);
    write(&mut zip);
    zip.finish().unwrap();
    dir
}

fn add(zip: &mut ZipWriter<std::fs::File>, name: &str, text: &[u8]) {
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    zip.write_all(text).unwrap();
}

fn stage_zip(write: Fill<'_>) -> (tempfile::TempDir, Result<Staged, StageError>) {
    let dir = zip_of(write);
    staged(&dir.path().join("My Service.zip"))
}

#[test]
fn archives_with_and_without_a_top_folder_give_the_same_app() {
    for prefix in ["", "bell/", "./bell/"] {
        let (app, result) = stage_zip(&|zip| {
            add(zip, "__MACOSX/._x", b"");
            add(zip, &format!("{prefix}src/program.py"), PROGRAM.as_bytes());
            add(zip, &format!("{prefix}src\\libs\\a.py"), b"");
            add(zip, &format!("{prefix}.DS_Store"), b"");
            add(zip, &format!("{prefix}requirements.txt"), b"");
        });
        let staged = result.unwrap();
        assert_eq!(staged.layout, Layout::PlanQk, "{prefix}");
        assert_eq!(staged.name, "my-service");
        assert_eq!(names(app.path()), ["requirements.txt", "src/libs/a.py", "src/program.py"]);
    }
    let (app, result) = stage_zip(&|zip| add(zip, "src/program.py", PROGRAM.as_bytes()));
    assert!(result.is_ok() && app.path().join("src/program.py").is_file());
}

#[test]
fn a_zip_is_the_same_app_as_its_folder() {
    let source = tree(&[
        ("src/program.py", PROGRAM),
        ("src/libs/a.py", "A = 1\n"),
        ("requirements.txt", "numpy\n"),
        ("input/data.json", "{}"),
        ("env/pyvenv.cfg", ""),
        ("env/lib/x.py", ""),
    ]);
    let folder = staged(source.path()).1.unwrap();
    let zipped = |program: &str| {
        let result = stage_zip(&|zip| {
            add(zip, "bell/env/lib/x.py", b"");
            add(zip, "bell/env/pyvenv.cfg", b"");
            add(zip, ".DS_Store", b"");
            add(zip, "bell/requirements.txt", b"numpy\n");
            add(zip, "bell/src/program.py", program.as_bytes());
            add(zip, "bell/input/data.json", b"{}");
            add(zip, "bell/src/libs/a.py", b"A = 1\n");
        });
        result.1.unwrap()
    };
    let same = zipped(PROGRAM);
    assert_eq!((folder.files, folder.total_bytes), (3, PROGRAM.len() as u64 + 12));
    assert_eq!((same.files, &same.fingerprint), (folder.files, &folder.fingerprint));
    assert_ne!(zipped("def run(data): return 2\n").fingerprint, folder.fingerprint);
}

#[test]
fn the_day_of_the_newest_file_is_known() {
    let day = |staged: Staged| {
        let found = staged.build_env.into_iter().find(|(name, _)| name == "HOIST_APP_DATE");
        found.map(|(_, day)| day)
    };
    let source = tree(&[("main.py", ""), ("old.py", ""), (".git/now", "")]);
    for (file, seconds) in [("main.py", 1_654_041_600), ("old.py", 1_500_000_000)] {
        let file = fs::OpenOptions::new().write(true).open(source.path().join(file)).unwrap();
        file.file().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    assert_eq!(day(staged(source.path()).1.unwrap()).as_deref(), Some("2022-06-01"));
    let zipped = stage_zip(&|zip| {
        for (name, month) in [("main.py", 3), ("old.py", 2)] {
            let time = zip::DateTime::from_date_and_time(2021, month, 4, 10, 0, 0).unwrap();
            zip.start_file(name, zip::write::SimpleFileOptions::default().last_modified_time(time)).unwrap();
        }
    });
    assert_eq!(day(zipped.1.unwrap()).as_deref(), Some("2021-03-04"));
}

#[test]
fn what_is_not_staged_counts_for_no_bound_of_an_archive() {
    let dir = zip_of(&|zip| {
        add(zip, "src/program.py", PROGRAM.as_bytes());
        add(zip, ".planqkignore", b"data/\n");
        for at in 0..20 {
            add(zip, &format!(".venv/lib/{at}.py"), &[b'x'; 100]);
            add(zip, &format!("data/{at}.csv"), b"");
        }
    });
    let app = tempfile::tempdir().unwrap();
    let limits = Limits { entries: 4, total_bytes: 500, ..Limits::default() };
    let source = dir.path().join("My Service.zip");
    stage(&StageRequest { limits, ..request(&source, app.path()) }, &NullReporter).unwrap();
    assert_eq!(names(app.path()), [".planqkignore", "src/program.py"]);
    let app = tempfile::tempdir().unwrap();
    let limits = Limits { entries: 2, ..Limits::default() };
    let error = stage(&StageRequest { limits, ..request(&source, app.path()) }, &NullReporter).unwrap_err();
    assert!(matches!(error, StageError::TooMany { limit: 2 }), "{error}");
}

#[test]
fn what_staging_changes_is_part_of_the_fingerprint() {
    let with = |line: &str| {
        let yml = format!("dependencies:\n  - pip:\n    - {line}\n");
        staged(tree(&[("src/program.py", PROGRAM), ("environment.yml", &yml)]).path()).1.unwrap().fingerprint
    };
    let plain = staged(tree(&[("src/program.py", PROGRAM), ("requirements.txt", "numpy\n")]).path()).1.unwrap();
    assert_eq!(with("numpy"), plain.fingerprint);
    assert_ne!(with("scipy"), plain.fingerprint);
}

#[test]
fn a_lifted_file_replaces_a_link_and_is_never_written_through_it() {
    let yml = "dependencies:\n  - pip:\n    - flask\n";
    let source = tree(&[("src/program.py", PROGRAM), ("environment.yml", yml), ("keep.txt", "mine")]);
    symlink("keep.txt", source.path().join("requirements.txt")).unwrap();
    let (app, result) = staged(source.path());
    result.unwrap();
    assert_eq!(fs::read_to_string(app.path().join("keep.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(app.path().join("requirements.txt")).unwrap(), "mine\nflask\n");
}

#[test]
fn hostile_archives_are_refused_with_their_reason() {
    let refused = |write: Fill<'_>| {
        let (app, result) = stage_zip(write);
        assert!(!app.path().join("../evil").exists());
        result.unwrap_err().to_string()
    };
    assert!(refused(&|zip| add(zip, "../evil", b"")).contains("leads out"));
    assert!(refused(&|zip| add(zip, "a/../../evil", b"")).contains("leads out"));
    assert!(refused(&|zip| add(zip, "..\\evil", b"")).contains("leads out"));
    assert!(refused(&|zip| add(zip, "/etc/evil", b"")).contains("absolute"));
    assert!(refused(&|zip| add(zip, "C:\\evil", b"")).contains("absolute"));
    let twice = refused(&|zip| {
        add(zip, "a.py", b"1");
        add(zip, "./a.py", b"2");
    });
    assert!(twice.contains("twice"), "{twice}");
    let both = refused(&|zip| {
        add(zip, "a", b"1");
        add(zip, "a/b", b"2");
    });
    assert!(both.contains("at once"), "{both}");
    let link = refused(&|zip| zip.add_symlink("x/link", "../../etc/passwd", SimpleFileOptions::default()).unwrap());
    assert!(link.contains("leads out of the source"), "{link}");
    let through = refused(&|zip| {
        zip.add_symlink("x", "y", SimpleFileOptions::default()).unwrap();
        add(zip, "x/evil", b"");
    });
    assert!(through.contains("at once"), "{through}");
    assert!(refused(&|zip| add(zip, &"d/".repeat(100), b"")).contains("deeper"));
    let write_out = refused(&|zip| {
        let link = |zip: &mut ZipWriter<std::fs::File>, name: &str, to: &str| {
            zip.add_symlink(name, to, SimpleFileOptions::default()).unwrap();
        };
        add(zip, "app/user_code/src/program.py", PROGRAM.as_bytes());
        add(zip, "app/user_code/requirements.txt", b"flask\n");
        link(zip, "app/up", "..");
        link(zip, "requirements.txt", "app/up/app/up/app/up/../../../evil");
    });
    assert!(write_out.contains("the link requirements.txt leads out"), "{write_out}");
    let bomb = refused(&|zip| add(zip, "zeros", &vec![0; 70 << 20]));
    assert!(bomb.contains("times its size"), "{bomb}");
}

#[test]
fn changed_bytes_of_an_archive_are_seen() {
    let dir = zip_of(&|zip| {
        add(zip, "aa.py", b"print(1)");
        add(zip, "bb.py", b"print(2)");
    });
    let path = dir.path().join("My Service.zip");
    let original = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        staged(&path).1.map(|_| ()).unwrap_err()
    };
    let replace_all = |from: &[u8], to: &[u8]| {
        let mut bytes = original.clone();
        for at in 0..bytes.len() - from.len() {
            if bytes[at..].starts_with(from) {
                bytes[at..at + to.len()].copy_from_slice(to);
            }
        }
        bytes
    };
    let twice = refused(&replace_all(b"bb.py", b"aa.py"));
    assert!(twice.to_string().contains("twice"), "{twice}");
    // Bit 0 of the flags in both headers: encrypted.
    let mut encrypted = original.clone();
    for at in 0..encrypted.len() - 4 {
        if encrypted[at..].starts_with(b"PK\x01\x02") {
            encrypted[at + 8] |= 1;
        }
    }
    assert!(refused(&encrypted).to_string().contains("encrypted"));
    let stored = zip_of(&|zip| {
        zip.start_file("aa.py", SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored))
            .unwrap();
        zip.write_all(b"print(1)").unwrap();
    });
    let mut damaged = fs::read(stored.path().join("My Service.zip")).unwrap();
    let at = damaged.windows(8).position(|window| window == b"print(1)").unwrap();
    damaged[at] = b'q';
    let damaged = refused(&damaged);
    assert!(matches!(&damaged, StageError::Broken { why, .. } if why.starts_with("aa.py: ")), "{damaged}");
    assert!(matches!(refused(b"nothing like a zip"), StageError::NotAnArchive { .. }));
    assert!(matches!(
        refused(&original[..original.len() - 30]),
        StageError::NotAnArchive { .. } | StageError::Broken { .. }
    ));
}

#[test]
fn names_in_the_dos_code_page_are_read() {
    let dir = zip_of(&|zip| add(zip, "gruesse.txt", b""));
    let path = dir.path().join("My Service.zip");
    let mut bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() - 7 {
        if bytes[at..].starts_with(b"gruesse") {
            bytes[at + 2] = 0x81; // ü in code page 437
        }
    }
    fs::write(&path, bytes).unwrap();
    let (app, result) = staged(&path);
    result.unwrap();
    assert_eq!(names(app.path()), ["grüesse.txt"]);
}

#[test]
fn a_slug_is_a_name_that_images_take() {
    assert_eq!(slug("grizzly bear").as_deref(), Some("grizzly-bear"));
    assert_eq!(slug("--Ärger__2.0--").as_deref(), Some("rger-2-0"));
    assert_eq!(slug("!!"), None);
}

fn selected(source: &Path, selection: Selection) -> Vec<String> {
    let app = tempfile::tempdir().unwrap();
    stage(&StageRequest { selection, ..request(source, app.path()) }, &NullReporter).unwrap();
    names(app.path())
}

fn patterns(list: &[&str]) -> Vec<String> {
    list.iter().map(|pattern| (*pattern).to_owned()).collect()
}

/// The same files as a folder and as an archive.
fn both(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let dir = tree(files);
    let mut zip = ZipWriter::new(fs::File::create(dir.path().with_extension("zip")).unwrap().into_file());
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let path = dir.path().with_extension("zip");
    (dir, path)
}

#[test]
fn a_selection_by_patterns_is_as_a_project_descriptor_means_it() {
    let files = ["cmd/a/main.go", "cmd/a/x.txt", "go.mod", "docs/a.md", "docs/keep.md", "lib/b.go", "Procfile"];
    let files: Vec<(&str, &str)> = files.iter().map(|path| (*path, "x")).collect();
    let (dir, zip) = both(&files);
    for source in [dir.path(), &zip] {
        let include = SelectedFiles::Include(patterns(&["cmd/", "go.mod", "/lib/*.go"]));
        let found = selected(source, Selection { files: include, ..Selection::default() });
        assert_eq!(found, ["cmd/a/main.go", "cmd/a/x.txt", "go.mod", "lib/b.go"]);
        // Also what a service could not do without: whoever writes it down means it.
        let exclude = SelectedFiles::Exclude(patterns(&["docs/", "!keep.md", "*.go", "Procfile", "*.txt"]));
        let found = selected(source, Selection { files: exclude, ..Selection::default() });
        assert!(!found.contains(&"Procfile".to_owned()) && !found.contains(&"docs/a.md".to_owned()), "{found:?}");
        assert!(found.contains(&"docs/keep.md".to_owned()) && found.contains(&"go.mod".to_owned()), "{found:?}");
    }
    fs::remove_file(zip).unwrap();
}

#[test]
fn the_ignore_files_of_other_tools_are_read_as_they_read_them() {
    let (dir, zip) = both(&[
        (".gitignore", "*.log\n/build/\nsub/secret\n"),
        (".dockerignore", "docs\n*.log\n!keep.log\n"),
        ("a.log", ""),
        ("keep.log", ""),
        ("build/x", ""),
        ("docs/a.md", ""),
        ("x/build/y", ""),
        ("sub/.gitignore", "!b.log\n*.tmp\n"),
        ("sub/b.log", ""),
        ("sub/c.tmp", ""),
        ("sub/secret", ""),
        ("c.tmp", ""),
    ]);
    for source in [dir.path(), &zip] {
        let found = |file| {
            let found = selected(source, Selection { ignore_files: vec![file], ..Selection::default() });
            found.into_iter().filter(|name| !name.contains("ignore")).collect::<Vec<_>>()
        };
        assert_eq!(found(IgnoreFile::Git), ["c.tmp", "docs/a.md", "sub/b.log", "x/build/y"]);
        let docker = found(IgnoreFile::Docker);
        assert!(!docker.contains(&"a.log".to_owned()) && !docker.contains(&"docs/a.md".to_owned()), "{docker:?}");
        for kept in ["keep.log", "sub/b.log", "build/x", "sub/secret"] {
            assert!(docker.contains(&kept.to_owned()), "{kept}: {docker:?}");
        }
    }
    fs::remove_file(zip).unwrap();
    let reporter = RecordingReporter::default();
    let (source, app) = (tree(&[("a", "")]), tempfile::tempdir().unwrap());
    let selection = Selection { ignore_files: vec![IgnoreFile::Docker], ..Selection::default() };
    stage(&StageRequest { selection, ..request(source.path(), app.path()) }, &reporter).unwrap();
    assert!(format!("{:?}", reporter.events()).contains(".dockerignore is to be honoured"));
}
