//! The service contract: layout, planqk.json, staging, inputs, results; the job record and its states
