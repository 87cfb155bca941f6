//! `planqk.json`: the description of a service. Unknown keys are tolerated, since every generation of the platform added some.

use serde::Deserialize;

use crate::json::JsonError;

/// What `planqk.json` says. Source: the platform's reference of the file and the files that public services have.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanqkJson {
    /// The service's name, any text.
    pub name: Option<String>,
    /// A sentence about it, may be empty.
    pub description: Option<String>,
    /// What one execution may use.
    pub resources: Resources,
    /// `PYTHON_TEMPLATE` or `DOCKER`.
    pub runtime: Option<String>,
    /// The platform's id of the service.
    pub service_id: Option<String>,
}

/// What one execution may use.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Virtual processors; fractions are usual (0.5).
    pub cpu: Option<f64>,
    /// Memory in GB.
    pub memory: Option<f64>,
    /// Graphics processors.
    pub gpu: Option<Gpu>,
}

/// Graphics processors that a service asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Gpu {
    /// `NVIDIA_TESLA_T4` and the like; `NONE` means none.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How many.
    pub count: Option<u32>,
}

/// A `planqk.json` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanqkJsonError {
    /// It is not JSON, or a field has another type.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A number makes no sense.
    #[error("{origin}: resources.{field} is {value}, which is not {expected}")]
    Value {
        /// The file.
        origin: String,
        /// `cpu` or `memory`.
        field: &'static str,
        /// What it says.
        value: f64,
        /// What it may say.
        expected: &'static str,
    },
}

impl PlanqkJsonError {
    /// The next step.
    pub fn hint(&self) -> String {
        match self {
            Self::Json(error) => error.hint(),
            Self::Value { field: "memory", .. } => "write the memory in GB, for example \"memory\": 2".to_owned(),
            Self::Value { .. } => "write the number of processors, for example \"cpu\": 0.5".to_owned(),
        }
    }
}

impl PlanqkJson {
    /// Reads the text of the file; `origin` names it in errors.
    pub fn parse(origin: &str, text: &str) -> Result<Self, PlanqkJsonError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let found: Self = serde_json::from_str(text).map_err(|error| JsonError::new(origin, text, &error))?;
        let value =
            |field, value, expected| PlanqkJsonError::Value { origin: origin.to_owned(), field, value, expected };
        if let Some(cpu) = found.resources.cpu.filter(|cpu| !(0.01..=1024.0).contains(cpu)) {
            return Err(value("cpu", cpu, "a number of processors between 0.01 and 1024"));
        }
        if let Some(memory) = found.resources.memory.filter(|memory| !(0.001..=65536.0).contains(memory)) {
            return Err(value("memory", memory, "a number of GB between 0.001 and 65536"));
        }
        Ok(found)
    }
}

impl Resources {
    /// The default limit of a job's memory. GB is read as GiB, as the platform's own client sends it.
    pub fn memory_bytes(&self) -> Option<u64> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // parse() keeps it between 1 MB and 64 TB
        self.memory.map(|gigabytes| (gigabytes * f64::from(1u32 << 30)) as u64)
    }

    /// How many graphics processors are asked for; 0 for the type `NONE`.
    pub fn gpus(&self) -> u32 {
        match &self.gpu {
            Some(gpu) if gpu.kind.as_deref() != Some("NONE") => gpu.count.unwrap_or(u32::from(gpu.kind.is_some())),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_and_unknown_keys_tolerated() {
        let text = r#"{"name": "grizzly bear", "description": "", "resources": {"cpu": 0.5, "memory": 2, "gpu": {"type": "NONE", "count": 1}},
            "runtime": "PYTHON_TEMPLATE", "quantumBackend": "NONE", "descriptionFile": "README.md"}"#;
        let found = PlanqkJson::parse("planqk.json", text).unwrap();
        assert_eq!(found.resources.memory_bytes(), Some(2 << 30));
        assert_eq!((found.resources.cpu, found.resources.gpus()), (Some(0.5), 0));
        assert_eq!(PlanqkJson::parse("planqk.json", "{}").unwrap(), PlanqkJson::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let error = PlanqkJson::parse("planqk.json", "{\n  \"resources\": {\"cpu\": \"one\"}\n}").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("planqk.json does not say what it should: line 2, column "), "{text}");
        assert!(text.contains("string \"one\", expected a number\n"), "{text}");
        assert_eq!(error.hint(), "correct line 2 of planqk.json");
        let error = PlanqkJson::parse("planqk.json", r#"{"resources": {"memory": -1}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "planqk.json: resources.memory is -1, which is not a number of GB between 0.001 and 65536"
        );
        assert!(PlanqkJson::parse("planqk.json", "{\"resources\": {\"cpu\": 0}}").is_err());
    }
}
