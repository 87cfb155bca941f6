//! The loader's cache, `/etc/ld.so.cache`, in the form that glibc has written since 2.32 (`glibc-ld.so.cache1.1`).
//!
//! Without it the loader finds libraries in its built-in folders as well, but only there, and by trying each; and `ldconfig -p`, which
//! Python's ctypes asks, would show nothing.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Marks a 64-bit library of glibc for the architecture.
fn flags(architecture: &str) -> u32 {
    match architecture {
        "amd64" => 0x0303,
        "arm64" => 0x0a03,
        "ppc64el" => 0x0503,
        "s390x" => 0x0403,
        _ => 0x0003,
    }
}

/// Writes the cache of libraries: name to absolute path.
pub(crate) fn write_cache(libraries: &BTreeMap<String, String>, architecture: &str) -> Vec<u8> {
    let mut entries: Vec<(&String, &String)> = libraries.iter().collect();
    // The loader searches from the end: descending order.
    entries.sort_by(|left, right| compare_names(right.0.as_bytes(), left.0.as_bytes()));
    let mut strings = Vec::new();
    let mut table = Vec::new();
    let start = 48 + 24 * entries.len();
    let mut add = |text: &str| {
        let at = u32::try_from(start + strings.len()).unwrap_or(u32::MAX);
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at.to_le_bytes()
    };
    for (name, path) in &entries {
        table.extend_from_slice(&flags(architecture).to_le_bytes());
        table.extend_from_slice(&add(name));
        table.extend_from_slice(&add(path));
        table.extend_from_slice(&[0; 12]); // no minimum kernel, no hardware capabilities
    }
    let mut cache = b"glibc-ld.so.cache1.1".to_vec();
    cache.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
    cache.extend_from_slice(&u32::try_from(strings.len()).unwrap_or(u32::MAX).to_le_bytes());
    cache.push(2); // little-endian
    cache.extend_from_slice(&[0; 19]); // padding, no extensions, unused
    cache.extend_from_slice(&table);
    cache.extend_from_slice(&strings);
    cache
}

/// The loader's order of names: digits compare as numbers and come after everything else.
fn compare_names(mut left: &[u8], mut right: &[u8]) -> Ordering {
    let digits = |name: &[u8]| name.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(name.len());
    loop {
        match (digits(left), digits(right)) {
            (0, 0) => match (left.first(), right.first()) {
                (None, None) => return Ordering::Equal,
                (l, r) if l == r => (left, right) = (&left[1..], &right[1..]),
                (l, r) => return l.cmp(&r),
            },
            (0, _) => return Ordering::Less,
            (_, 0) => return Ordering::Greater,
            (l, r) => {
                let number = |text: &[u8]| {
                    text.iter().fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
                };
                let order = number(&left[..l]).cmp(&number(&right[..r]));
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (&left[l..], &right[r..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_the_loader_orders_them() {
        for (left, right) in
            [("liba.so.9", "liba.so.10"), ("liba.so", "liba.so.1"), ("liba.so", "liba1.so"), ("liba", "libb")]
        {
            assert_eq!(compare_names(left.as_bytes(), right.as_bytes()), Ordering::Less, "{left} {right}");
        }
        assert_eq!(compare_names(b"liba.so.01", b"liba.so.1"), Ordering::Equal);
    }
}
