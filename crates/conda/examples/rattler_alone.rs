//! rattler and nothing else: solves, and installs into a folder. No image, no layers, no bytecode, no look at what the archives hold. `bench/conda.sh`
//! measures hoist's first build beside it.
//!
//! Usage: `rattler_alone CHANNEL CACHE PREFIX [--copy] SPEC…`; without `--copy` files are hard links into the cache, as is rattler's own way.
#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "a tool to measure with")]

use std::path::PathBuf;

use rattler::install::{Installer, LinkOptions};
use rattler::package_cache::PackageCache;
use rattler_conda_types::{Channel, ChannelConfig, GenericVirtualPackage, MatchSpec, ParseStrictness, Subdir};
use rattler_networking::LazyClient;
use rattler_repodata_gateway::Gateway;
use rattler_solve::resolvo::Solver;
use rattler_solve::{SolverImpl, SolverTask};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [channel, cache, prefix, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: rattler_alone CHANNEL CACHE PREFIX [--copy] SPEC…");
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(channel, &PathBuf::from(cache), &PathBuf::from(prefix), rest));
}

async fn run(channel: &str, cache: &std::path::Path, prefix: &std::path::Path, rest: &[String]) {
    let is_copy = rest.iter().any(|one| one == "--copy");
    let specs: Vec<MatchSpec> = rest
        .iter()
        .filter(|one| *one != "--copy")
        .map(|one| MatchSpec::from_str(one, ParseStrictness::Lenient).unwrap())
        .collect();
    let client = LazyClient::default();
    let packages = PackageCache::new(cache.join("packages"));
    let gateway = Gateway::builder()
        .with_cache_dir(cache.join("repodata"))
        .with_package_cache(packages.clone())
        .with_client(client.clone())
        .finish();
    let config = ChannelConfig::default_with_root_dir(PathBuf::from("/"));
    let channel = Channel::from_str(channel, &config).unwrap();
    let here = Subdir::current().unwrap();
    let query = gateway.query([channel], [here, Subdir::NoArch], specs.clone()).recursive(true);
    let found = query.execute().await.unwrap();
    let virtual_packages = ["__glibc=2.41=0", "__linux=5.10=0", "__unix=0=0"].map(|text| {
        let mut parts = text.split('=');
        GenericVirtualPackage {
            name: parts.next().unwrap().parse().unwrap(),
            version: parts.next().unwrap().parse().unwrap(),
            build_string: parts.next().unwrap().parse().unwrap(),
        }
    });
    let task = SolverTask {
        specs,
        virtual_packages: virtual_packages.into(),
        ..found.iter().map(|data| data.iter()).collect()
    };
    let records = Solver.solve(task).unwrap().records;
    let links = if is_copy {
        LinkOptions { allow_hard_links: Some(false), ..LinkOptions::default() }
    } else {
        LinkOptions::default()
    };
    let installer = Installer::new()
        .with_download_client(client)
        .with_package_cache(packages)
        .with_target_platform(here)
        .with_execute_link_scripts(false)
        .with_link_options(links);
    installer.install(prefix, records).await.unwrap();
}
