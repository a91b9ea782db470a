//! What the gateway is made of, changed while it runs (A08): what stays goes on undisturbed, calls included;
//! what has gone is answered; and clients hear of every list that is another now.

use super::catalogue::Catalogue;
use super::lazy::Lazy;
use super::learn::Member;
use super::serve::{Needs, State};
use super::{Floor, Gateway, Setup, Use};
use crate::base::{Key, Time};
use crate::codec::List;

impl Gateway {
    /// Makes it of other parts. A server is the same if number and key are.
    pub fn change(&mut self, now: Time, setup: Setup, floor: &mut dyn Floor) {
        let mut old: Vec<Option<Member>> = std::mem::take(&mut self.members).into_iter().map(Some).collect();
        let mut places = vec![None; old.len()];
        for (at, (server, key, _)) in setup.servers.iter().enumerate() {
            let is_same = |member: &Option<Member>| {
                member.as_ref().is_some_and(|member| member.server == *server && member.key == *key)
            };
            let known = old.iter().position(is_same);
            let member = known.and_then(|place| {
                places[place] = Some(at);
                old[place].take()
            });
            self.members.push(member.unwrap_or_else(|| Member::new(*server, key.clone())));
        }
        let offers = setup.servers.into_iter().map(|(_, key, offer)| (key, offer));
        let fresh = Catalogue::new(setup.naming, offers).filtered(setup.filters);
        let mut changed = self.catalogue.replace(fresh, &places);
        self.log_clashes();
        self.list_timeout_ms = setup.list_timeout_ms;
        if setup.lazy != self.lazy.is_some() {
            self.lazy = setup.lazy.then(Lazy::default);
            changed[List::Tools as usize] = true;
        }
        self.move_links(&old, &places, floor);
        self.reopen_parts(&places, floor);
        for list in List::ALL.into_iter().filter(|list| changed[*list as usize]) {
            self.tell_changed(list, floor);
        }
        self.look_again(now, floor);
    }

    /// A server is another under the same number, so it may do other things: it is asked again.
    pub fn on_server_changed(&mut self, now: Time, server: usize, floor: &mut dyn Floor) {
        let Some(member) = self.members.iter().position(|member| member.server == server) else { return };
        let own = |used: &Use| match used {
            Use::Hello(of) | Use::Fetch(of, _) | Use::Watch(of) => *of == member,
            Use::Call(_) | Use::Resources(..) => false,
        };
        let links: Vec<Key> = self.links.iter().filter(|(_, used)| own(used)).map(|(link, _)| link).collect();
        for link in links {
            self.drop_link(link, floor);
        }
        self.members[member].forget();
        self.look_again(now, floor);
    }

    /// Links go with their servers; a call whose server has gone is answered.
    fn move_links(&mut self, gone: &[Option<Member>], places: &[Option<usize>], floor: &mut dyn Floor) {
        for (link, used) in self.links.iter().map(|(link, used)| (link, *used)).collect::<Vec<_>>() {
            let moved = match used {
                Use::Call(job) => {
                    let Some(State::Called { member, .. }) = self.jobs.get_mut(job).map(|job| &mut job.state)
                    else {
                        continue;
                    };
                    match places[*member] {
                        Some(place) => *member = place,
                        None => {
                            let key = gone[*member].as_ref().map_or("", |member| &member.key).to_owned();
                            self.drop_link(link, floor);
                            self.fail_call(job, &key, floor);
                        }
                    }
                    continue;
                }
                Use::Hello(member) => places[member].map(Use::Hello),
                Use::Fetch(member, list) => places[member].map(|member| Use::Fetch(member, list)),
                Use::Watch(member) => places[member].map(Use::Watch),
                Use::Resources(listen, member) => places[member].map(|member| Use::Resources(listen, member)),
            };
            match (moved, self.links.get_mut(link)) {
                (Some(moved), Some(place)) => *place = moved,
                _ => self.drop_link(link, floor),
            }
        }
    }

    /// Who waits or listens does so for the servers there are now.
    fn look_again(&mut self, now: Time, floor: &mut dyn Floor) {
        let waiting = |state: &State| match state {
            State::Waiting { needs, .. } => Some(*needs),
            State::Called { .. } => None,
        };
        let needs: Vec<Needs> = self.jobs.iter().filter_map(|(_, job)| waiting(&job.state)).collect();
        for needs in needs {
            self.ask_all(now, needs, floor);
        }
        if !self.listens.is_empty() {
            // Lists that were asked for once are of interest, also those of servers that are new.
            for list in List::ALL {
                if (0..self.members.len()).any(|member| self.catalogue.knows(member, list)) {
                    self.ask_all(now, Needs::One(list), floor);
                }
            }
        }
        self.renew_hello(floor);
        self.on_learnt(now, floor);
    }

    /// What all servers together can do is told again if it is other than what was told.
    pub(super) fn renew_hello(&mut self, floor: &mut dyn Floor) {
        if self.told_hello.is_some() && self.told_hello != Some(self.discovered()) {
            // Once: the next question is answered with what is known then.
            self.told_hello = None;
            floor.renew();
        }
    }
}
