//! What can be had on a merged endpoint at this time, of whom, and what is missing and why: for operators.

use super::Gateway;
use super::learn::Hello;
use crate::base::Time;
use crate::codec::List;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub is_plain: bool,
    pub is_lazy: bool,
    /// What is offered, by list.
    pub offered: [usize; 4],
    /// Bytes of the list of tools as clients are shown it.
    pub tool_bytes: usize,
    /// Names of two, in words; the first ones.
    pub clashes: Vec<String>,
    pub clash_count: usize,
    pub members: Vec<MemberStatus>,
}

/// One server of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberStatus {
    pub key: String,
    /// What is offered of it, by list; `None`: its list was never heard.
    pub offered: [Option<usize>; 4],
    /// Why something of it may be missing, or old.
    pub missing: Option<String>,
}

impl Gateway {
    /// What it stands for now.
    pub fn status(&self, now: Time) -> Status {
        let counts = self.catalogue.counts();
        let members =
            self.members.iter().zip(counts).enumerate().map(|(at, (member, counts))| MemberStatus {
                key: member.key.clone(),
                offered: List::ALL
                    .map(|list| self.catalogue.knows(at, list).then_some(counts[list as usize])),
                missing: self.missing(now, at),
            });
        let members: Vec<MemberStatus> = members.collect();
        Status {
            is_plain: self.catalogue.is_plain(),
            is_lazy: self.lazy.is_some(),
            offered: List::ALL.map(|list| self.catalogue.offered_bytes(list).0),
            tool_bytes: match self.lazy {
                Some(_) => self.own_listing().len(),
                None => self.catalogue.offered_bytes(List::Tools).1,
            },
            clashes: self.catalogue.clashes().take(CLASHES_SHOWN).map(ToString::to_string).collect(),
            clash_count: self.catalogue.clashes().count(),
            members,
        }
    }

    fn missing(&self, now: Time, at: usize) -> Option<String> {
        let member = &self.members[at];
        let since = |since: Time| now.since(since);
        let waits =
            match (&member.hello, List::ALL.into_iter().find_map(|list| member.busy_since(Some(list)))) {
                (Hello::Asked { since: asked }, _) => Some(("server/discover".to_owned(), since(*asked))),
                (_, Some(asked)) => Some(("a list".to_owned(), since(asked))),
                _ => None,
            };
        match (waits, &member.failure) {
            (Some((what, ms)), _) if ms >= LATE_MS => {
                Some(format!("has not answered {what} for {}.{} s", ms / 1_000, ms % 1_000 / 100))
            }
            (_, Some(why)) => Some(why.clone()),
            _ => None,
        }
    }
}

/// Most clashes in words.
const CLASHES_SHOWN: usize = 10;
/// A server that is asked is not missing before this.
const LATE_MS: u64 = 1_000;
