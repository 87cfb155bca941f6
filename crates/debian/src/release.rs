//! The Release file.
