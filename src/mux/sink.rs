//! [`Sink`]: the verbs in which the mux speaks. Tests listen with a [`Recorder`].

use crate::base::Key;
use crate::codec::Message;
use crate::mux::Era;
use crate::mux::policy::Found;
use std::fmt;

/// A server by its place in the configuration.
pub type ServerId = usize;

/// Why a link was closed, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side closed it.
    PeerClosed,
    /// Reading or writing failed.
    Io(String),
    /// More unwritten bytes than its limit (P58).
    SlowReader,
    /// The other side said all and got all its answers.
    Finished,
    /// Refused: the server has its `max_active_clients`.
    Refused,
    /// muxloop stops, or the server was removed.
    Shutdown,
    /// The process of a child was replaced or ended.
    ProcessEnded,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::PeerClosed => f.write_str("closed by the other side"),
            CloseReason::Io(error) => f.write_str(error),
            CloseReason::SlowReader => f.write_str("does not read its messages"),
            CloseReason::Finished => f.write_str("finished"),
            CloseReason::Refused => f.write_str("refused"),
            CloseReason::Shutdown => f.write_str("muxloop is stopping"),
            CloseReason::ProcessEnded => f.write_str("its process ended"),
        }
    }
}

/// A step towards the end of a child (protocol.md §2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopStep {
    /// Close its standard input.
    CloseInput,
    /// SIGTERM to its process group.
    Terminate,
    /// SIGKILL to its process group.
    Kill,
}

/// What the mux asks of the engine. Nothing is answered within the call, but for `is_congested`.
pub trait Sink {
    /// Sends to a link; to one that is closing or gone, nothing happens.
    fn send(&mut self, to: Key, message: &Message<'_>);
    /// Sends a question to a client, asked for its request with this raw id. (Streamable HTTP has a stream for
    /// each request.)
    fn send_about(&mut self, to: Key, message: &Message<'_>, _request: &[u8]) {
        self.send(to, message);
    }
    /// Closes a link once what was sent to it is written. No `handle_closed` follows.
    fn close(&mut self, link: Key, why: CloseReason);
    /// Stops or resumes reading from a link.
    fn pause(&mut self, link: Key, paused: bool);
    /// Whether so much is unwritten towards a link that more should wait for `handle_drained`.
    fn is_congested(&self, link: Key) -> bool;
    /// Starts the process of an instance; answered by `handle_started` or `handle_start_failed`.
    fn start(&mut self, instance: Key, server: ServerId);
    /// Takes a step towards the end of an instance's process; answered by `handle_exited`.
    fn stop(&mut self, instance: Key, step: StopStep);
    /// What is believed of a server's era from now on is worth keeping for the next run; `None`: nothing is.
    fn found(&mut self, _server: ServerId, _found: Option<&Found>) {}
    /// What `Mux::memory` says of a server is news, worth keeping for the next run.
    fn learnt(&mut self, _server: ServerId) {}
}

/// One verb, as plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Send(Key, String),
    Close(Key, CloseReason),
    Pause(Key, bool),
    Start(Key, ServerId),
    Stop(Key, StopStep),
    Found(ServerId, Option<Era>),
}

/// A [`Sink`] that writes down what it hears.
#[derive(Debug, Default)]
pub struct Recorder {
    pub verbs: Vec<Verb>,
    /// Links that claim to be congested.
    pub congested: Vec<Key>,
}

impl Sink for Recorder {
    fn send(&mut self, to: Key, message: &Message<'_>) {
        let text = String::from_utf8(message.to_vec()).expect("messages are UTF-8");
        self.verbs.push(Verb::Send(to, text));
    }
    fn close(&mut self, link: Key, why: CloseReason) {
        self.verbs.push(Verb::Close(link, why));
    }
    fn pause(&mut self, link: Key, paused: bool) {
        self.verbs.push(Verb::Pause(link, paused));
    }
    fn is_congested(&self, link: Key) -> bool {
        self.congested.contains(&link)
    }
    fn start(&mut self, instance: Key, server: ServerId) {
        self.verbs.push(Verb::Start(instance, server));
    }
    fn stop(&mut self, instance: Key, step: StopStep) {
        self.verbs.push(Verb::Stop(instance, step));
    }
    fn found(&mut self, server: ServerId, found: Option<&Found>) {
        self.verbs.push(Verb::Found(server, found.map(|found| found.era)));
    }
}
