//! What a web process finds when it starts: its number of workers, the certificates of its bindings, and live reload.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Said, hoist, run, tree};

/// Serves a page over TLS and fetches it, in one process: the server's authority must be known for that.
const TLS: &str = "import http.server, os, ssl, threading, urllib.request

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('/keys/server.pem', '/keys/server.key')
server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
try:
    answer = urllib.request.urlopen(f'https://localhost:{server.server_port}/Procfile')
    print(answer.status, open(os.environ.get('SSL_CERT_FILE', os.devnull)).read().count('BEGIN CERTIFICATE') > 50)
except OSError as error:
    print(error)
";

fn build(dir: &Path, image: &str, args: &[&str]) -> Said {
    run(hoist().args(["build", image, "--path", "app"]).args(args).current_dir(dir)).ok()
}

fn line(said: &Said, name: &str) -> Option<String> {
    said.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

#[test]
fn a_web_process_has_workers_by_its_limits_and_nobody_else_has() {
    let image = "test/web-environment";
    let dir = tree(&[("app/main.py", "print(1)\n"), ("app/Procfile", "web: env\nworker: env\n")]);
    build(dir.path(), image, &[]);
    let web = |args: &[&str]| run(hoist().arg("run").args(args).arg(image)).ok();
    let limited = web(&["--memory", "1G", "--cpus", "1"]);
    assert_eq!(line(&limited, "WEB_CONCURRENCY").as_deref(), Some("3"), "{}", limited.stdout);
    assert_eq!(line(&limited, "FORWARDED_ALLOW_IPS").as_deref(), Some("*"));
    assert_eq!(line(&limited, "PYTHONFAULTHANDLER").as_deref(), Some("1"));
    assert_eq!(line(&limited, "PYTHONUNBUFFERED").as_deref(), Some("1"));
    let tight = web(&["--memory", "300M", "--cpus", "1"]);
    assert_eq!(line(&tight, "WEB_CONCURRENCY").as_deref(), Some("1"), "{}", tight.stdout);
    let free: u32 = line(&web(&[]), "WEB_CONCURRENCY").unwrap().parse().unwrap();
    assert!((1..=9).contains(&free), "{free}");
    let own = web(&["-e", "WEB_CONCURRENCY=7", "-e", "FORWARDED_ALLOW_IPS=10.0.0.1", "--memory", "300M"]);
    assert_eq!(line(&own, "WEB_CONCURRENCY").as_deref(), Some("7"));
    assert_eq!(line(&own, "FORWARDED_ALLOW_IPS").as_deref(), Some("10.0.0.1"));
    let worker = run(hoist().args(["run", "--process", "worker", image])).ok();
    for name in ["WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SSL_CERT_FILE"] {
        assert_eq!(line(&worker, name), None, "{}", worker.stdout);
    }
    // The programs are links: the launcher is not in the image once more.
    let found = "find /layers -path '*/exec.d/*' -type l | sort; find /layers -path '*/exec.d/*' -type f";
    let found =
        run(hoist().args(["run", "--entrypoint", "launcher", image, "--", "--", "sh", "-c", found])).ok().stdout;
    let wanted = ["certificates/exec.d/hoist-certificates", "web/exec.d/web/hoist-web-concurrency"];
    assert_eq!(found, wanted.map(|path| format!("/layers/hoist_procfile/{path}\n")).concat());
    run(hoist().args(["image", "rm", image])).ok();
}

#[track_caller]
fn openssl(dir: &Path, args: &[&str]) {
    run(Command::new("openssl").args(args).current_dir(dir)).ok();
}

/// An authority in a binding, and a server's certificate of it.
fn make_keys(dir: &Path) {
    for folder in ["bindings/ours", "keys"] {
        fs_err::create_dir_all(dir.join(folder)).unwrap();
    }
    fs_err::write(dir.join("bindings/ours/type"), "ca-certificates\n").unwrap();
    fs_err::write(dir.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let mut authority = vec!["req", "-x509", "-days", "2", "-subj", "/CN=hoist test authority"];
    authority.extend(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
    authority.extend(ec.iter().chain(&["-keyout", "ca.key", "-out", "bindings/ours/company.crt"]));
    openssl(dir, &authority);
    let mut request = vec!["req", "-subj", "/CN=localhost"];
    request.extend(ec.iter().chain(&["-keyout", "keys/server.key", "-out", "request"]));
    openssl(dir, &request);
    let sign =
        ["x509", "-req", "-in", "request", "-CA", "bindings/ours/company.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(dir, &[&sign[..], &["-days", "2", "-extfile", "names", "-out", "keys/server.pem"]].concat());
    // Whoever the process is, it may read the key of the test.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs_err::set_permissions(dir.join("keys/server.key"), mode).unwrap();
}

#[test]
fn certificates_of_bindings_are_trusted_at_run_time_or_from_the_build() {
    let image = "test/web-certificates";
    let dir = tree(&[("app/main.py", TLS), ("app/Procfile", "web: python main.py\n")]);
    make_keys(dir.path());
    let web = |args: &[&str]| {
        let keys = ["run", "-v", "./keys:/keys:ro"];
        run(hoist().args(keys).args(args).arg(image).current_dir(dir.path())).ok()
    };
    let bound = ["-v", "./bindings:/bindings:ro", "-e", "SERVICE_BINDING_ROOT=/bindings"];
    build(dir.path(), image, &[]);
    assert!(web(&[]).stdout.contains("CERTIFICATE_VERIFY_FAILED"));
    let said = web(&bound).says("hoist: 1 certificate of the binding ours is trusted");
    assert_eq!(said.stdout, "200 True\n", "the public authorities stay trusted");
    let named = [&bound[..], &["-e", "SSL_CERT_FILE=/bindings/ours/type"]].concat();
    assert_eq!(web(&named).stdout, "200 False\n", "what SSL_CERT_FILE names stands for the image's own");

    let settings = ["--env", "BP_RUNTIME_CERT_BINDING_DISABLED=true"];
    build(dir.path(), image, &settings);
    assert!(web(&bound).stdout.contains("CERTIFICATE_VERIFY_FAILED"));

    let embed = ["--env", "BP_EMBED_CERTS=true", "--volume", "./bindings/ours:/platform/bindings/ours"];
    build(dir.path(), image, &embed).says("1 certificate of bindings in the image");
    assert_eq!(web(&[]).stdout, "200 True\n");
    build(dir.path(), image, &embed[..2]).says("BP_EMBED_CERTS changes nothing");
    assert!(web(&[]).stdout.contains("CERTIFICATE_VERIFY_FAILED"));
    run(hoist().args(["image", "rm", image])).ok();
}

#[test]
fn a_web_process_with_live_reload_is_started_anew_when_a_source_changes() {
    let image = "test/web-reload";
    let program = |word: &str| {
        format!(
            "import signal, sys, time\n\nprint('{word}', flush=True)\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\nwhile True:\n    time.sleep(1)\n"
        )
    };
    let dir = tree(&[("app/main.py", &program("one")), ("app/Procfile", "web: python main.py\n")]);
    build(dir.path(), image, &["--env", "BP_LIVE_RELOAD_ENABLED=true"]).says("live reload: web is started anew");
    let mut command = hoist();
    command.args(["run", "--volume", "./app:/workspace:ro", image]).current_dir(dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let (out, said) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let other = sender.clone();
    std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    std::thread::spawn(move || {
        BufReader::new(said).lines().map_while(Result::ok).try_for_each(|line| other.send(line))
    });
    let mut heard = Vec::new();
    let mut wait_for = |wanted: &str| {
        while !heard.last().is_some_and(|line: &String| line.contains(wanted)) {
            let line = receiver.recv_timeout(Duration::from_secs(20));
            heard.push(line.unwrap_or_else(|_| panic!("{wanted:?} is not heard after {heard:?}")));
        }
    };
    wait_for("one");
    let write = |name: &str, text: &str| fs_err::write(dir.path().join("app").join(name), text).unwrap();
    write("notes.log", "no source");
    write("main.py", &program("two"));
    wait_for("main.py changed, starting anew");
    wait_for("two");
    write("main.py", "raise SystemExit(4)\n");
    wait_for("the process ended");
    fs_err::create_dir(dir.path().join("app/shop")).unwrap();
    write("shop/page.html", "x");
    write("main.py", &program("three"));
    wait_for("three");
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    let shown = run(hoist().args(["image", "inspect", "--json", image])).ok().stdout;
    assert!(shown.contains("no-reload"), "{shown}");
    run(hoist().args(["image", "rm", image])).ok();
}
