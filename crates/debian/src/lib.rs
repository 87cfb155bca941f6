//! Signed indexes, dependency resolution, fetching and unpacking of Debian packages; knows no images, no CNB
