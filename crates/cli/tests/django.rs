//! The static files of Django projects, collected by a build, with the real Django and whitenoise.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use std::path::Path;

use support::{Said, hoist, root_dir, run, tree};

/// Prints the page, and whether its style sheet can be had.
const ASK: &str = "import re
from django.test import Client
import django
django.setup()
client = Client()
page = client.get('/')
sheet = re.search('/static/[^\"]*', page.content.decode()).group()
answer = client.get(sheet)
print(page.status_code, sheet, answer.status_code, b''.join(answer).decode().strip())
";

/// A copy of the project in the fixtures, which the test may change.
fn project() -> tempfile::TempDir {
    let from = root_dir().join("fixtures/apps/django");
    let dir = tree(&[]);
    let copied = run(std::process::Command::new("cp").arg("-R").arg(from.join(".")).arg(dir.path()));
    assert_eq!(copied.code, 0, "{}", copied.stderr);
    dir
}

fn change(dir: &Path, file: &str, from: &str, to: &str) {
    let text = fs_err::read_to_string(dir.join(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    fs_err::write(dir.join(file), text.replace(from, to)).unwrap();
}

fn build(dir: &Path, image: &str, settings: &[&str]) -> Said {
    let settings = settings.iter().flat_map(|one| ["--env", one]);
    run(hoist().args(["build", image, "--path"]).arg(dir).args(settings))
}

fn answer(image: &str) -> String {
    let settings = ["-e", "DJANGO_SETTINGS_MODULE=shop.settings", "--entrypoint", "launcher", image, "--", "--"];
    run(hoist().arg("run").args(settings).args(["python", "-c", ASK])).ok().stdout
}

#[test]
fn pages_find_the_files_that_a_build_collected_and_an_unchanged_app_is_not_asked_again() {
    let app = project();
    let image = "test/django";
    let first = build(app.path(), image, &[]).ok();
    let first = first.says("python manage.py collectstatic --noinput").says("static files in the image");
    assert_eq!(first.stderr.matches("Hoist Django").count(), 1, "{}", first.stderr);
    let page = answer(image);
    assert!(
        page.starts_with("200 /static/shop/page.") && page.contains(".css 200 body { background: url(\"dot."),
        "{page}"
    );

    let again = build(app.path(), image, &[]).ok().says("in the image, unchanged");
    assert!(!again.stderr.contains("collectstatic --noinput"), "{}", again.stderr);
    assert_eq!(again.stdout, first.stdout, "the same files make the same image");
    build(app.path(), image, &["SHOP=1"]).ok().says("collecting anew: SHOP is set now");
    fs_err::write(app.path().join("shop/static/shop/page.css"), "body { color: red; }\n").unwrap();
    build(app.path(), image, &[]).ok().says("files of the app changed").says("SHOP is no longer set");
    assert!(answer(image).ends_with("200 body { color: red; }\n"));
    run(hoist().args(["image", "rm", image])).ok();
}

#[test]
fn a_project_that_cannot_be_loaded_says_what_it_wants_and_how_to_go_without() {
    let app = project();
    let image = "test/django-wants";
    change(
        app.path(),
        "shop/settings.py",
        "os.environ.get(\"SECRET_KEY\", \"only for the build\")",
        "os.environ[\"SECRET_KEY\"]",
    );
    let said = build(app.path(), image, &[]).code(1);
    let said = said
        .says("Error while collecting Django's static files")
        .says("`python manage.py help collectstatic` ended with code 1")
        .says("KeyError: 'SECRET_KEY'")
        .says("build with --env SECRET_KEY=VALUE")
        .says("--env BP_DJANGO_COLLECTSTATIC=false")
        .says("| ");
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    build(app.path(), image, &["SECRET_KEY=x"]).ok().says("static files in the image");
    // The same project with a file that is not there, and a secret in what it says.
    fs_err::write(app.path().join("shop/static/shop/page.css"), "body { background: url(\"no.svg\"); }\n").unwrap();
    build(app.path(), image, &["SECRET_KEY=x"])
        .code(1)
        .says("`python manage.py collectstatic --noinput` ended with code 1")
        .says("shop/no.svg")
        .says("add the file, or correct the url()");
    let secret = "t0ken-of-the-shop";
    fs_err::write(
        app.path().join("shop/settings.py"),
        "import os\nSECRET_KEY = 'x'\nraise ValueError('token ' + os.environ['API_TOKEN'])\n",
    )
    .unwrap();
    let said = build(app.path(), image, &[&format!("API_TOKEN={secret}")]).code(1).says("ValueError: token ***");
    assert!(!said.stderr.contains(secret), "{}", said.stderr);
    for settings in ["BP_DJANGO_COLLECTSTATIC=false", "DISABLE_COLLECTSTATIC=1"] {
        let name = settings.split('=').next().unwrap();
        build(app.path(), image, &[settings]).ok().says(&format!("no static files are collected: {name} says so"));
    }
    build(app.path(), image, &["BP_DJANGO_COLLECTSTATIC=maybe"]).code(1).says("neither true nor false");
    run(hoist().args(["image", "rm", image])).ok();
}

/// Puts something of its own wherever the build may write.
const TRAP: &str = "
import pathlib, sys
for place in ['/layers/hoist_pip/env/lib/python3.13/site-packages', '/layers/hoist_python/python', '/layers', '/hoist-cache', '/home/cnb', '/tmp']:
    try:
        pathlib.Path(place, 'hoist_trap.py').write_text('TRAP = 1')
        print('wrote to ' + place)
    except OSError:
        pass
(BASE_DIR / 'hoist_trap.py').write_text('TRAP = 1')
";

#[test]
fn code_of_the_app_changes_the_app_and_nothing_that_later_builds_trust() {
    let app = project();
    let image = "test/django-trap";
    let settings = app.path().join("shop/settings.py");
    let text = fs_err::read_to_string(&settings).unwrap();
    fs_err::write(&settings, format!("{text}{TRAP}")).unwrap();
    let first = run(hoist().args(["build", image, "--clear-cache", "--path"]).arg(app.path())).ok();
    let first = first
        .says("wrote to /layers/hoist_pip/env")
        .says("warning: code of the app wrote to /layers/hoist_pip, which is not its own: that is not kept")
        .says("warning: code of the app wrote to /layers/hoist_python, which")
        .says("warning: code of the app wrote to /layers/hoist_trap.py, which");
    assert!(!first.stderr.contains("wrote to /hoist-cache"), "{}", first.stderr);
    let traps = || {
        let find = ["launcher", image, "--", "--", "find", "/layers", "/workspace", "/home", "-name", "hoist_trap.py"];
        run(hoist().args(["run", "--entrypoint"]).args(find)).ok().stdout
    };
    assert_eq!(traps(), "/workspace/hoist_trap.py\n", "its own image is its own affair");

    // The layers are as hoist made them: a later build goes on from them beside the shared cache, and keeps no cache of its own.
    change(app.path(), "requirements.txt", "whitenoise", "whitenoise\ncolorama");
    let more = run(hoist().args(["build", image, "--explain", "--path"]).arg(app.path())).ok();
    let more = more.says("1 of them new or changed").says("collecting anew: ");
    let own_cache = more.stderr.lines().find(|line| line.contains("hoist/pip") && line.contains(" cache "));
    assert_eq!(own_cache, None, "{}", more.stderr);
    let records = fs_err::read_dir(support::shared_store().join("records/foreign-code"));
    let of_ours = |path: &Path| fs_err::read_to_string(path).is_ok_and(|text| text.contains("test/django-trap:"));
    let is_noted = records.is_ok_and(|records| records.flatten().any(|record| of_ours(&record.path())));
    assert!(!is_noted, "the layers are trusted");
    assert_eq!(traps(), "/workspace/hoist_trap.py\n");

    // A layer that later buildpacks would see could have them start anything.
    let layer =
        "import pathlib\npathlib.Path('/layers/hoist_django/evil.toml').write_text('[types]\\nbuild = true\\n')\n";
    fs_err::write(&settings, format!("{text}{layer}")).unwrap();
    build(app.path(), image, &[])
        .code(1)
        .says("Error while taking over what code of the app left")
        .says("it wrote /layers/hoist_django/evil.toml, a layer that later buildpacks are to see");
    fs_err::write(&settings, text).unwrap();
    build(app.path(), image, &[]).ok();
    assert_eq!(traps(), "", "what it made of the app goes when it is gone from the app");
    run(hoist().args(["image", "rm", image])).ok();
}

#[test]
fn an_unchanged_project_is_neither_read_nor_made_again() {
    let app = project();
    let image = "test/django-unread";
    build(app.path(), image, &[]).ok();
    let again = run(hoist().args(["build", image, "--explain", "--path"]).arg(app.path())).ok();
    let line = again.stderr.lines().chain(again.stdout.lines()).find(|line| line.contains("Application Layer"));
    assert!(line.is_some_and(|line| line.contains("its input is the same")), "{}", again.stderr);
    // Over what lies in a volume nobody has a digest: the app is read, and that a file of it changed is seen.
    let over = app.path().join("over.css");
    for text in ["one", "two"] {
        fs_err::write(&over, format!("body {{ color: {text}; }}\n")).unwrap();
        let volume = format!("{}:/workspace/shop/static/shop/page.css:ro", over.display());
        let mut command = hoist();
        command.args(["build", image, "--volume", &volume, "--path"]).arg(app.path());
        run(&mut command).ok().says("collecting anew: files of the app changed");
    }
    run(hoist().args(["image", "rm", image])).ok();
}

#[test]
fn projects_without_a_place_for_static_files_are_built_and_told_why_none_are_collected() {
    let app = project();
    let image = "test/django-none";
    let said = |settings: &[&str]| build(app.path(), image, settings).ok();
    change(app.path(), "shop/settings.py", "BASE_DIR / \"staticfiles\"", "\"/srv/static\"");
    said(&[]).says("warning: no static files are collected: STATIC_ROOT is /srv/static");
    said(&[]).says("warning: no static files are collected: STATIC_ROOT is /srv/static");
    change(app.path(), "shop/settings.py", "STATIC_ROOT = ", "OTHER = ");
    said(&[]).says("no static files are collected: STATIC_ROOT is not set");
    change(app.path(), "shop/settings.py", "\"django.contrib.staticfiles\", ", "");
    said(&[]).says("django.contrib.staticfiles is not among INSTALLED_APPS");
    fs_err::write(app.path().join("requirements.txt"), "gunicorn\n").unwrap();
    said(&[]).says("Django is not among the installed packages");
    run(hoist().args(["image", "rm", image])).ok();
}

#[test]
fn settings_of_pydantic_say_which_variable_they_miss() {
    let app = project();
    let image = "test/django-pydantic";
    change(app.path(), "requirements.txt", "whitenoise", "whitenoise\npydantic-settings");
    let settings = fs_err::read_to_string(app.path().join("shop/settings.py")).unwrap();
    let model = "from pydantic_settings import BaseSettings\nclass ShopSettings(BaseSettings):\n    shop_token: str\nOURS = ShopSettings()\n";
    fs_err::write(app.path().join("shop/settings.py"), format!("{settings}\n{model}")).unwrap();
    build(app.path(), image, &[])
        .code(1)
        .says("ShopSettings (pydantic) wants SHOP_TOKEN, and a build has only the variables that it is given")
        .says("build with --env SHOP_TOKEN=VALUE");
    build(app.path(), image, &["SHOP_TOKEN=x"]).ok().says("static files in the image");
    run(hoist().args(["image", "rm", image])).ok();
}

#[test]
fn a_project_in_a_folder_is_found_and_of_two_one_is_named() {
    let app = project();
    let image = "test/django-folder";
    for name in ["manage.py", "shop"] {
        fs_err::create_dir_all(app.path().join("web")).unwrap();
        fs_err::rename(app.path().join(name), app.path().join("web").join(name)).unwrap();
    }
    build(app.path(), image, &[]).ok().says("python web/manage.py collectstatic --noinput");
    fs_err::create_dir(app.path().join("other")).unwrap();
    fs_err::write(app.path().join("other/manage.py"), "").unwrap();
    build(app.path(), image, &[]).ok().says("other/manage.py, web/manage.py could each be the one");
    build(app.path(), image, &["BP_DJANGO_MANAGE=web/manage.py"]).ok().says("static files in the image");
    run(hoist().args(["image", "rm", image])).ok();
}
