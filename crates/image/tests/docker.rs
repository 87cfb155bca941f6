//! A docker daemon that misbehaves in every way a daemon can, played by a thread on a unix socket; real ones are in the tests of `hoist`.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)] // tests fail loudly

mod support;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs_err as fs;
use hoist_image::{
    ArchiveFormat, Compression, Daemon, DaemonTimes, DockerAddress, DockerError, Image, Layer, LoadLimits, Reference,
    Store,
};
use support::{fresh, image, layer};

/// What the daemon does when it was asked.
enum Answer {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// These, and then nothing, until the other side goes.
    Silence(Vec<u8>),
    /// These, and then the same piece again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// The end of the connection before the request was read.
    Nothing,
}

fn json(status: &str, body: &str) -> Answer {
    Answer::Bytes(
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes(),
    )
}

fn ok(body: &str) -> Answer {
    json("200 OK", body)
}

fn missing() -> Answer {
    json("404 Not Found", r#"{"message":"No such image"}"#)
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A request that came: its first line and its body, decoded.
type Request = (String, Vec<u8>);

struct Fake {
    dir: tempfile::TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    fn start(answers: impl Fn(&str, &[Request]) -> Answer + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let log = Arc::clone(&requests);
        // It waits for the next connection until the test's process ends.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = read_head(&mut stream);
                let line = head.lines().next().unwrap_or_default().to_owned();
                let answer = answers(&line, &log.lock().unwrap());
                let body = match answer {
                    Answer::Nothing => Vec::new(),
                    _ if head.contains("chunked") => read_chunks(&mut stream).unwrap_or_default(),
                    _ => Vec::new(),
                };
                log.lock().unwrap().push((line, body));
                say(&mut stream, &answer);
            }
        });
        Self { dir, requests }
    }

    fn daemon(&self) -> Daemon {
        let times = DaemonTimes {
            question: Duration::from_millis(400),
            silence: Duration::from_millis(400),
            load: Duration::from_millis(400),
        };
        Daemon::new(DockerAddress::Unix(self.dir.path().join("s"))).within(times)
    }

    fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(line, _)| line.trim_end_matches(" HTTP/1.1").to_owned()).collect()
    }

    /// The names of what was in the archives that were sent.
    fn archives(&self) -> Vec<Vec<String>> {
        let requests = self.requests.lock().unwrap();
        let loads = requests.iter().filter(|(line, _)| line.starts_with("POST /images/load"));
        loads.map(|(_, body)| members(body)).collect()
    }
}

fn say(stream: &mut UnixStream, answer: &Answer) {
    match answer {
        Answer::Nothing => {}
        Answer::Bytes(bytes) => _ = stream.write_all(bytes),
        Answer::Silence(bytes) => {
            let _ = stream.write_all(bytes);
            let _ = stream.read(&mut [0]);
        }
        Answer::Endless(head, piece) => {
            let _ = stream.write_all(head);
            while stream.write_all(piece).is_ok() {
                if piece.len() < 1024 {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

fn read_head(stream: &mut UnixStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn read_line(stream: &mut UnixStream) -> Option<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    Some(String::from_utf8(line).unwrap().trim().to_owned())
}

/// The body, or nothing where it broke off.
fn read_chunks(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&read_line(stream)?, 16).unwrap();
        let mut chunk = vec![0; length];
        stream.read_exact(&mut chunk).ok()?;
        read_line(stream)?;
        if length == 0 {
            return Some(body);
        }
        body.extend(chunk);
    }
}

fn members(body: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(body);
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    names.collect()
}

/// A store with an image `bell` of two layers.
struct World {
    _dir: tempfile::TempDir,
    store: Store,
    layers: [Layer; 2],
    image: Image,
    names: [Reference; 1],
}

fn world() -> World {
    let (dir, store) = fresh();
    let layers = [layer(&store, "/low", "low"), layer(&store, "/high", "high")];
    let image = image(&store, "bell", &[&layers[0], &layers[1]]);
    World { _dir: dir, store, layers, image, names: ["bell".parse().unwrap()] }
}

impl World {
    fn push(&self, fake: &Fake) -> Result<hoist_image::Pushed, DockerError> {
        fake.daemon().push(&self.image, &self.names, &mut |_| {})
    }

    fn id(&self) -> String {
        self.image.id().to_string()
    }
}

/// What `docker image inspect` is made of.
fn inspected(id: &str, names: &[&str], layers: &[&Layer]) -> Answer {
    let layers: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", layer.diff_id())).collect();
    ok(&format!(r#"{{"Id":"{id}","RepoTags":{names:?},"RootFS":{{"Type":"layers","Layers":[{}]}}}}"#, layers.join(",")))
}

/// A daemon with its own storage that has nothing, and whose load is answered with `load`.
fn empty(id: String, load: impl Fn() -> Answer + Send + 'static) -> Fake {
    Fake::start(move |line, before| {
        let loaded = before.iter().any(|(line, _)| line.contains("/load"));
        match line {
            _ if line.contains("/load") => load(),
            _ if line.contains("/info") => ok(r#"{"DriverStatus":[["Backing Filesystem","extfs"]]}"#),
            _ if line.contains("/images/json") => ok("[]"),
            _ if line.contains("/tag?") => json("201 Created", ""),
            _ if loaded && line.contains(&id) => inspected(&id, &[], &[]),
            _ => missing(),
        }
    })
}

fn loaded() -> Answer {
    ok("{\"stream\":\"Loaded image ID: x\\n\"}\n")
}

#[test]
fn an_image_that_is_there_costs_one_question() {
    let world = world();
    let id = world.id();
    let fake = Fake::start(move |_, _| inspected(&id, &["bell:latest"], &[]));
    let pushed = world.push(&fake).unwrap();
    assert_eq!((pushed.sent_bytes, pushed.layers_sent, pushed.layers_there), (0, 0, 2));
    assert_eq!(fake.lines(), ["GET /images/bell:latest/json"]);
}

#[test]
fn an_image_that_is_there_under_another_name_gets_this_one_too() {
    let world = world();
    let id = world.id();
    let fake = Fake::start({
        let id = id.clone();
        move |line, _| match line {
            _ if line.contains("/tag?") => json("201 Created", ""),
            _ if line.contains(&id) => inspected(&id, &["other:1"], &[]),
            _ => missing(),
        }
    });
    assert_eq!(world.push(&fake).unwrap().sent_bytes, 0);
    assert_eq!(fake.lines()[2], format!("POST /images/{id}/tag?repo=bell&tag=latest"));
}

#[test]
fn the_name_comes_last_and_everything_is_sent_to_a_daemon_that_has_nothing() {
    let world = world();
    let fake = empty(world.id(), loaded);
    let pushed = world.push(&fake).unwrap();
    assert_eq!((pushed.layers_sent, pushed.layers_there), (2, 0));
    assert!(pushed.sent_bytes > 2 * 1024, "{pushed:?}");
    let lines = fake.lines();
    assert_eq!(lines.last().unwrap(), &format!("POST /images/{}/tag?repo=bell&tag=latest", world.id()));
    let archive = &fake.archives()[0];
    for layer in &world.layers {
        assert!(archive.contains(&format!("{}/layer.tar", layer.diff_id().hex())), "{archive:?}");
    }
}

#[test]
fn layers_that_the_daemon_has_are_sent_only_where_it_lost_them() {
    let world = world();
    let (id, low) = (world.id(), world.layers[0].clone());
    let fake = Fake::start(move |line, before| {
        let loads = before.iter().filter(|(line, _)| line.contains("/load")).count();
        match line {
            _ if line.contains("/load") && loads == 0 => ok(r#"{"errorDetail":{"message":"no such file"}}"#),
            _ if line.contains("/load") => loaded(),
            _ if line.contains("/info") => ok("{}"),
            _ if line.contains("/tag?") => json("201 Created", ""),
            _ if line.contains("/bell:latest/") => inspected("sha256:00", &["bell:latest"], &[&low]),
            _ if loads == 2 && line.contains(&id) => inspected(&id, &[], &[]),
            _ => missing(),
        }
    });
    let pushed = world.push(&fake).unwrap();
    assert_eq!((pushed.layers_sent, pushed.layers_there), (2, 0));
    let low = format!("{}/layer.tar", world.layers[0].diff_id().hex());
    let archives = fake.archives();
    assert_eq!(archives.iter().map(|one| one.contains(&low)).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn what_the_daemon_says_no_to_is_said_and_nothing_is_named() {
    let world = world();
    let answers: [fn() -> Answer; 3] = [
        || {
            ok(
                "{\"status\":\"Loading layer\"}\n{\"errorDetail\":{\"message\":\"no space left on device\"},\"error\":\"x\"}\n",
            )
        },
        || json("500 Internal Server Error", r#"{"message":"no space left on device"}"#),
        || json("403 Forbidden", r#"{"message":"authorization denied: no space left"}"#),
    ];
    for answer in answers {
        let fake = empty(world.id(), answer);
        let error = world.push(&fake).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("sending an image to the docker daemon: the docker daemon says: "), "{text}");
        assert!(error.hint().contains("docker system prune"), "{}", error.hint());
        assert!(!fake.lines().iter().any(|line| line.contains("/tag?")));
    }
    let fake = empty("sha256:other".to_owned(), loaded);
    let error = world.push(&fake).unwrap_err();
    assert!(error.to_string().ends_with("it took the image without a complaint and does not have it"), "{error}");
}

#[test]
fn who_is_no_docker_daemon_is_told_from_one_that_has_not_the_image() {
    let html = "<html>not found</html>";
    let answers: [fn() -> Answer; 6] = [
        || json("404 Not Found", "<html>not found</html>"),
        || json("500 Internal Server Error", ""),
        || ok("<html>welcome</html>"),
        || ok(r#"{"Id":3}"#),
        || Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        || Answer::Bytes([b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'a'; 1 << 20]].concat()),
    ];
    for answer in answers {
        let fake = Fake::start(move |_, _| answer());
        let error = fake.daemon().has("bell").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("looking for `bell` in the docker daemon: what answers at unix:///"), "{text}");
        assert!(text.contains("is no docker daemon: ") && !text.contains(html), "{text}");
        assert!(error.hint().contains("DOCKER_HOST"));
    }
    let fake = Fake::start(|_, _| missing());
    assert!(!fake.daemon().has("bell").unwrap());
}

#[test]
fn a_daemon_that_says_nothing_or_never_ends_is_not_waited_for() {
    let world = world();
    let short = Duration::from_secs(5);
    let slow: [fn() -> Answer; 4] = [
        || Answer::Silence(Vec::new()),
        || Answer::Silence(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        || Answer::Silence(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()),
        || Answer::Endless(CHUNKED.to_vec(), b"1\r\n \r\n".to_vec()),
    ];
    for answer in slow {
        let started = Instant::now();
        let fake = Fake::start(move |_, _| answer());
        let error = fake.daemon().has("bell").unwrap_err();
        assert!(error.to_string().ends_with("did not answer in time"), "{error}");
        assert!(started.elapsed() < short);
    }
    let endless: [fn() -> Answer; 2] = [
        || Answer::Silence(CHUNKED.to_vec()),
        || Answer::Endless(CHUNKED.to_vec(), b"e\r\n{\"status\":\"\"}\n\r\n".to_vec()),
    ];
    for answer in endless {
        let started = Instant::now();
        let error = world.push(&empty(world.id(), answer)).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("sending an image to the docker daemon: ") && text.ends_with("in time"), "{text}");
        assert!(started.elapsed() < short);
    }
}

#[test]
fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let times = DaemonTimes { question: Duration::from_mins(1), ..DaemonTimes::default() };
    let fake = Fake::start(|_, _| {
        let piece = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
        Answer::Endless(CHUNKED.to_vec(), piece)
    });
    let error = fake.daemon().within(times).has("bell").unwrap_err();
    assert!(error.to_string().ends_with("is longer than the 33554432 bytes that it may have"), "{error}");
}

#[test]
fn a_connection_that_breaks_off_is_no_success() {
    let world = world();
    let cut: [fn() -> Answer; 3] = [
        || Answer::Bytes([CHUNKED, b"5\r\n{\"sta"].concat()),
        || Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}".to_vec()),
        || Answer::Bytes(Vec::new()),
    ];
    for answer in cut {
        let error = world.push(&empty(world.id(), answer)).unwrap_err();
        let text = error.to_string();
        assert_eq!(text, "sending an image to the docker daemon: the connection to the docker daemon broke off");
        assert!(error.hint().contains("still runs"));
    }
    let large = layer(&world.store, "/large", &"x".repeat(8 << 20));
    let large = image(&world.store, "large", &[&large]);
    let fake = empty(large.id().to_string(), || Answer::Nothing);
    let error = fake.daemon().push(&large, &world.names, &mut |_| {}).unwrap_err();
    assert!(matches!(error, DockerError::Broken { .. }), "{error:?}");
}

#[test]
fn a_layer_that_is_damaged_in_the_store_is_the_stores_error_and_never_a_whole_archive() {
    let world = world();
    fs::write(world.layers[1].tree_dir().join("high"), "HIGH").unwrap();
    let fake = empty(world.id(), loaded);
    let error = world.push(&fake).unwrap_err();
    assert!(error.to_string().starts_with("reading layer sha256:"), "{error}");
    assert!(error.hint().contains("hoist image verify"));
    assert!(fake.archives().iter().all(Vec::is_empty), "{:?}", fake.archives());
}

#[test]
fn ctrl_c_ends_the_wait() {
    let world = world();
    let fake = empty(world.id(), || Answer::Silence(Vec::new()));
    let started = Instant::now();
    let daemon = fake.daemon().within(DaemonTimes::default());
    let daemon = daemon.stop_when(move || started.elapsed() > Duration::from_millis(300));
    let error = daemon.push(&world.image, &world.names, &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "sending an image to the docker daemon: stopped");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn nobody_at_the_socket_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let daemon = || Daemon::new(DockerAddress::Unix(path.clone()));
    let error = daemon().ping().unwrap_err();
    assert_eq!(error.to_string(), format!("connecting to the docker daemon at unix://{}", path.display()));
    assert!(error.hint().contains("start the daemon") && error.hint().contains("DOCKER_HOST"), "{}", error.hint());
    drop(UnixListener::bind(&path).unwrap());
    assert!(daemon().ping().unwrap_err().hint().contains("nobody listens"));
    let refused = DockerError::Connect { address: "x".into(), source: std::io::ErrorKind::PermissionDenied.into() };
    assert!(refused.hint().contains("member of the socket's group"));
    Fake::start(|_, _| ok("OK")).daemon().ping().unwrap();
    let error = Fake::start(|_, _| ok("hello")).daemon().ping().unwrap_err();
    assert!(error.to_string().ends_with("it answers, but not as a daemon does"), "{error}");
}

fn pull(world: &World, fake: &Fake) -> Result<hoist_image::Pulled, DockerError> {
    fake.daemon().pull(&world.store, "bell", &["brought".parse().unwrap()], LoadLimits::default())
}

#[test]
fn an_image_that_the_store_has_is_not_fetched() {
    let world = world();
    let id = world.id();
    let fake = Fake::start(move |_, _| inspected(&id, &["bell:latest"], &[]));
    let pulled = pull(&world, &fake).unwrap();
    assert!(pulled.was_there);
    assert_eq!(world.store.image("brought").unwrap().id(), world.image.id());
    assert_eq!(fake.lines(), ["GET /images/bell/json"]);
}

#[test]
fn what_a_daemon_sends_is_read_as_a_strangers_archive() {
    let (world, other) = (world(), world());
    let high = layer(&other.store, "/high", "another");
    let brought = image(&other.store, "evil", &[&other.layers[0], &high]);
    let mut archive = Vec::new();
    brought.save(&mut archive, &["evil".parse().unwrap()], ArchiveFormat::Docker, Compression::None).unwrap();
    let fake = |archive: Vec<u8>, length: usize| {
        Fake::start(move |line, _| match line {
            _ if line.contains("/get") => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                Answer::Bytes([head.into_bytes(), archive.clone()].concat())
            }
            _ => inspected("sha256:00", &["bell:latest"], &[]),
        })
    };
    let length = archive.len();
    let error = pull(&world, &fake(archive[..length / 2].to_vec(), length)).unwrap_err();
    assert!(matches!(error, DockerError::Broken { .. }), "{error:?}");
    let error = pull(&world, &fake(vec![0; 4096], 4096)).unwrap_err();
    assert_eq!(error.to_string(), "storing what the docker daemon sent");
    let mut damaged = archive.clone();
    let at = damaged.windows(7).position(|window| window == b"another").unwrap();
    damaged[at] ^= 1;
    assert!(matches!(pull(&world, &fake(damaged, length)).unwrap_err(), DockerError::Load(_)));
    assert_eq!(world.store.names().unwrap().len(), 1, "nothing got a name");
    let pulled = pull(&world, &fake(archive, length)).unwrap();
    assert!(!pulled.was_there);
    assert_eq!(world.store.verify(&pulled.image), []);
    let names: Vec<String> = world.store.names().unwrap().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["bell:latest", "brought:latest"]);
    let fake = Fake::start(|_, _| missing());
    let error = pull(&world, &fake).unwrap_err();
    assert_eq!(error.to_string(), "fetching `bell` from the docker daemon: the docker daemon has no image `bell`");
}

#[test]
fn a_daemon_that_keeps_blobs_gets_an_oci_layout_without_those_it_has() {
    let world = world();
    let low = world.layers[0].clone();
    let fake = Fake::start(move |line, before| {
        let loads = before.iter().filter(|(line, _)| line.contains("/load")).count();
        match line {
            _ if line.contains("/load") => loaded(),
            _ if line.contains("/info") => ok(r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#),
            _ if line.contains("/tag?") => json("201 Created", ""),
            // Its layers are in another order: a blob is a blob.
            _ if line.contains("/bell:latest/") => inspected("sha256:00", &["bell:latest"], &[&low, &low]),
            _ if loads == 1 && line.contains("/images/sha256:") => {
                let id = line.split('/').nth(2).unwrap();
                inspected(id, &[], &[])
            }
            _ => missing(),
        }
    });
    let pushed = world.push(&fake).unwrap();
    assert_eq!((pushed.layers_sent, pushed.layers_there), (1, 1));
    let archive = &fake.archives()[0];
    let blob = |layer: &Layer| format!("blobs/sha256/{}", layer.diff_id().hex());
    assert!(archive.contains(&blob(&world.layers[1])) && !archive.contains(&blob(&world.layers[0])), "{archive:?}");
    let requests = fake.requests.lock().unwrap();
    let body = &requests.iter().find(|(line, _)| line.contains("/load")).unwrap().1;
    let dir = tempfile::tempdir().unwrap();
    tar::Archive::new(body.as_slice()).unpack(dir.path()).unwrap();
    // With the layer that was left out it is a whole layout, and the same image.
    let mut low = Vec::new();
    world.layers[0].write_tar(&mut low).unwrap();
    fs::write(dir.path().join(blob(&world.layers[0])), low).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = Store::open(other.path().join("store")).unwrap();
    let loaded = other.load(dir.path(), LoadLimits::default()).unwrap();
    assert_eq!(loaded[0].image.id(), world.image.id());
    assert!(loaded[0].names.is_empty());
}

#[test]
fn the_rest_of_a_load_that_failed_is_not_taken_for_the_image() {
    let world = world();
    let id = world.id();
    // An image of a manifest's digest that has no name: with containerd a load that failed leaves one.
    let fake = Fake::start(move |line, before| {
        let loaded_before = before.iter().any(|(line, _)| line.contains("/load"));
        match line {
            _ if line.contains("/load") => loaded(),
            _ if line.contains("/info") => ok(r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#),
            _ if line.contains("/images/json") => ok("[]"),
            _ if line.contains("/tag?") => json("201 Created", ""),
            _ if line.contains(&id) || line.contains("bell") && !loaded_before => missing(),
            _ => inspected(line.split('/').nth(2).unwrap(), &[], &[]),
        }
    });
    assert_eq!(world.push(&fake).unwrap().layers_sent, 2);
}
