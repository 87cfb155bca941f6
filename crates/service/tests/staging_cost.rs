//! What staging a service of many small files costs, counted by the kernel: each file is read once and written once. A test binary of its own,
//! because `/proc/self/io` counts the whole process.
#![allow(clippy::unwrap_used)] // a helper fails as loudly as its test

use hoist_events::NullReporter;
use hoist_service::{Limits, StageRequest, stage};

const FOLDERS: usize = 20;
const FILES: usize = 100;

/// Calls and bytes of this process so far: reads, bytes read, writes, bytes written (proc_pid_io(5)).
fn io() -> [u64; 4] {
    let text = fs_err::read_to_string("/proc/self/io").unwrap();
    ["syscr", "rchar", "syscw", "wchar"].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().parse().unwrap()
    })
}

#[test]
fn each_file_is_read_once_and_written_once() {
    let source = tempfile::tempdir().unwrap();
    let mut bytes = 0;
    for folder in 0..FOLDERS {
        let dir = source.path().join(format!("src/package{folder}/data"));
        fs_err::create_dir_all(&dir).unwrap();
        for file in 0..FILES {
            let text = format!("{folder} {file}\n").repeat(100);
            bytes += text.len() as u64;
            fs_err::write(dir.join(format!("{file}.py")), text).unwrap();
        }
    }
    let program = "def run(data, params):\n    return 1\n";
    fs_err::write(source.path().join("src/program.py"), program).unwrap();
    bytes += program.len() as u64;
    let files = (FOLDERS * FILES + 1) as u64;

    let app = tempfile::tempdir().unwrap();
    let request = StageRequest {
        source: source.path(),
        app_dir: app.path(),
        contract: None,
        dependencies: None,
        manager: None,
        lift: true,
        selection: hoist_service::Selection::default(),
        owner: None,
        limits: Limits::default(),
    };
    let before = io();
    let staged = stage(&request, &NullReporter).unwrap();
    let after = io();
    assert_eq!((staged.files as u64, staged.total_bytes), (files, bytes));
    let [reads, bytes_read, writes, bytes_written] = [0, 1, 2, 3].map(|at| after[at] - before[at]);
    // Beside the files: the umask, the program's text for its signature, and what this test reads to count.
    assert!((files..files + 40).contains(&reads), "{reads} reads for {files} files");
    assert!((bytes..bytes + 20_000).contains(&bytes_read), "{bytes_read} bytes read for {bytes}");
    assert!((files..files + 5).contains(&writes), "{writes} writes for {files} files");
    assert!((bytes..bytes + 1_000).contains(&bytes_written), "{bytes_written} bytes written for {bytes}");
}
