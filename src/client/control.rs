//! [`Control`]: the control protocol, from a client's side.

use super::link::{Incoming, Link};
use super::{Failure, text};
use crate::cli::EXIT_USAGE;
use crate::codec::Incoming as Scanned;
use crate::control::{CONTROL_VERSION, Json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a muxloop may take to answer what it can answer at once.
pub const PATIENCE: Duration = Duration::from_millis(900);

/// A connection that was greeted.
#[derive(Debug)]
pub struct Control {
    pub link: Link,
    pub hello: Hello,
    last_id: u64,
}

/// Who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    pub control: u32,
    pub version: String,
    pub pid: u32,
    pub config: String,
}

/// A line of the daemon. Results and parameters are JSON.
#[derive(Debug)]
pub enum Message {
    Answer { id: u64, result: Result<String, Refusal> },
    Notice { method: String, params: String },
}

/// An error as an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    pub is_about_params: bool,
    pub message: String,
}

impl Control {
    /// Connects and says hello.
    ///
    /// # Errors
    /// Nobody is there (exit code 3), does not answer in time, or speaks something else.
    pub fn open(path: &Path) -> Result<Control, Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut control = Control::begin(path)?;
        let answer = control.answer_to(HELLO_ID, deadline)?;
        control.greet(answer)?;
        Ok(control)
    }

    /// Connects and sends the hello with number [`HELLO_ID`], without waiting for the answer.
    ///
    /// # Errors
    /// Nobody is there (exit code 3), or accepts a connection.
    pub fn begin(path: &Path) -> Result<Control, Failure> {
        let link = Link::connect(path, LINE_MAX)?;
        let mut control = Control { link, hello: Hello::default(), last_id: 0 };
        control.send("hello", "{}", Instant::now() + PATIENCE)?;
        Ok(control)
    }

    /// Takes the answer to the hello.
    ///
    /// # Errors
    /// Whoever answers is no muxloop, or one of a later version.
    pub fn greet(&mut self, answer: Result<String, Refusal>) -> Result<(), Failure> {
        if let Ok(result) = &answer {
            let json = Json::new(result.as_bytes());
            self.hello = Hello {
                control: json.member("control").number() as u32,
                version: json.member("version").text(),
                pid: json.member("pid").number() as u32,
                config: json.member("config").text(),
            };
        }
        if self.hello.control == 0 {
            let path = self.link.path().display();
            return Err(Failure::other(format!(
                "{path} is not a control socket; is it the socket of a server?"
            )));
        }
        let Hello { control, version, .. } = &self.hello;
        if *control <= CONTROL_VERSION {
            return Ok(());
        }
        Err(Failure::other(format!(
            "{} is of version {}, and its control protocol {control} is newer than this program's {CONTROL_VERSION} \
             ({}); use the program that was started there",
            self.link.name(),
            text::plain(version),
            env!("CARGO_PKG_VERSION"),
        )))
    }

    /// Asks and waits. `params` is JSON.
    ///
    /// # Errors
    /// No answer within `patience`, or an error as the answer: exit code 2 if a parameter was wrong.
    pub fn call(&mut self, method: &str, params: &str, patience: Duration) -> Result<String, Failure> {
        let deadline = Instant::now() + patience;
        let id = self.send(method, params, deadline)?;
        self.answer_to(id, deadline)?.map_err(|refusal| Failure {
            code: if refusal.is_about_params { EXIT_USAGE } else { 1 },
            text: text::plain(&refusal.message),
        })
    }

    /// The next notification. Waits for ever; `None` at the end of the connection.
    ///
    /// # Errors
    /// A line that is none of the protocol.
    pub fn notice(&mut self) -> Result<Option<(String, String)>, Failure> {
        loop {
            match self.link.line(None)? {
                Incoming::End => return Ok(None),
                Incoming::Nothing => {}
                Incoming::Line(line) => {
                    if let Message::Notice { method, params } = self.read(&line)? {
                        return Ok(Some((method, params)));
                    }
                }
            }
        }
    }

    /// Waits for the end of the connection; false if `deadline` came first.
    pub fn wait_end(&mut self, deadline: Instant) -> bool {
        loop {
            match self.link.line(Some(deadline)) {
                Ok(Incoming::End) => return true,
                Ok(Incoming::Nothing) => return false,
                Ok(Incoming::Line(_)) | Err(_) => {}
            }
        }
    }

    /// Sends a request and returns its number, without waiting for the answer.
    ///
    /// # Errors
    /// The daemon is gone, or does not read.
    pub fn send(&mut self, method: &str, params: &str, deadline: Instant) -> Result<u64, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        self.link.send(&line, deadline)?;
        Ok(id)
    }

    fn answer_to(&mut self, id: u64, deadline: Instant) -> Result<Result<String, Refusal>, Failure> {
        let asked = Instant::now();
        loop {
            match self.link.line(Some(deadline))? {
                Incoming::Line(line) => match self.read(&line)? {
                    Message::Answer { id: answered, result } if answered == id || answered == 0 => {
                        return Ok(result);
                    }
                    _ => {}
                },
                Incoming::Nothing => {
                    let waited = text::duration(asked.elapsed().as_millis() as u64);
                    return Err(Failure::other(format!(
                        "{} has not answered for {waited}: it hangs, or is stopped",
                        self.link.name()
                    )));
                }
                Incoming::End => {
                    let name = self.link.name();
                    return Err(Failure::other(format!("{name} closed the connection without an answer")));
                }
            }
        }
    }

    /// A line as a message.
    ///
    /// # Errors
    /// It is none.
    pub fn read(&self, line: &[u8]) -> Result<Message, Failure> {
        let strange = || {
            let quoted: String = String::from_utf8_lossy(line).chars().take(60).collect();
            let name = self.link.path().display();
            Failure::other(format!("{name} is not a control socket: it sent {:?}", text::plain(&quoted)))
        };
        let scanned = Scanned::scan(line).map_err(|_| strange())?;
        let part = |span| Json::new(scanned.text(span));
        let id = scanned.envelope.id.map_or(0, |id| part(id).number());
        match (scanned.envelope.method, scanned.envelope.result, scanned.envelope.error) {
            (Some(method), ..) => {
                let params = scanned.envelope.params.map(|params| part(params).written()).unwrap_or_default();
                Ok(Message::Notice { method: part(method).text(), params })
            }
            (_, Some(result), _) => Ok(Message::Answer { id, result: Ok(part(result).written()) }),
            // One without a number is about a line that could not be read, so about the last one.
            (_, _, Some(error)) => {
                let is_about_params = part(error).member("code").written() == INVALID_PARAMS;
                let message = part(error).member("message").text();
                Ok(Message::Answer { id, result: Err(Refusal { is_about_params, message }) })
            }
            _ => Err(strange()),
        }
    }
}

/// Number of the hello.
pub const HELLO_ID: u64 = 1;

/// Longest line (`docs/control.md`, How), and some for the next version.
const LINE_MAX: usize = 4 << 20;

const INVALID_PARAMS: &str = "-32602";
