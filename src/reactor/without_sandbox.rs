//! No sandboxes: for other systems than Linux, and for builds without the feature `sandbox`.

use crate::engine::sandbox::{Abilities, Sandbox};
use std::io;
use std::path::PathBuf;

/// Nothing.
pub fn abilities() -> Abilities {
    Abilities { nothing: Some(WHY), ..Abilities::default() }
}

/// A sandbox that cannot be had.
#[derive(Debug)]
pub(super) enum Confinement {}

impl Confinement {
    /// # Errors
    /// Always.
    pub fn prepare(_sandbox: &Sandbox, _programs: &[PathBuf]) -> Result<Confinement, String> {
        Err(format!("sandbox: {WHY}"))
    }

    pub fn enter(&self) -> io::Result<()> {
        match *self {}
    }
}

const WHY: &str = match cfg!(target_os = "linux") {
    true => "this build of muxloop has no sandbox; build it with the feature `sandbox`",
    false => "there are sandboxes on Linux only",
};
