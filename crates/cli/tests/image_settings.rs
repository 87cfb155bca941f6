//! Variables and labels that a user gives an image, in the words of Paketo's buildpacks.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use support::{hoist, run, tree};

#[test]
fn an_image_has_the_variables_and_labels_that_its_build_was_given() {
    let dir = tree(&[("app/main.py", "print(1)\n"), ("app/Procfile", "web: env\n")]);
    let build = |settings: &[&str]| {
        let settings = settings.iter().flat_map(|one| ["--env", one]);
        let command = ["build", "test-settings", "--path", "app"].into_iter().chain(settings);
        run(hoist().args(command).current_dir(dir.path()))
    };
    build(&[
        "BPE_GREETING=s3cret",
        "BPE_DEFAULT_LEVEL=info",
        "BPE_APPEND_PATH=/opt/own/bin",
        "BPE_DELIM_PATH=:",
        "BPE_PYTHONUNBUFFERED=0",
        "BP_OCI_TITLE=Shop",
        "BP_IMAGE_LABELS=team=data 'about=two words'",
    ])
    .ok()
    .says("variable GREETING.override")
    .says("label about=two words");
    let printed = run(hoist().args(["run", "-e", "LEVEL=debug", "-e", "GREETING=other", "test-settings"])).ok().stdout;
    let line = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    assert_eq!((line("GREETING="), line("LEVEL=")), ("s3cret".to_owned(), "debug".to_owned()));
    assert!(line("PATH=").ends_with(":/opt/own/bin"), "{printed}");
    assert_eq!(line("PYTHONUNBUFFERED="), "0", "the user's variables win over those of hoist/python");
    let shown = run(hoist().args(["image", "inspect", "--json", "test-settings"])).ok().json();
    let labels = &shown["config"]["config"]["Labels"];
    assert_eq!((&labels["org.opencontainers.image.title"], &labels["team"]), (&"Shop".into(), &"data".into()));
    assert_eq!(labels["about"], "two words");

    // Without them the buildpack takes no part, and nothing of the last build stays.
    let said = build(&[]).ok();
    assert!(!said.stderr.contains("image-settings"), "{}", said.stderr);
    let printed = run(hoist().args(["run", "test-settings"])).ok().stdout;
    assert!(!printed.contains("GREETING"), "{printed}");
    build(&["BP_IMAGE_LABELS=team"]).code(1).says("`team` in BP_IMAGE_LABELS").says("write pairs with blanks");
    run(hoist().args(["image", "rm", "test-settings"])).ok();
}
