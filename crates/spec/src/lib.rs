//! The Cloud Native Buildpacks documents, labels and environment rules: parse and write, no I/O
