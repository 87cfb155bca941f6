//! What an image says of the service in it: labels that the job-template buildpack writes, so that an image can be executed as a job
//! without its source.

use hoist_image::Image;
use hoist_service::{Contract, Signature};

/// Generation of the contract, `G1` or `G2`.
const CONTRACT_LABEL: &str = "io.hoist.service.contract";
/// The parameters of `run`, as JSON.
const PARAMETERS_LABEL: &str = "io.hoist.service.parameters";
/// Processors, from `planqk.json`.
const CPUS_LABEL: &str = "io.hoist.service.cpus";
/// Memory in bytes, from `planqk.json`.
const MEMORY_LABEL: &str = "io.hoist.service.memory-bytes";

/// The service in an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageContract {
    /// None where the image is no service.
    pub(crate) contract: Option<Contract>,
    /// The parameters of `run`.
    pub(crate) signature: Option<Signature>,
    /// Default limit of processors.
    pub(crate) cpus: Option<f64>,
    /// Default limit of memory in bytes.
    pub(crate) memory_bytes: Option<u64>,
}

impl ImageContract {
    /// From the image's labels.
    pub(crate) fn of(image: &Image) -> Self {
        let labels = image.config().config().as_ref().and_then(|config| config.labels().clone()).unwrap_or_default();
        let number = |name: &str| labels.get(name).and_then(|text| text.parse::<f64>().ok());
        Self {
            contract: labels.get(CONTRACT_LABEL).and_then(|text| text.parse().ok()),
            signature: labels.get(PARAMETERS_LABEL).and_then(|text| serde_json::from_str(text).ok()),
            // Labels of foreign images may say anything.
            cpus: number(CPUS_LABEL).filter(|cpus| (0.01..=4096.0).contains(cpus)),
            memory_bytes: labels.get(MEMORY_LABEL).and_then(|text| text.parse().ok()).filter(|bytes| *bytes > 0),
        }
    }
}
