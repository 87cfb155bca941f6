//! Control groups.

use crate::wire::{Failure, Order, Usage};

/// The control groups of one run.
pub(crate) struct Cgroups {}

impl Cgroups {
    /// Makes them and sets their limits.
    pub(crate) fn create(_order: &Order, _note: &mut dyn FnMut(String)) -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Moves a process into them.
    pub(crate) fn enter(&mut self, _pid: i32) -> Result<(), Failure> {
        Ok(())
    }

    /// What was used.
    pub(crate) fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Removes them.
    pub(crate) fn remove(self) {}
}
