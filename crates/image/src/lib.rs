//! OCI images: references, reproducible layers, the local store, archives; knows no CNB
