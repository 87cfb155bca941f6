//! Hoist's own buildpacks, ordinary processes that speak the spec
