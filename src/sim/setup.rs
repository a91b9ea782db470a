//! What a world is made of: its servers, their policies, its weather.

use super::child::Eras;
use super::choice::Choice;
use super::kernel::Weather;
use crate::engine::ServerSetup;
use crate::engine::port::SpawnSpec;
use crate::mux::policy::{EraPolicy, Heartbeat, Interactive, ServerPolicy, Share};

/// One server of a world.
pub(super) struct Setup {
    pub policy: ServerPolicy,
    pub eras: Eras,
    /// Percentage of its clients that are of 2026-07-28.
    pub modern_clients: u64,
}

impl Setup {
    fn draw(choice: &mut Choice, index: usize) -> Setup {
        let mut policy = ServerPolicy::new(format!("s{index}"));
        let eras = choice.pick(&[
            Eras::Legacy,
            Eras::Legacy,
            Eras::Legacy,
            Eras::Both,
            Eras::Modern,
            Eras::Modern,
            Eras::LegacySilent,
            Eras::LegacyFragile,
        ]);
        policy.era = match eras {
            _ if choice.chance(50) => EraPolicy::Auto,
            Eras::Modern => EraPolicy::Modern,
            _ => EraPolicy::Legacy,
        };
        policy.max_active_clients = choice.pick(&[2, 5, 20]);
        policy.max_in_flight_per_client = choice.pick(&[1, 2, 32]);
        policy.max_request_bytes = choice.pick(&[4_096, 65_536]);
        policy.lazy_start = choice.chance(40);
        policy.request_timeout_ms = choice.pick(&[400, 1_500]);
        policy.request_timeout_max_ms = policy.request_timeout_ms * choice.between(1, 3);
        policy.answer_timeout_ms = choice.pick(&[300, 300_000]);
        policy.guests_apart = choice.chance(30);
        policy.startup_timeout_ms = choice.pick(&[500, 2_000]);
        policy.restart_backoff_ms = choice.pick(&[10, 100]);
        policy.restart_backoff_max_ms = 400;
        policy.max_restarts = choice.pick(&[0, 0, 0, 3]);
        let interval_ms = choice.pick(&[150, 700]);
        let heartbeat = Heartbeat { interval_ms, timeout_ms: 200, failures_max: choice.between(1, 3) as u32 };
        policy.heartbeat = choice.chance(80).then_some(heartbeat);
        policy.idle_stop_ms = choice.chance(25).then_some(600);
        policy.stop_grace_ms = choice.pick(&[20, 150]);
        policy.share = match choice.between(0, 99) {
            0..15 => Share::Session,
            15..30 => Share::Request,
            _ => Share::Shared,
        };
        policy.interactive = choice.pick(&[
            Interactive::Off,
            Interactive::Serialize,
            Interactive::Serialize,
            Interactive::PerClient,
        ]);
        policy.spare = choice.pick(&[0, 0, 1, 3]);
        let modern_clients = choice.pick(&[0, 30, 50, 70, 100]);
        Setup { policy, eras, modern_clients }
    }

    pub fn all(choice: &mut Choice) -> Vec<Setup> {
        let count = choice.between(1, 3) as usize;
        (0..count).map(|index| Setup::draw(choice, index)).collect()
    }

    /// What the engine is told of it.
    pub fn for_engine(&self, index: usize) -> ServerSetup {
        let spawn = SpawnSpec {
            program: format!("server-{index}"),
            args: vec![index.to_string()],
            ..SpawnSpec::default()
        };
        ServerSetup { policy: self.policy.clone(), spawn, socket: String::new(), service_name: String::new() }
    }
}

impl Weather {
    /// How rough a world is.
    pub fn draw(choice: &mut Choice) -> Weather {
        if choice.chance(10) {
            return Weather::default();
        }
        Weather {
            delay_ms: choice.pick(&[0, 3, 30]),
            split: choice.pick(&[0, 30, 90]),
            stall: choice.pick(&[0, 2, 10]),
            stall_ms: choice.pick(&[50, 300]),
            hold: choice.pick(&[0, 20, 60]),
            short_write: choice.pick(&[0, 10, 60]),
            spawn_failure: choice.pick(&[0, 0, 10, 50]),
            accept_failure: choice.pick(&[0, 20]),
        }
    }
}
