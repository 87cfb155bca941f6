//! The local engine: one store, one machine, and what builds, runs and jobs share.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use hoist_base::{Base, BaseError, BaseLock, BaseRequest, Mirroring, ensure_base, find_base, resolve_lock};
use hoist_debian::{Keyring, Mirror, Source};
use hoist_events::Reporter;
use hoist_image::{PruneOptions, Pruned, Reference, Registries, RegistrySettings, Store};
use hoist_lifecycle::Launcher;
use hoist_sandbox::{Cancel, User};

use crate::builder::{BUILD_IMAGE_NAME, BUILDER_NAME, BuilderParts, RUN_IMAGE_NAME};
use crate::check::Foresight;
use crate::download_caches::{DownloadCaches, Held};
use crate::error::PlatformError;
use crate::host::HostTrust;
use crate::lookup::PullPolicy;
use crate::module::{UNPACKED_RECORD, forget_gone_files};
use crate::supplies::Stock;

/// Where things are and what was chosen.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The store's folder.
    pub store_dir: PathBuf,
    /// The Debian suite of the base.
    pub suite: String,
    /// A Debian mirror in place of the machine's.
    pub mirror: Option<Mirror>,
    /// A keyring in place of the machine's.
    pub keyring: Option<PathBuf>,
    /// Exactly which base this engine builds on; otherwise the one that is there.
    pub lock: Option<BaseLock>,
    /// What the builder is made of.
    pub parts: BuilderParts,
    /// How registries are reached.
    pub registries: RegistrySettings,
    /// When images that a build needs are fetched from them.
    pub pull_policy: PullPolicy,
    /// Whether no connection may be tried: what the store and its caches have is all there is.
    pub offline: bool,
}

/// Which base is wanted.
#[derive(Debug, Clone)]
pub enum BaseChoice {
    /// The one that is there; made from the newest packages if none is.
    Present,
    /// Made again from the newest packages.
    Newest,
    /// Exactly that one.
    Locked(Box<BaseLock>),
}

/// Builds, runs and executes on this machine.
pub struct LocalEngine {
    store: Store,
    settings: EngineSettings,
    host: HostTrust,
    reporter: Arc<dyn Reporter>,
    cancel: Cancel,
    registries: Registries,
    /// Images that this engine fetched.
    brought: Mutex<BTreeSet<Reference>>,
    stock: Stock,
}

/// Kind and key of the record of a lock that was chosen with `hoist base make --locked`.
const CHOSEN_LOCK: (&str, &str) = ("base-choice", "default");

/// Kinds of records that `prune --all` empties: all of them can be made again.
const REMAKABLE_RECORDS: [&str; 8] = [
    crate::bundle::RECORD,
    UNPACKED_RECORD,
    "builder",
    "base",
    hoist_lifecycle::CACHE_RECORD_KIND,
    hoist_lifecycle::SHARED_RECORD_KIND,
    crate::build::FOREIGN_CODE_RECORD,
    "import-check",
];

impl LocalEngine {
    /// Opens the store; made if it does not exist.
    pub fn open(
        settings: EngineSettings,
        host: HostTrust,
        reporter: Arc<dyn Reporter>,
        cancel: Cancel,
    ) -> Result<Self, PlatformError> {
        if let Some(lock) = &settings.lock {
            lock.check_architecture(&BaseRequest::default().architecture)?;
        }
        let store = Store::open(&settings.store_dir)?;
        let sign = cancel.clone();
        let registries = Registries::new(settings.registries.clone()).stop_when(move || sign.is_cancelled());
        Ok(Self {
            store,
            settings,
            host,
            reporter,
            cancel,
            registries,
            brought: Mutex::default(),
            stock: Stock::Shared,
        })
    }

    /// The same, with packages from somewhere else.
    #[must_use]
    pub(crate) fn with_stock(self, stock: Stock) -> Self {
        Self { stock, ..self }
    }

    /// The same, trusting what another machine trusts.
    #[must_use]
    pub(crate) fn with_host(self, host: HostTrust) -> Self {
        Self { host, ..self }
    }

    /// One more engine on the same store, as this one was opened.
    pub(crate) fn again(&self) -> Result<Self, PlatformError> {
        Self::open(self.settings.clone(), self.host.clone(), Arc::clone(&self.reporter), self.cancel.clone())
    }

    pub(crate) fn stock(&self) -> &Stock {
        &self.stock
    }

    /// How this engine reaches registries.
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    pub(crate) fn was_brought(&self, name: &Reference) -> bool {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    pub(crate) fn note_brought(&self, name: &Reference) {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn reporter(&self) -> &dyn Reporter {
        &*self.reporter
    }

    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    pub(crate) fn launcher(&self) -> Launcher<'static> {
        self.settings.parts.launcher
    }

    /// What the builder's buildpacks would say of a staged app.
    pub(crate) fn foresee(&self, app_dir: &Path, variables: &[(String, String)]) -> Foresight {
        (self.settings.parts.foresee)(app_dir, variables, &self.settings.suite)
    }

    pub(crate) fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    pub(crate) fn parts(&self) -> &BuilderParts {
        &self.settings.parts
    }

    /// Whether this engine works on exactly one base.
    pub(crate) fn has_lock(&self) -> bool {
        self.settings.lock.is_some()
    }

    pub(crate) fn host(&self) -> &HostTrust {
        &self.host
    }

    /// The base: found, or made.
    pub fn base(&self, choice: &BaseChoice) -> Result<Base, PlatformError> {
        if let Some(base) = self.supplied_base() {
            return base;
        }
        let _held = self.hold_caches()?;
        let mut request = self.base_request()?;
        if self.is_offline() {
            let missing = || PlatformError::NoBaseOffline { suite: request.suite.clone() };
            return find_base(&self.store, &request)?.ok_or_else(missing);
        }
        match choice {
            BaseChoice::Present => {}
            BaseChoice::Newest => {
                request.update = true;
                request.lock = None;
            }
            BaseChoice::Locked(lock) => request.lock = Some((**lock).clone()),
        }
        let base = ensure_base(&self.store, &request, &|| self.mirroring(), self.reporter())
            .map_err(|error| if self.cancel.is_cancelled() { PlatformError::Cancelled } else { error.into() })?;
        match choice {
            BaseChoice::Present => {}
            BaseChoice::Newest => {
                self.store.remove_record(CHOSEN_LOCK.0, CHOSEN_LOCK.1)?;
            }
            BaseChoice::Locked(lock) => {
                self.store.put_record(CHOSEN_LOCK.0, CHOSEN_LOCK.1, lock, &[])?;
                self.warn_of_other_suite(lock);
            }
        }
        Ok(base)
    }

    /// What the base would be made of today; nothing is fetched or made.
    pub fn newest_base_lock(&self) -> Result<BaseLock, PlatformError> {
        let _held = self.hold_caches()?;
        let request = BaseRequest { lock: None, ..self.base_request()? };
        Ok(resolve_lock(&request, &self.mirroring()?, self.reporter())?)
    }

    /// A base that was chosen for a suite counts where that suite is asked for.
    fn warn_of_other_suite(&self, lock: &BaseLock) {
        let (own, set) = (&lock.suite, &self.settings.suite);
        if own != set {
            let text = format!("the lock is of {own}, and commands take {set} unless they are told otherwise");
            self.reporter()
                .warn(&text, Some(&format!("hoist config set suite {own}, or --suite {own} with each command")));
        }
    }

    /// The base that was chosen by a lock stays chosen until it is updated; this engine's own lock goes before it.
    fn base_request(&self) -> Result<BaseRequest, PlatformError> {
        let chosen = || self.store.record::<BaseLock>(CHOSEN_LOCK.0, CHOSEN_LOCK.1);
        let lock = match &self.settings.lock {
            Some(lock) => Some(lock.clone()),
            None => chosen()?.filter(|lock| lock.suite == self.settings.suite),
        };
        Ok(BaseRequest { suite: self.settings.suite.clone(), lock, ..BaseRequest::default() })
    }

    fn mirroring(&self) -> Result<Mirroring, BaseError> {
        let mut mirroring =
            Mirroring::of_machine(Path::new("/"), self.settings.mirror.clone(), &self.host_cache_dir())?;
        if let Some(path) = &self.settings.keyring {
            mirroring.keyring = Keyring::read(path).map_err(|source| BaseError::Keyring { source })?;
        }
        let cancel = self.cancel.clone();
        mirroring.fetcher = mirroring.fetcher.stop_when(move || cancel.is_cancelled());
        Ok(mirroring)
    }

    /// Sources and keyring for buildpacks that fetch Debian packages.
    pub(crate) fn apt_binding(&self) -> Result<(Vec<Source>, Vec<u8>), PlatformError> {
        if let Some(supplies) = self.supplies() {
            return Ok((supplies.sources.clone(), supplies.keyring.clone()));
        }
        let mirroring = self.mirroring()?;
        Ok((mirroring.portable_sources()?, mirroring.keyring.to_bytes()))
    }

    /// Where what bundles brought lies, each below its digest.
    pub(crate) fn bundles_dir(&self) -> PathBuf {
        self.store.root_dir().join("bundles")
    }

    fn download_caches(&self) -> DownloadCaches {
        DownloadCaches::new(self.store.root_dir().join("cache"))
    }

    /// Keeps the download caches where they are while something is built with them.
    pub(crate) fn hold_caches(&self) -> Result<Held, PlatformError> {
        let failed = |source| PlatformError::scratch("hold the download caches", source);
        self.download_caches().hold().map_err(failed)
    }

    /// Indexes and packages that hoist itself fetched. Only this process reads and writes it.
    pub(crate) fn host_cache_dir(&self) -> PathBuf {
        self.store.root_dir().join("cache/host")
    }

    /// Downloads of hoist's own buildpacks, which write it as the build user.
    pub(crate) fn build_cache_dir(&self) -> Result<PathBuf, PlatformError> {
        use std::os::unix::fs::MetadataExt;
        let dir = match &self.stock {
            Stock::Shared => self.store.root_dir().join("cache/build"),
            Stock::Collected(dir) => dir.clone(),
            Stock::Supplied(supplies) => supplies.cache_dir.clone(),
        };
        fs::create_dir_all(&dir).map_err(|source| PlatformError::scratch("make the cache folder", source))?;
        let own = nix::unistd::geteuid();
        let wanted = if own.is_root() { hoist_base::BUILD_UID } else { own.as_raw() };
        let about = fs::metadata(&dir).map_err(|source| PlatformError::scratch("look at the cache folder", source))?;
        if about.uid() == wanted {
            return Ok(dir);
        }
        if !own.is_root() {
            return Err(PlatformError::CacheOwner { dir, owner: about.uid(), user: wanted });
        }
        self.give_to(&dir, User { uid: hoist_base::BUILD_UID, gid: hoist_base::GID })?;
        Ok(dir)
    }

    /// Gives a host file or folder to a user of the sandbox. For an ordinary user everything is theirs, and so is the sandbox's user.
    #[allow(clippy::unused_self)] // which users there are is a matter of the engine
    pub(crate) fn give_to(&self, path: &Path, user: User) -> Result<(), PlatformError> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))
            .map_err(|source| PlatformError::scratch(format!("give {} to the build user", path.display()), source))
    }

    /// Bytes of the download caches.
    pub fn shared_cache_bytes(&self) -> Result<u64, PlatformError> {
        let failed = |source| PlatformError::scratch("measure the download caches", source);
        let shared = bytes_below(&self.store.root_dir().join("cache")).map_err(failed)?;
        Ok(shared + bytes_below(&self.bundles_dir()).map_err(failed)?)
    }

    /// Removes what nothing refers to; with `all` also caches, builder and base, which are made again when they are needed. Download caches that
    /// another hoist builds with stay.
    pub fn prune(&self, options: PruneOptions, all: bool) -> Result<Pruned, PlatformError> {
        let mut cache_bytes = 0;
        if all {
            // Held until nothing is removed any more: a build that begins meanwhile waits.
            let failed = |source| PlatformError::scratch("look whether the download caches are used", source);
            let caches = self.download_caches().unused().map_err(failed)?;
            if caches.is_some() {
                cache_bytes = self.shared_cache_bytes()?;
            } else {
                let text = "the download caches stay: another hoist builds with them";
                self.reporter().warn(text, Some("when it has ended: hoist system prune --all"));
            }
            if !options.dry_run {
                self.forget_everything_remakable()?;
                let failed = |source| PlatformError::scratch("remove the download caches", source);
                caches.map_or(Ok(()), |caches| caches.remove().map_err(failed))?;
                self.forget_bundles()?;
            }
        }
        let mut pruned = self.store.prune(options)?;
        if !options.dry_run {
            self.forget_gone_builders()?;
            self.forget_gone_builds()?;
            forget_gone_files(&self.store)?;
        }
        pruned.bytes += cache_bytes;
        Ok(pruned)
    }

    fn forget_everything_remakable(&self) -> Result<(), PlatformError> {
        for kind in REMAKABLE_RECORDS {
            for record in self.store.records(kind)? {
                self.store.remove_record(kind, &record.key)?;
            }
        }
        for name in [BUILDER_NAME, BUILD_IMAGE_NAME, RUN_IMAGE_NAME] {
            self.store.remove_name(&name.parse()?)?;
        }
        Ok(())
    }
}

fn bytes_below(dir: &Path) -> std::io::Result<u64> {
    let mut total = 0;
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // A folder that another hoist removed meanwhile, or that there never was.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                total += about.len();
            }
        }
    }
    Ok(total)
}
