//! [`Transport`]: how a client's messages travel: lines on a socket, or HTTP.

use crate::sim::kernel::{Kernel, PipeId};
use crate::sim::ledger::Ledger;
#[cfg(feature = "http")]
use crate::sim::web::{Heard, Web};

#[derive(Debug)]
pub(super) enum Transport {
    Line(Line),
    #[cfg(feature = "http")]
    Web(Box<Web>),
}

/// A socket with one message per line.
#[derive(Debug)]
pub(super) struct Line {
    pub reads: PipeId,
    pub writes: PipeId,
    pub line: Vec<u8>,
    /// Requests that muxloop may not have read yet.
    pub unread: Vec<u64>,
}

/// What a transport gives; an empty line is its end.
#[derive(Debug, Default)]
pub(super) struct Gifts {
    pub lines: Vec<String>,
    /// Ids whose answers will not come, since the client itself broke something.
    pub forgiven: Vec<String>,
}

impl Transport {
    pub fn say(&mut self, kernel: &mut Kernel, text: &str) {
        match self {
            Transport::Line(line) => {
                let end: &[u8] = if kernel.choice.chance(5) { b"\r\n" } else { b"\n" };
                kernel.send(line.writes, &[text.as_bytes(), end].concat());
            }
            #[cfg(feature = "http")]
            Transport::Web(web) => web.say(kernel, text),
        }
    }

    /// Everything that has come; `excused`: muxloop may close it.
    #[cfg_attr(not(feature = "http"), expect(unused_variables))]
    pub fn read(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, index: usize, excused: bool) -> Gifts {
        match self {
            Transport::Line(line) => Gifts { lines: line.read(kernel, ledger, index), forgiven: Vec::new() },
            #[cfg(feature = "http")]
            Transport::Web(web) => {
                let mut gifts = Gifts::default();
                for heard in web.read(kernel, excused) {
                    match heard {
                        Heard::Line(line) => gifts.lines.push(line),
                        Heard::Resumed => ledger.counts.resumed += 1,
                        Heard::Forgiven(id) => gifts.forgiven.push(id),
                        Heard::Begun(nonce) => ledger.restart(kernel.now, nonce),
                        Heard::Wrong(why) => ledger.fail(why),
                        Heard::Closed => gifts.lines.push(String::new()),
                    }
                }
                ledger.counts.web += gifts.lines.len() as u64;
                gifts
            }
        }
    }

    /// It is about to ask something that carries a nonce.
    pub fn ask(&mut self, nonce: u64) {
        match self {
            Transport::Line(line) => line.unread.push(nonce),
            #[cfg(feature = "http")]
            Transport::Web(web) => web.unread.push(nonce),
        }
    }

    /// What is still on its way does not wait yet.
    pub fn wait_for_reader(&mut self, kernel: &Kernel, ledger: &mut Ledger) {
        let (is_read, unread) = match self {
            Transport::Line(line) => (kernel.is_read(line.writes), &mut line.unread),
            #[cfg(feature = "http")]
            Transport::Web(web) => (web.is_read(kernel), &mut web.unread),
        };
        if is_read {
            unread.clear();
        }
        unread.iter().for_each(|nonce| ledger.restart(kernel.now, *nonce));
    }

    pub fn leave(&mut self, kernel: &mut Kernel, reset: bool) {
        match self {
            Transport::Line(line) => kernel.leave(line.reads, line.writes, reset),
            #[cfg(feature = "http")]
            Transport::Web(web) => web.leave(kernel, reset),
        }
    }

    /// Says that no more comes. False: it is gone altogether by that.
    pub fn end(&mut self, kernel: &mut Kernel) -> bool {
        match self {
            Transport::Line(line) => {
                kernel.end(line.writes);
                true
            }
            #[cfg(feature = "http")]
            Transport::Web(web) => web.delete(kernel),
        }
    }

    /// Whether no message is begun.
    pub fn is_whole(&self) -> bool {
        match self {
            Transport::Line(line) => line.line.is_empty(),
            #[cfg(feature = "http")]
            Transport::Web(_) => true,
        }
    }

    #[cfg(feature = "http")]
    pub fn web(&self) -> Option<&Web> {
        match self {
            Transport::Web(web) => Some(web),
            Transport::Line(_) => None,
        }
    }

    #[cfg(feature = "http")]
    pub fn web_mut(&mut self) -> Option<&mut Web> {
        match self {
            Transport::Web(web) => Some(web),
            Transport::Line(_) => None,
        }
    }

    pub fn is_line(&self) -> bool {
        matches!(self, Transport::Line(_))
    }

    /// Whether what is said first comes first, both ways.
    pub fn is_ordered(&self) -> bool {
        #[cfg(feature = "http")]
        if let Transport::Web(web) = self {
            return web.is_ordered();
        }
        true
    }

    /// Whether ids and tokens must differ.
    pub fn tells_apart(&self) -> bool {
        #[cfg(feature = "http")]
        if let Transport::Web(web) = self {
            return web.tells_apart();
        }
        false
    }

    /// Whether its end is the client's own doing.
    pub fn has_earned_its_end(&self) -> bool {
        #[cfg(feature = "http")]
        if let Transport::Web(web) = self {
            return web.is_quiet() || web.said_too_much();
        }
        false
    }
}

impl Line {
    /// Whole lines that have come.
    fn read(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, index: usize) -> Vec<String> {
        let (bytes, ended) = kernel.recv(self.reads);
        self.line.extend(bytes);
        let mut lines = Vec::new();
        while let Some(at) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=at).collect();
            match String::from_utf8(line) {
                Ok(line) if line.len() > 1 => lines.push(line.trim_end_matches('\n').to_string()),
                Ok(_) => ledger.fail(format!("client {index} got an empty line")),
                Err(_) => ledger.fail(format!("client {index} got bytes that are not UTF-8")),
            }
        }
        if ended {
            lines.push(String::new());
        }
        lines
    }
}
