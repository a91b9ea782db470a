//! With plain names, two servers must not have tools or prompts of one name (H02). What they have is known
//! once they have run; so the lists of earlier runs decide at the start and at a reload. A name that meets
//! another later is told by [`crate::gateway::clash`].

use super::lists::ListFiles;
use crate::codec::List;
use crate::codec::edit::whole;
use crate::codec::json;
use crate::config::Config;
use crate::engine::Engine;
use crate::gateway::catalogue::{Catalogue, Naming};
use crate::mux::memory::Memory;
use std::collections::BTreeSet;

/// Looks at every endpoint that there is to be.
///
/// # Errors
/// A line for each collision, with both owners and the cures.
pub(super) fn check(config: &Config, engine: &Engine, lists: &ListFiles) -> Result<(), String> {
    if config.gateway.naming != Naming::Plain {
        return Ok(());
    }
    let place = |name: &str| config.servers.iter().position(|server| server.policy.name == name);
    let mut found = BTreeSet::new();
    for profile in config.endpoints() {
        let Some(setup) = config.gateway_setup(profile, place) else { continue };
        let memories: Vec<Option<Memory>> =
            setup.servers.iter().map(|(place, ..)| lists.known(engine, &config.servers[*place])).collect();
        let offers = setup.servers.into_iter().map(|(_, key, offer)| (key, offer));
        let mut catalogue = Catalogue::new(setup.naming, offers).filtered(setup.filters);
        for (member, memory) in memories.iter().enumerate() {
            for list in [List::Tools, List::Prompts] {
                catalogue.learn(member, list, &pages(memory.as_ref(), list));
            }
        }
        found.extend(catalogue.clashes().map(ToString::to_string));
    }
    if found.is_empty() {
        return Ok(());
    }
    let more = found.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> =
        found.into_iter().take(SHOWN).map(|clash| format!("gateway: {clash}")).collect();
    if more > 0 {
        lines.push(format!("gateway: and {more} more names of two"));
    }
    if let Some(folder) = lists.folder() {
        let folder = folder.display();
        lines.push(format!("gateway: this is what the servers had when they last ran; if they are others now, remove {folder}"));
    }
    Err(lines.join("\n"))
}

/// The arrays of items of a list.
fn pages(memory: Option<&Memory>, list: List) -> Vec<Vec<u8>> {
    let pages = memory.into_iter().flat_map(|memory| &memory.pages);
    let items = pages.filter(|page| page.method == list.method()).filter_map(|page| {
        let text = page.result.as_bytes();
        Some(json::member(text, whole(text), list.member())?.of(text).to_vec())
    });
    items.collect()
}

/// Most collisions that are told.
const SHOWN: usize = 10;
