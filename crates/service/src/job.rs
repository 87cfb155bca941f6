//! The record of one execution and its states, as PlanQK's HTTP interface names them.

use serde::{Deserialize, Serialize};

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// Nobody knows (the machine that had it is gone); leads to any other state once it is heard of again.
    Unknown,
    /// Accepted, not begun.
    Pending,
    /// Its process runs.
    Running,
    /// Ended with a result, or without one and exit code 0.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Stopped by its owner.
    Cancelled,
}

impl JobStatus {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Unknown, Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Whether a job may go from here to `to`. A final state is never left; a pending job may fail (its build did), be cancelled or begin.
    pub fn may_become(self, to: Self) -> bool {
        match self {
            Self::Unknown => to != Self::Unknown,
            Self::Pending => matches!(to, Self::Running | Self::Failed | Self::Cancelled | Self::Unknown),
            Self::Running => matches!(to, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Unknown),
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The name as the interface writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl std::fmt::Display for JobStatus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// A short word for programs: the service's own code, or `input`, `timeout`, `out_of_memory`, `output_limit`, `signal`, `exception`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// One execution of a service. Times are Unix seconds, given by whoever changes the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name, unique where it is kept.
    pub id: String,
    /// The service or image that it executes.
    pub service: String,
    status: JobStatus,
    /// When it was accepted.
    pub created_at_secs: u64,
    /// When its process began.
    pub started_at_secs: Option<u64>,
    /// When it ended.
    pub ended_at_secs: Option<u64>,
    /// Why it failed.
    pub error: Option<JobError>,
}

/// A change of state that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job {id} is {from} and cannot become {to}")]
pub struct TransitionError {
    /// Which job.
    pub id: String,
    /// Its state.
    pub from: JobStatus,
    /// The state that was asked for.
    pub to: JobStatus,
}

impl Job {
    /// A job that was just accepted.
    pub fn new(id: impl Into<String>, service: impl Into<String>, now_secs: u64) -> Self {
        Self {
            id: id.into(),
            service: service.into(),
            status: JobStatus::Pending,
            created_at_secs: now_secs,
            started_at_secs: None,
            ended_at_secs: None,
            error: None,
        }
    }

    /// Its state.
    pub fn status(&self) -> JobStatus {
        self.status
    }

    /// Changes the state and notes the time; to the same state nothing happens.
    pub fn become_status(&mut self, to: JobStatus, now_secs: u64) -> Result<(), TransitionError> {
        if self.status == to {
            return Ok(());
        }
        if !self.status.may_become(to) {
            return Err(TransitionError { id: self.id.clone(), from: self.status, to });
        }
        if to == JobStatus::Running && self.started_at_secs.is_none() {
            self.started_at_secs = Some(now_secs);
        }
        if to.is_final() {
            self.ended_at_secs = Some(now_secs);
        }
        self.status = to;
        Ok(())
    }

    /// Changes the state to failed and notes why.
    pub fn fail(&mut self, error: JobError, now_secs: u64) -> Result<(), TransitionError> {
        self.become_status(JobStatus::Failed, now_secs)?;
        self.error = Some(error);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_state_is_never_left_and_times_are_noted() {
        let mut job = Job::new("1", "bell", 10);
        assert_eq!(
            job.become_status(JobStatus::Succeeded, 11).unwrap_err().to_string(),
            "job 1 is PENDING and cannot become SUCCEEDED"
        );
        job.become_status(JobStatus::Running, 12).unwrap();
        job.become_status(JobStatus::Unknown, 13).unwrap();
        job.become_status(JobStatus::Running, 14).unwrap();
        job.fail(JobError { code: "timeout".into(), detail: "30 s".into() }, 15).unwrap();
        assert_eq!((job.started_at_secs, job.ended_at_secs), (Some(12), Some(15)));
        for to in JobStatus::ALL.into_iter().filter(|to| *to != JobStatus::Failed) {
            assert!(job.become_status(to, 16).is_err());
        }
        let text = serde_json::to_string(&job).unwrap();
        assert!(text.contains("\"status\":\"FAILED\""), "{text}");
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    }
}
