//! Names of packages as people get them wrong: the names of imports, of the standard library, and typing errors.

/// What to `import` on the left, what to require on the right.
const IMPORT_NAMES: &[(&str, &str)] = &[
    ("attr", "attrs"),
    ("bs4", "beautifulsoup4"),
    ("cairo", "pycairo"),
    ("crypto", "pycryptodome"),
    ("cv", "opencv-python-headless"),
    ("cv2", "opencv-python-headless"),
    ("dateutil", "python-dateutil"),
    ("dns", "dnspython"),
    ("docx", "python-docx"),
    ("dotenv", "python-dotenv"),
    ("fitz", "pymupdf"),
    ("git", "gitpython"),
    ("gi", "pygobject"),
    ("google-protobuf", "protobuf"),
    ("grpc", "grpcio"),
    ("jose", "python-jose"),
    ("jwt", "pyjwt"),
    ("ldap", "python-ldap"),
    ("magic", "python-magic"),
    ("mpl-toolkits", "matplotlib"),
    ("mysqldb", "mysqlclient"),
    ("opencv", "opencv-python-headless"),
    ("openssl", "pyopenssl"),
    ("pil", "pillow"),
    ("pkg-resources", "setuptools"),
    ("pptx", "python-pptx"),
    ("psycopg2-bin", "psycopg2-binary"),
    ("pytorch", "torch"),
    ("qiskit-terra-aer", "qiskit-aer"),
    ("quantum", "planqk-quantum"),
    ("serial", "pyserial"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("skopt", "scikit-optimize"),
    ("socks", "pysocks"),
    ("tf", "tensorflow"),
    ("usb", "pyusb"),
    ("websocket", "websocket-client"),
    ("wx", "wxpython"),
    ("yaml", "pyyaml"),
    ("zmq", "pyzmq"),
    ("zoneinfo", "tzdata"),
    ("beautifulsoup", "beautifulsoup4"),
    ("levenstein", "levenshtein"),
    ("umap", "umap-learn"),
    ("imblearn", "imbalanced-learn"),
    ("dwave", "dwave-ocean-sdk"),
    ("braket", "amazon-braket-sdk"),
    ("googleapiclient", "google-api-python-client"),
    ("telegram", "python-telegram-bot"),
    ("lightning-fabric", "lightning"),
];

const STDLIB: &str = include_str!("names_stdlib.txt");
const POPULAR: &str = include_str!("names_popular.txt");

/// The distribution that brings a module of this name, where the two differ.
pub(crate) fn distribution_of_import(name: &str) -> Option<&'static str> {
    IMPORT_NAMES.iter().find(|(import, _)| *import == name).map(|(_, distribution)| *distribution)
}

/// Whether a module of this name comes with Python.
pub(crate) fn is_standard_library(name: &str) -> bool {
    let module = name.replace('-', "_");
    STDLIB.split_whitespace().any(|known| known == module)
}

/// Much used distributions with nearly this name, nearest first.
pub(crate) fn near_names(name: &str) -> Vec<&'static str> {
    let limit = match name.len() {
        0..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let mut found: Vec<(usize, &str)> = POPULAR
        .split_whitespace()
        .filter(|known| known.len().abs_diff(name.len()) <= limit)
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    found.sort_unstable();
    found.into_iter().take(3).map(|(_, known)| known).collect()
}

/// How many letters must be changed, added, removed, or swapped with their neighbour.
pub(crate) fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().take(256).collect(), to.chars().take(256).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let mut best =
                (above[column] + usize::from(letter != other)).min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *letter == to[column - 1] && from[row - 1] == *other {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_changes_and_swaps() {
        for (from, to, wanted) in
            [("flask", "flask", 0), ("flaks", "flask", 1), ("", "abc", 3), ("numpi", "numpy", 1), ("abc", "cab", 2)]
        {
            assert_eq!(distance(from, to), wanted, "{from} → {to}");
        }
    }

    #[test]
    fn usual_mistakes_are_known() {
        assert_eq!(distribution_of_import("cv2"), Some("opencv-python-headless"));
        assert_eq!(near_names("qiskitt"), ["qiskit"]);
        assert_eq!(near_names("reqeusts")[0], "requests");
        assert!(near_names("zzzzzzzzzz").is_empty());
        assert!(is_standard_library("json") && !is_standard_library("numpy"));
    }
}
