//! Build and run images made from Debian packages, without Debian's tools
