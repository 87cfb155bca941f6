//! Conda's package specifications, as far as they can be said in PyPI's words.

/// A conda specification taken apart: `conda-forge::numpy=1.26=py311_0` is `numpy` and `=1.26`.
pub fn split(spec: &str) -> (String, String) {
    let spec = spec.rsplit_once("::").map_or(spec, |(_, rest)| rest);
    let spec = spec.split(['[', '#']).next().unwrap_or_default().trim();
    let end = spec.find(|c: char| "=<>!~ ".contains(c)).unwrap_or(spec.len());
    (spec[..end].to_ascii_lowercase(), spec[end..].trim().to_owned())
}

/// PEP 440 specifiers for a conda version; none where it says nothing or cannot be said.
fn specifiers(version: &str) -> Option<String> {
    if version.is_empty() || version == "*" || version.contains(['|', '(']) {
        return None;
    }
    let parts: Vec<String> = version.split(',').filter_map(specifier).collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn specifier(part: &str) -> Option<String> {
    let part = part.trim();
    let operator_end = part.find(|c: char| !"=<>!~".contains(c))?;
    let (operator, rest) = part.split_at(operator_end);
    // A build string stands behind the version: `=1.26=py311_0`, `1.26 py311_0`.
    let version = rest.trim().split(['=', ' ']).next().unwrap_or_default();
    let stem = version.trim_end_matches('*').trim_end_matches('.');
    if stem.is_empty() {
        return None;
    }
    Some(match operator {
        "" | "=" => format!("=={stem}.*"),
        "==" if version.ends_with('*') => format!("=={stem}.*"),
        "!=" if version.ends_with('*') => format!("!={stem}.*"),
        operator => format!("{operator}{stem}"),
    })
}

/// The Python that a specification's version means: `3.11`, `3.11.4` or specifiers.
pub fn python(version: &str) -> Option<String> {
    let specifiers = specifiers(version)?;
    Some(match specifiers.strip_prefix("==") {
        Some(exact) if !exact.contains(',') => exact.trim_end_matches(".*").to_owned(),
        _ => specifiers,
    })
}

/// What a line of `pip:` includes: the option (`-r` or `-c`) and the file or address.
pub fn included(line: &str) -> Option<(&'static str, &str)> {
    const OPTIONS: [(&str, &str); 4] = [("--requirement", "-r"), ("--constraint", "-c"), ("-r", "-r"), ("-c", "-c")];
    OPTIONS.iter().find_map(|(written, option)| {
        let rest = line.trim().strip_prefix(written)?;
        let is_option = rest.starts_with([' ', '=', '\t']) || (written.len() == 2 && !rest.is_empty());
        let file = rest.trim_start_matches([' ', '=', '\t']).trim().trim_matches(['"', '\'']);
        (is_option && !file.is_empty()).then_some((*option, file))
    })
}

/// Distributions whose name is the same in conda's channels and on PyPI, of those that services use.
const SAME: &[&str] = &[
    "beautifulsoup4",
    "bokeh",
    "cirq",
    "click",
    "cvxpy",
    "cython",
    "dask",
    "deap",
    "django",
    "dwave-ocean-sdk",
    "fastapi",
    "flask",
    "gunicorn",
    "h5py",
    "httpx",
    "ipython",
    "jax",
    "jinja2",
    "joblib",
    "jsonschema",
    "jupyter",
    "keras",
    "lightgbm",
    "loguru",
    "lxml",
    "matplotlib",
    "mpmath",
    "networkx",
    "notebook",
    "numba",
    "numpy",
    "openpyxl",
    "ortools",
    "pandas",
    "pennylane",
    "pillow",
    "plotly",
    "polars",
    "psutil",
    "pulp",
    "pyarrow",
    "pydantic",
    "pyscf",
    "pytest",
    "python-dateutil",
    "python-dotenv",
    "pytket",
    "pytz",
    "pyyaml",
    "qiskit",
    "qiskit-aer",
    "qutip",
    "requests",
    "rich",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "seaborn",
    "setuptools",
    "six",
    "sqlalchemy",
    "statsmodels",
    "sympy",
    "tensorflow",
    "tornado",
    "tqdm",
    "transformers",
    "typing-extensions",
    "typing_extensions",
    "uvicorn",
    "wheel",
    "xarray",
    "xgboost",
];

/// Those with another name there.
const OTHER: &[(&str, &str)] = &[
    ("dask-core", "dask"),
    ("matplotlib-base", "matplotlib"),
    ("msgpack-python", "msgpack"),
    ("opencv", "opencv-python-headless"),
    ("py-opencv", "opencv-python-headless"),
    ("py-xgboost", "xgboost"),
    ("pytables", "tables"),
    ("python-graphviz", "graphviz"),
    ("pytorch", "torch"),
    ("pytorch-cpu", "torch"),
    ("tensorflow-gpu", "tensorflow"),
];

/// The requirements.txt line for a conda specification, where one is known.
pub fn pypi_line(spec: &str) -> Option<String> {
    let (name, version) = split(spec);
    let pypi = OTHER
        .iter()
        .find(|(conda, _)| *conda == name)
        .map(|(_, pypi)| *pypi)
        .or_else(|| SAME.iter().find(|same| **same == name).copied())?;
    Some(format!("{pypi}{}", specifiers(&version).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_said_in_pep_440() {
        let python_of = |spec: &str| python(&split(spec).1);
        for (spec, wanted) in [
            ("python=3.11", Some("3.11")),
            ("python=3.11.*", Some("3.11")),
            ("python 3.9", Some("3.9")),
            ("python==3.11.4", Some("3.11.4")),
            ("conda-forge::python>=3.9,<3.12", Some(">=3.9,<3.12")),
            ("python >= 3.9", Some(">=3.9")),
            ("python", None),
            ("python=*", None),
            ("python=3.11.4=h1_0", Some("3.11.4")),
            ("python 3.11.*|3.12.*", None),
        ] {
            assert_eq!(python_of(spec).as_deref(), wanted, "{spec}");
        }
        assert_eq!(pypi_line("numpy=1.26=py311_0").as_deref(), Some("numpy==1.26.*"));
        assert_eq!(pypi_line("conda-forge::pytorch").as_deref(), Some("torch"));
        assert_eq!(pypi_line("gcc_linux-64"), None);
    }

    #[test]
    fn included_files_are_told_from_packages() {
        for line in ["-r a.txt", "-ra.txt", "-r=a.txt", "--requirement a.txt", "--requirement=\"a.txt\""] {
            assert_eq!(included(line), Some(("-r", "a.txt")), "{line}");
        }
        assert_eq!(included("--constraint=c.txt"), Some(("-c", "c.txt")));
        for line in ["requests", "--requirements a.txt", "-e .", "-r", "--constraint"] {
            assert_eq!(included(line), None, "{line}");
        }
    }
}
