//! The files of an app that hoist's buildpacks read: each goes through what `hoist check` says of an app with that file.

use super::scratch;

fn foresee(name: &str, data: &[u8]) {
    foresee_beside(name, data, &[]);
}

/// What is said of an app of this file and some others.
fn foresee_beside(name: &str, data: &[u8], others: &[(&str, &str)]) {
    let dir = scratch().join(format!("app-{name}-{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join(name), data).expect("a file");
    for (name, text) in others {
        std::fs::write(dir.join(name), text).expect("a file");
    }
    let foresight = hoist_buildpacks::foresee(&dir, &[], "trixie");
    drop((foresight.warnings, foresight.missing_process.map(|failure| failure.to_string())));
    std::fs::remove_file(dir.join(name)).expect("the file");
}

pub(super) fn environment_yml(data: &[u8]) {
    foresee("environment.yml", data);
}

pub(super) fn package_list(data: &[u8]) {
    foresee("package-list.txt", data);
}

pub(super) fn condarc(data: &[u8]) {
    let environment = "channels: [a, c, defaults]\ndependencies: [numpy]\n";
    foresee_beside(".condarc", data, &[("environment.yml", environment)]);
}

pub(super) fn uv_lock(data: &[u8]) {
    foresee_beside("uv.lock", data, &[("pyproject.toml", include_str!("../../fixtures/apps/uv-lock/pyproject.toml"))]);
}

pub(super) fn poetry_lock(data: &[u8]) {
    let project = include_str!("../../fixtures/apps/poetry-lock/pyproject.toml");
    foresee_beside("poetry.lock", data, &[("pyproject.toml", project)]);
}

pub(super) fn pdm_lock(data: &[u8]) {
    foresee_beside(
        "pdm.lock",
        data,
        &[("pyproject.toml", include_str!("../../fixtures/apps/pdm-lock/pyproject.toml"))],
    );
}

pub(super) fn pipfile_lock(data: &[u8]) {
    foresee_beside("Pipfile.lock", data, &[("Pipfile", include_str!("../../fixtures/apps/pipenv-lock/Pipfile"))]);
}

pub(super) fn pipfile(data: &[u8]) {
    foresee("Pipfile", data);
}

pub(super) fn pylock(data: &[u8]) {
    foresee("pylock.toml", data);
}

pub(super) fn pyproject(data: &[u8]) {
    foresee("pyproject.toml", data);
}

pub(super) fn requirements(data: &[u8]) {
    foresee("requirements.txt", data);
}

pub(super) fn procfile(data: &[u8]) {
    foresee("Procfile", data);
}

pub(super) fn python_versions(data: &[u8]) {
    for name in [".python-version", "runtime.txt", ".tool-versions", "environment.yml"] {
        foresee(name, data);
    }
}

pub(super) fn python_projects(data: &[u8]) {
    for name in ["pyproject.toml", "mise.toml", "Pipfile", "Pipfile.lock", "uv.lock", "poetry.lock", "pdm.lock"] {
        foresee(name, data);
    }
}

pub(super) fn sources(data: &[u8]) {
    foresee("app.py", data);
}

pub(super) fn setup_py(data: &[u8]) {
    foresee("setup.py", data);
}

pub(super) fn setup_cfg(data: &[u8]) {
    foresee("setup.cfg", data);
}

pub(super) fn conda_lock(data: &[u8]) {
    foresee("conda-lock.yml", data);
}

pub(super) fn pixi_lock(data: &[u8]) {
    foresee("pixi.lock", data);
}

pub(super) fn deb_packages(data: &[u8]) {
    for name in ["apt.txt", "Aptfile", "project.toml"] {
        foresee(name, data);
    }
}
