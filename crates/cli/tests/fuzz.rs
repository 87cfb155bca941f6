//! The functions that libFuzzer calls for an hour (`fuzz/`), with their seeds and some thousand mutations of them: they must not panic and not hang.
//!
//! Where libFuzzer cannot be had, `HOIST_FUZZ_SECONDS=190` gives each target that long, and `HOIST_FUZZ=setup_py,pixi_lock` chooses some of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "the functions are those of fuzz/, and fail loudly"
)]

#[path = "../../../fuzz/src/targets.rs"]
mod targets;

use std::time::{Duration, Instant};

use targets::TARGETS;

/// Mutations of each target's inputs.
const MUTATIONS: usize = 400;
/// No input takes as long.
const SLOW: Duration = Duration::from_secs(5);
/// What parsers stumble over.
const TOKENS: &[&[u8]] = &[
    b"\"",
    b"'",
    b"[",
    b"]",
    b"{",
    b"}",
    b"=",
    b"\n",
    b"\0",
    b"\xff",
    b"..",
    b"/",
    b"\\",
    b"\xef\xbb\xbf",
    b"[[",
    b"]]",
    b"-1",
    b"99999999999999999999",
    b"nan",
    b"1e999",
    b"null",
    b"true",
    b":",
    b"@",
    b"#",
    b"*",
    b"\"\"\"",
    b"\r\n",
    b"\xe2\x80\xa8",
    b"%s",
];

/// xorshift: the same numbers in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (bound.max(1) as u64)).unwrap()
    }
}

/// One to four changes: a byte, a token, a part taken out, a part put in again.
fn mutate(input: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(data.len() + 1);
        let to = (at + numbers.below(16)).min(data.len());
        match numbers.below(5) {
            0 if at < data.len() => data[at] ^= 1 << numbers.below(8),
            1 => drop(data.drain(at..to)),
            2 => {
                let part = data[at..to].to_vec();
                let place = numbers.below(data.len() + 1);
                data.splice(place..place, part.repeat(1 + numbers.below(40)));
            }
            3 => data.truncate(at),
            _ => drop(data.splice(at..at, TOKENS[numbers.below(TOKENS.len())].iter().copied())),
        }
    }
    data
}

#[test]
fn parsers_take_anything_without_panic_or_hang() {
    let told = |name: &str| std::env::var(name).unwrap_or_default();
    let patience = told("HOIST_FUZZ_SECONDS").parse().map(Duration::from_secs).ok();
    let chosen = told("HOIST_FUZZ");
    let is_chosen = |name: &str| chosen.is_empty() || chosen.split(',').any(|one| one == name);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ patience.map_or(0, |patience| patience.as_secs()));
    for target in TARGETS.iter().filter(|target| is_chosen(target.name)) {
        let started = Instant::now();
        let inputs = target.inputs();
        assert!(!inputs.is_empty(), "{} has no seed", target.name);
        for input in &inputs {
            (target.run)(input);
        }
        let mut count = 0;
        while patience.map_or(count < MUTATIONS, |patience| started.elapsed() < patience) {
            let mut data = mutate(&inputs[count % inputs.len()], &mut numbers);
            for _ in 0..patience.map_or(0, |_| numbers.below(6)) {
                data = mutate(&data, &mut numbers);
            }
            let begun = Instant::now();
            let ran = std::panic::catch_unwind(|| (target.run)(&data));
            assert!(ran.is_ok(), "{} panics on {:?}", target.name, String::from_utf8_lossy(&data));
            let took = begun.elapsed();
            assert!(took < SLOW, "{} takes {took:?} for {:?}", target.name, String::from_utf8_lossy(&data));
            count += 1;
        }
        let took = started.elapsed();
        assert!(patience.is_some() || took < Duration::from_secs(20), "{}: {took:?}", target.name);
        if patience.is_some() {
            // Past the capture of the test harness: how many were tried is what a long run is for.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{}: {count}\n", target.name).as_bytes());
        }
    }
}

/// Deep, long and repeated: what grows faster than its input would be seen here.
#[test]
fn parsers_end_soon_whatever_the_size() {
    for (open, count) in [
        ("[", 100_000),
        ("{", 100_000),
        ("a.", 50_000),
        ("a=[", 30_000),
        ("\"", 100_000),
        ("[[a]]\n", 30_000),
        ("(", 100_000),
        ("a\n", 50_000),
        (" ", 200_000),
        ("-r a\n", 2_000),
    ] {
        let data = open.repeat(count);
        for target in TARGETS {
            let started = Instant::now();
            (target.run)(data.as_bytes());
            assert!(started.elapsed() < Duration::from_secs(5), "{} on {open:?}: {:?}", target.name, started.elapsed());
        }
    }
}

#[test]
fn each_target_has_its_file_and_its_binary() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest: toml::Table = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap().parse().unwrap();
    let binaries: Vec<&str> =
        manifest["bin"].as_array().unwrap().iter().filter_map(|bin| bin["name"].as_str()).collect();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(binaries, names);
    let mut files: Vec<String> = std::fs::read_dir(fuzz.join("fuzz_targets"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut expected: Vec<String> = names.iter().map(|name| format!("{name}.rs")).collect();
    expected.sort();
    assert_eq!(files, expected);
}
