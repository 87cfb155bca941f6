//! What is wrong with a conda channel, provoked through builds: each failure has a page of its own.
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::panic,
    clippy::unwrap_used
)] // tests start processes and fail loudly

#[path = "support/house.rs"]
mod house;
mod support;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use house::channel::{Channel, Package, serve};
use house::sha256;
use support::{hoist, run, tree};

/// A channel of small packages, of which each but `whole` has something wrong.
fn broken_channel(dir: &Path) {
    let mut channel = Channel::at(&dir.join("own"));
    channel.add(&Package::new("python", "3.13.0").file("bin/python3.13", "#!/bin/sh\n"));
    channel.add(&Package::new("whole", "1").file("share/whole", "x".repeat(4096)));
    channel.add(&Package::new("needs-libc", "1").needs(&["__glibc >=9"]));
    channel.add(&Package::new("needs-mac", "1").needs(&["__osx"]));
    channel.add(&Package::new("needs-more", "1").needs(&["absent >=3"]));
    channel.add(&Package::new("climber", "1").file("../../../escaped", "x"));
    let changed = channel.add(&Package::new("changed", "1").file("share/changed", "one"));
    std::fs::copy(dir.join("own/linux-64/whole-1-h0_0.conda"), changed).unwrap();
    std::fs::remove_file(channel.add(&Package::new("gone", "1"))).unwrap();
    // Published as it is, with the hash that it has.
    let damaged = channel.add(&Package::new("damaged", "1").tar_bz2().file("share/damaged", "y".repeat(4096)));
    let (index, before) = (dir.join("own/linux-64/repodata.json"), sha256(&damaged.display().to_string()));
    let bytes = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace(&before, &sha256(&damaged.display().to_string()))).unwrap();
    std::fs::create_dir_all(dir.join("half/linux-64")).unwrap();
    std::fs::write(dir.join("half/linux-64/repodata.json"), &text[..text.len() / 2]).unwrap();
    // Nothing else is wrong with it.
    std::fs::create_dir_all(dir.join("half/noarch")).unwrap();
    std::fs::write(dir.join("half/noarch/repodata.json"), "{\"packages\": {}, \"packages.conda\": {}}").unwrap();
}

/// Serves a folder, and ends in the middle of archives.
fn serve_in_part(dir: PathBuf) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let body = std::fs::read(dir.join(&path)).unwrap_or_default();
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let sent = if path.ends_with(".conda") { &body[..body.len() / 2] } else { &body[..] };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(sent));
        }
    });
    port
}

/// What was seen of a channel in which something is wrong, why it is wrong and what to do first: the package that is asked for, the channel, how the
/// channel is reached (`FILE`, `HTTP`, `LOGIN`, `PART`), and the page.
const BROKEN: &[(&str, &str, &str, [&str; 3])] = &[
    (
        "changed",
        "own",
        "FILE",
        [
            "the archive has another hash than the channel says",
            "it was changed on the way or on a mirror, it is not whole, or the mirror's list is older than its files",
            "ask the mirror's owner; install nothing of it until that is clear",
        ],
    ),
    (
        "damaged",
        "own",
        "FILE",
        [
            "the archive is damaged",
            "the channel has it like that: its hash is the one that the channel says",
            "take another version or build of it, and tell the channel's owner",
        ],
    ),
    (
        "gone",
        "own",
        "FILE",
        [
            "the channel does not have the file",
            "a lock or list names it, and it was withdrawn, or the mirror lacks it",
            "lock again, or use a mirror that has it",
        ],
    ),
    (
        "gone",
        "own",
        "HTTP",
        [
            "the channel does not have the file",
            "a lock or list names it, and it was withdrawn, or the mirror lacks it",
            "lock again, or use a mirror that has it",
        ],
    ),
    (
        "whole",
        "own",
        "PART",
        [
            "the connection ended before the whole archive had come",
            "the server, or a proxy on the way, cut it off",
            "build again; where it ends early again, look at the limits of size and time of the server and the proxy",
        ],
    ),
    (
        "climber",
        "own",
        "FILE",
        [
            "it names the file `../../../escaped`, which lies outside of the environment",
            "a package writes only into its own environment, and is as large as it says: this one is broken or hostile",
            "take another version or build of it, and tell the channel's owner",
        ],
    ),
    (
        "needs-libc",
        "own",
        "FILE",
        [
            "no packages fit together|environment.yml line 3 asks for needs-libc",
            "each line below excludes another one",
            "the image's C library is LIBC: choose a build for it, or another base",
        ],
    ),
    (
        "needs-mac",
        "own",
        "FILE",
        [
            "no packages fit together|environment.yml line 3 asks for needs-mac",
            "each line below excludes another one",
            "that package is for another system than the image's: take another one, or another build of it",
        ],
    ),
    (
        "needs-more",
        "own",
        "FILE",
        [
            "no packages fit together|environment.yml line 3 asks for needs-more",
            "each line below excludes another one",
            "is the name right, and its channel among own?",
        ],
    ),
    (
        "whole",
        "own",
        "LOGIN",
        [
            "own: ADDRESS/own/ wants a login, or another one",
            "without the channel's list of packages nothing can be chosen",
            "who asks is told by a binding of type conda with `host`, `username` and `token`, or in the channel's address in a .condarc",
        ],
    ),
    (
        "whole",
        "absent",
        "HTTP",
        [
            "absent: no answer at ADDRESS/absent/",
            "without the channel's list of packages nothing can be chosen",
            "is the name right? A mirror is named with BP_CONDA_CHANNEL_ALIAS=ADDRESS (the names stay), or in a .condarc of this machine: channel_alias, custom_channels, default_channels",
        ],
    ),
    (
        "whole",
        "half",
        "HTTP",
        [
            "half: what ADDRESS/half/ answers is no list of packages, or a part of one",
            "without the channel's list of packages nothing can be chosen",
            "build again; if that does not help, tell the channel's owner, or name a mirror with BP_CONDA_CHANNEL_ALIAS=ADDRESS",
        ],
    ),
];

#[test]
fn what_is_wrong_with_a_channel_is_told_apart() {
    let dir = tree(&[]);
    broken_channel(dir.path());
    let local = |port: u16| format!("http://127.0.0.1:{port}");
    let addresses = [
        ("FILE", format!("file://{}", dir.path().display())),
        ("HTTP", local(serve(dir.path(), None))),
        ("LOGIN", local(serve(dir.path(), Some("Basic bWU6c2VjcmV0")))),
        ("PART", local(serve_in_part(dir.path().to_owned()))),
    ];
    let condarc = dir.path().join("condarc");
    for (package, channel, way, wanted) in BROKEN {
        let address = &addresses.iter().find(|(name, _)| name == way).unwrap().1;
        std::fs::write(&condarc, format!("channel_alias: {}\n", address.replace("//127", "//me:s3cret-word@127")))
            .unwrap();
        let environment = format!("channels: [{channel}, nodefaults]\ndependencies:\n  - {package}\n");
        let app = tree(&[("environment.yml", &environment), ("main.py", ""), ("Procfile", "web: python main.py\n")]);
        let mut command = hoist();
        command.env("CONDARC", &condarc).args(["build", "test/conda-broken", "--path"]).arg(app.path());
        let said = run(&mut command).code(1);
        assert!(!said.stderr.contains("s3cret-word"), "{}", said.stderr);
        let page = &said.stderr[said.stderr.find("Error while").unwrap_or_else(|| panic!("{}", said.stderr))..];
        let of = |start: &str, end: &str| {
            let (_, rest) = page.split_once(start).unwrap_or_else(|| panic!("no {start} in\n{page}"));
            let part = rest.split(end).next().unwrap_or_default();
            part.lines().map(str::trim).collect::<Vec<_>>().join("|").trim_end_matches('|').to_owned()
        };
        let [seen, why, fix] = [of("  seen  ", "  why "), of("  why   ", "  do "), of("  do    ", "\n")];
        let fix = fix.split('|').next().unwrap_or_default();
        let libc = fix.split("C library is ").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
        let wanted = wanted.map(|text| text.replace("ADDRESS/", &format!("{address}/")).replace("LIBC", libc));
        assert_eq!([seen.as_str(), &why, fix], wanted, "{package} of {channel} by {way}\n{page}");
    }
}
