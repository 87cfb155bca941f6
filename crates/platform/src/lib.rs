//! Build, run, jobs and builders on the local machine: the engine that the commands call
