//! Which muxloop is meant: by socket, by configuration, or the only one that runs.

use super::control::Control;
use super::link::Link;
use super::{EXIT_NOT_RUNNING, Failure};
use crate::config::{Config, Surroundings};
use crate::control::path::{self, Place};
use std::fs;
use std::path::{Path, PathBuf};

/// What the command line says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub config: Option<PathBuf>,
    /// `--control`, `--socket` or `MUXLOOP_CONTROL`.
    pub control: Option<PathBuf>,
}

impl Target {
    /// Connects to the muxloop that is meant.
    ///
    /// # Errors
    /// None is meant (exit code 2), it does not run (3), or it cannot be talked to (1).
    pub fn open(&self, surroundings: &Surroundings) -> Result<Control, Failure> {
        let places = self.places(surroundings)?;
        let mut first = None;
        for place in &places {
            match Control::open(place) {
                Err(failure) if failure.code == EXIT_NOT_RUNNING => first = first.or(Some(failure)),
                done => return done,
            }
        }
        let mut failure = first.unwrap_or_else(|| Failure::not_running("no place to look for it"));
        if self.control.is_none() {
            let others = live(surroundings);
            if !others.is_empty() {
                failure.text.push_str(&format!("; others run: {}", list(&others)));
            }
        }
        Err(failure)
    }

    /// The sockets to try, in order.
    ///
    /// # Errors
    /// As [`Target::open`].
    pub fn places(&self, surroundings: &Surroundings) -> Result<Vec<PathBuf>, Failure> {
        if let Some(given) = &self.control {
            return match path::place(Some(given), None, Path::new(""), surroundings) {
                Ok(Place::At(path)) => Ok(vec![path]),
                Ok(Place::Off) => Err(Failure::usage("--control off: there is nobody to talk to")),
                Err(why) => Err(Failure::usage(why)),
            };
        }
        let config = match &self.config {
            Some(named) => Some(existing(named, surroundings)?),
            None => surroundings.default_configs().into_iter().find(|path| path.exists()),
        };
        let daemon = of_project(self.config.as_deref(), surroundings);
        match config {
            Some(config) => {
                let mut places = of_config(&config, surroundings)?;
                places.extend(daemon);
                Ok(places)
            }
            None => match daemon.filter(|path| path.exists()) {
                Some(path) => Ok(vec![path]),
                None => only_one(surroundings).map(|path| vec![path]),
            },
        }
    }
}

/// The project's daemon (`muxloop connect`).
#[cfg(all(feature = "control", feature = "gateway"))]
fn of_project(config: Option<&Path>, surroundings: &Surroundings) -> Option<PathBuf> {
    let project = crate::connect::project::Project::find(config, None, surroundings).ok()?;
    Some(project.state.control())
}

#[cfg(not(all(feature = "control", feature = "gateway")))]
fn of_project(_: Option<&Path>, _: &Surroundings) -> Option<PathBuf> {
    None
}

/// The configuration that was named, with `~` expanded.
fn existing(named: &Path, surroundings: &Surroundings) -> Result<PathBuf, Failure> {
    let path = match named.to_str() {
        Some(text) => {
            surroundings.expand(text).map_err(|why| Failure::usage(format!("--config {text}: {why}")))?
        }
        None => named.to_owned(),
    };
    match path.exists() {
        true => Ok(path),
        false => Err(Failure::usage(format!("{}: no such file", path.display()))),
    }
}

fn of_config(config: &Path, surroundings: &Surroundings) -> Result<Vec<PathBuf>, Failure> {
    // A file that is being edited, and is wrong at the moment, still names the muxloop that runs it.
    let key = Config::load(config, surroundings).ok().and_then(|loaded| loaded.config.control);
    match path::place(None, key.as_deref(), config, surroundings) {
        Ok(Place::At(_)) if key.is_none() => {
            let name = path::file_name(config);
            Ok(path::run_directories(surroundings).iter().map(|directory| directory.join(&name)).collect())
        }
        Ok(Place::At(path)) => Ok(vec![path]),
        Ok(Place::Off) => Err(Failure::other(format!(
            "{} has control = \"off\": whether it runs cannot be told",
            config.display()
        ))),
        Err(why) => Err(Failure::usage(why)),
    }
}

/// Without a configuration: who runs at all?
fn only_one(surroundings: &Surroundings) -> Result<PathBuf, Failure> {
    let mut live = live(surroundings);
    match live.len() {
        0 => {
            let places: Vec<String> =
                path::run_directories(surroundings).iter().map(|path| path.display().to_string()).collect();
            Err(Failure::not_running(format!("no muxloop in {}", places.join(" or "))))
        }
        1 => Ok(live.remove(0)),
        several => Err(Failure::usage(format!(
            "{several} of them run; name one with -c FILE or --control PATH: {}",
            list(&live)
        ))),
    }
}

/// Control sockets at which somebody listens.
fn live(surroundings: &Surroundings) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let in_run = path::run_directories(surroundings).into_iter().flat_map(entries);
    let is_control = |name: std::ffi::OsString| name.to_str().is_some_and(path::is_control_name);
    let in_run = in_run.filter(|entry| is_control(entry.file_name())).map(|entry| entry.path());
    let projects = surroundings.home.iter().flat_map(|home| entries(home.join(path::PROJECTS)));
    let of_projects = projects.map(|entry| entry.path().join(path::PROJECT_CONTROL));
    // One that hangs is live as well, and will say so when it is talked to.
    let answers = |path: &PathBuf| match Link::connect(path, 1) {
        Ok(_) => true,
        Err(failure) => failure.code != EXIT_NOT_RUNNING,
    };
    let mut found: Vec<PathBuf> = in_run.chain(of_projects).filter(answers).collect();
    found.sort();
    found
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("\n  {}", path.display())).collect()
}
