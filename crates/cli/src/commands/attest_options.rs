//! What the commands that push images say of attestations.

use std::path::PathBuf;

use clap::Args;
use hoist_platform::{Attest, AttestError, AttestKey, Fault, Place};

use crate::failure::{Code, Failure, failure_from};

failure_from! {
    AttestError => |error| match error.fault() {
        Fault::App => Code::App,
        Fault::Usage => Code::Usage,
        Fault::Machine => Code::Hoist,
    },
}

/// What is attached to an image where it is pushed.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct AttestOptions {
    /// Attach to the image, in each registry that it is pushed to, its SBOM (CycloneDX and SPDX) and the provenance of its build (SLSA)
    #[arg(long)]
    attest: bool,
    /// Private key that signs what is attached in cosign's way: ECDSA P-256, in PEM, without a password. Without one it has no signature
    #[arg(long, value_name = "FILE", requires = "attest")]
    attest_key: Option<PathBuf>,
}

impl AttestOptions {
    /// What is to be attached to an image that goes to these places; refused, before anything is made, where that is not possible.
    pub(crate) fn wanted(&self, places: &[Place]) -> Result<Option<Attest>, Failure> {
        if !self.attest {
            return Ok(None);
        }
        if !places.iter().any(|place| matches!(place, Place::Registry(_))) {
            return Err(Failure::usage(
                "--attest: the image goes to no registry, and nothing can be attached to it elsewhere",
                "name one: hoist build HOST/NAME --publish --attest, or hoist image push --attest IMAGE HOST/NAME; \
                 for its SBOM alone: hoist sbom show IMAGE",
            ));
        }
        let key = self.attest_key.as_deref().map(AttestKey::read).transpose()?;
        Ok(Some(Attest { key }))
    }
}
