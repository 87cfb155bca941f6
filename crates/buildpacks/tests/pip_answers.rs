//! What a person reads when the way to the packages is barred, provoked with the real uv and indexes on this machine.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use support::{Bench, TestIndex};

/// Builds with an index; answers the page.
fn page(index: &str, requirements: &str) -> String {
    let mut bench = Bench::with_shared_cache();
    bench.built("");
    bench.set("PIP_INDEX_URL", format!("{index}/simple"));
    bench.set("PIP_RETRIES", "0");
    failed(&bench, requirements)
}

fn failed(bench: &Bench, requirements: &str) -> String {
    let (code, said) = bench.build(requirements);
    assert_eq!(code, 1, "{said}");
    said[said.find("Error while").unwrap()..].to_owned()
}

fn assert_page(name: &str, page: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"localhost:\d+", "localhost:PORT");
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT");
    settings.add_filter(r"/[^\s`']*/pip-cache/[^\s`']*", "/CACHE");
    settings.add_filter(r"/[^\s`']*/bin/git", "git");
    // Wherever temporary files are on this machine.
    let temporary = std::env::temp_dir().display().to_string().replace('.', r"\.");
    settings.add_filter(&format!(r"{}/[.\w]+", temporary.trim_end_matches('/')), "/TMP");
    settings.add_filter(r"in [\d.]+m?s", "in TIME");
    // What git does first depends on whether an earlier run left its folder.
    settings.add_filter("failed to clone into", "failed to fetch into");
    settings.add_filter(r"Python 3[.\d]+", "Python 3.x");
    settings.bind(|| insta::assert_snapshot!(name, page));
}

#[test]
fn an_index_that_wants_credentials() {
    let index = TestIndex::start();
    let with_credentials = index.http.replace("://", "://me:s3cret@");
    let said = page(&format!("{with_credentials}/401"), "flask\n");
    assert!(!said.contains("s3cret"), "{said}");
    assert_page("credentials", &said);
}

#[test]
fn an_index_that_forbids() {
    let index = TestIndex::start();
    assert_page("forbidden", &page(&format!("{}/403", index.http), "flask\n"));
}

#[test]
fn an_index_that_fails() {
    let index = TestIndex::start();
    assert_page("server_error", &page(&format!("{}/500", index.http), "flask\n"));
}

#[test]
fn an_index_whose_certificate_nobody_signed() {
    let index = TestIndex::start();
    assert_page("certificate", &page(&index.https, "flask\n"));
}

#[test]
fn an_index_whose_name_nobody_knows() {
    assert_page("name", &page("https://index.invalid", "flask\n"));
}

#[test]
fn an_index_that_is_not_there() {
    // Nothing listens where a listener just closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_page("refused", &page(&format!("http://127.0.0.1:{port}"), "flask\n"));
}

/// A build that may clone repositories.
fn cloning() -> Bench {
    let mut bench = Bench::with_shared_cache();
    bench.built("");
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    bench
}

#[test]
fn a_repository_whose_host_nobody_knows() {
    assert_page("repository_name", &failed(&cloning(), "six\nlib @ git+https://host.invalid/me/lib.git@v1\n"));
}

#[test]
fn a_repository_that_is_not_there() {
    assert_page("repository_missing", &failed(&cloning(), "git+file:///nowhere/lib.git#egg=lib\n"));
}

#[test]
fn a_repository_without_the_wanted_branch() {
    let bench = cloning();
    let repository = bench.path("app/lib");
    fs_err::create_dir_all(&repository).unwrap();
    let git = |arguments: &[&str]| {
        let done = std::process::Command::new("git").args(arguments).current_dir(&repository).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "--quiet"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "first"]);
    let requirements = format!("lib @ git+file://{}@nope\n", repository.display());
    assert_page("repository_branch", &failed(&bench, &requirements));
}

#[test]
fn a_repository_without_git() {
    let mut bench = cloning();
    bench.own_interpreter();
    bench.set("PATH", "/nonexistent");
    assert_page("repository_without_git", &failed(&bench, "lib @ git+https://host.invalid/me/lib.git\n"));
}

#[test]
fn an_address_of_a_requirement_whose_host_nobody_knows() {
    let mut bench = cloning();
    bench.set("PIP_RETRIES", "0");
    assert_page("address_name", &failed(&bench, "six\nlib @ https://host.invalid/lib-1-py3-none-any.whl\n"));
}

#[test]
fn an_archive_that_is_not_there() {
    let index = TestIndex::start();
    assert_page("archive_missing", &failed(&cloning(), &format!("lib @ {}/404/lib-1.tar.gz\n", index.http)));
}

#[test]
fn a_source_distribution_where_only_wheels_are_allowed() {
    let mut bench = cloning();
    bench.set("PIP_ONLY_BINARY", ":all:");
    assert_page("only_wheels", &failed(&bench, "mysqlclient==2.2.4\n"));
}
