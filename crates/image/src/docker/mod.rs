//! A docker daemon as a place of images: a client of the Engine API, over its socket.
//!
//! The store stays the place where images are made; the daemon gets copies and gives copies. What it has of an image is not sent again:
//! with docker's own storage that are the lowest layers that it has in the same order, with containerd's and with podman every layer.
//!
//! A daemon is not trusted further than it must be: answers are bounded in length and time, and an image that comes from it is read as any
//! stranger's archive. Podman's service speaks the same API.

mod address;
mod archive;
mod client;
mod connect;
mod error;
mod look;
mod messages;
mod pull;
mod push;

pub use address::DockerAddress;
pub use client::{Daemon, DaemonTimes};
pub use error::DockerError;
pub use look::Looked;
pub use pull::Pulled;
pub use push::Pushed;
