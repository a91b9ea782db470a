//! The server itself: takes lines, knows every open request, routes methods, runs what is due.
//!
//! Leaves to the other modules what a method does, to the reader how lines arrive and to the outbox how they go.

use std::collections::HashMap;
use std::io;
use std::process::{Child, ExitCode};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::interview::Interviews;
use super::ledger::Ledger;
use super::listen::{Listeners, notification};
use super::options::Options;
use super::outbox::Outbox;
use super::questions::Questions;
use super::reader::{self, Event};
use super::rpc::{Handled, Object, Request, RpcError, level_rank};
use super::session::{Era, Session};
use super::tasks::{TaskStep, Tasks};
use super::timers::Timers;
use super::tools::Nap;
use super::{content, process, questions, tasks, tools};

/// Runs the server until stdin ends, stdout breaks, or a fault says otherwise.
pub fn run(options: Options) -> ExitCode {
    match start(options) {
        Ok((mut server, lines)) => server.run(&lines),
        Err(Failure::Asked(code)) => ExitCode::from(code),
        Err(Failure::Io(what, error)) => {
            eprintln!("demo-server: {what}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What shall happen once.
pub enum Job {
    Respond(Value),
    Nap(Nap),
    Task(String, TaskStep),
    /// `notifications/elicitation/complete` for this elicitationId.
    ElicitationComplete(String),
}

/// How the server stops serving.
pub enum End {
    Exit(u8),
    Hang,
    CloseStdout,
}

/// The state of the process.
pub struct Server {
    pub options: Options,
    pub session: Session,
    pub ledger: Ledger,
    pub listeners: Listeners,
    pub questions: Questions,
    pub interviews: Interviews,
    pub tasks: Tasks,
    pub timers: Timers<Job>,
    pub counter: i64,
    pub tools_added: usize,
    /// Rank of `logging/setLevel`; before the first one everything is sent.
    pub log_level: usize,
    /// Requests answered so far.
    pub served: u64,
    pub grandchild: Option<Child>,
    out: Outbox,
    /// Open requests by serial, and the latest serial of each id.
    open: HashMap<u64, Rc<Request>>,
    serials: HashMap<String, u64>,
    /// Requests received so far; also the last serial given.
    received: u64,
    end: Option<End>,
    /// Tells the reader thread to stop reading.
    hung: Arc<AtomicBool>,
}

enum Failure {
    Asked(u8),
    Io(&'static str, io::Error),
}

/// Everything that happens before the first line is read.
fn start(options: Options) -> Result<(Server, Receiver<Event>), Failure> {
    let failed = |what| move |error| Failure::Io(what, error);
    let faults = &options.faults;
    if let Some(code) = faults.die_at_start {
        eprintln!("demo-server: exiting at start with code {code}, as asked");
        return Err(Failure::Asked(code));
    }
    if faults.ignore_term {
        process::ignore_signals().map_err(failed("cannot ignore signals"))?;
    }
    let grandchild = match faults.spawn_grandchild {
        true => Some(process::spawn_sleeper(&options).map_err(failed("cannot start the grandchild"))?),
        false => None,
    };
    process::flood_stderr(faults.stderr_flood).map_err(failed("cannot write to stderr"))?;
    std::thread::sleep(faults.slow_start);

    let journal = process::open_journal(&options).map_err(failed("cannot open the journal"))?;
    let out = Outbox::new(faults).map_err(failed("cannot write to stdout"))?;
    let hung = Arc::new(AtomicBool::new(false));
    let lines = reader::start(journal, Arc::clone(&hung));
    let server = Server {
        session: Session::new(&options),
        ledger: Ledger::default(),
        listeners: Listeners::default(),
        questions: Questions::default(),
        interviews: Interviews::new(),
        tasks: Tasks::default(),
        timers: Timers::new(),
        counter: 0,
        tools_added: 0,
        log_level: 0,
        served: 0,
        grandchild,
        out,
        open: HashMap::new(),
        serials: HashMap::new(),
        received: 0,
        end: None,
        hung,
        options,
    };
    Ok((server, lines))
}

impl Server {
    fn run(&mut self, lines: &Receiver<Event>) -> ExitCode {
        loop {
            while let Some(job) = self.timers.pop_due(Instant::now()) {
                self.run_job(job);
            }
            match self.next_event(lines) {
                Some(Event::Line(line)) => self.handle_line(&line),
                Some(Event::Eof) if self.options.exit_on_eof => {
                    for message in self.listeners.farewells() {
                        self.say(&message);
                    }
                    self.end.get_or_insert(End::Exit(0));
                }
                Some(Event::Eof) | None => {}
            }
            if let Some(end) = self.end.take() {
                self.flush();
                return self.stop(end);
            }
        }
    }

    /// The next line, at once if there is one; else flushes and waits for one or for the next job.
    fn next_event(&mut self, lines: &Receiver<Event>) -> Option<Event> {
        if let Ok(event) = lines.try_recv() {
            return Some(event);
        }
        self.flush();
        if self.end.is_some() {
            return None;
        }
        let until_job = match self.timers.next_deadline() {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => self.options.lifetime,
        };
        match lines.recv_timeout(until_job) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            // Stdin ended and the server was told to stay: only jobs are left, and the end of its lifetime.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(until_job);
                if self.timers.next_deadline().is_none() {
                    self.end = Some(End::Exit(0));
                }
                None
            }
        }
    }

    fn stop(&mut self, end: End) -> ExitCode {
        match end {
            End::Exit(code) => ExitCode::from(code),
            End::Hang => {
                self.hung.store(true, Ordering::Relaxed);
                eprintln!("demo-server: hanging, as asked");
                std::thread::sleep(self.options.lifetime);
                ExitCode::FAILURE
            }
            End::CloseStdout => {
                eprintln!("demo-server: closing stdout, as asked");
                let error = process::close_stdout(&self.options);
                eprintln!("demo-server: cannot close stdout: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn run_job(&mut self, job: Job) {
        match job {
            Job::Respond(response) => self.respond(&response),
            Job::Nap(nap) => tools::on_nap(self, nap),
            Job::Task(id, step) => tasks::on_step(self, &id, step),
            Job::ElicitationComplete(id) => {
                let params = json!({ "elicitationId": id });
                self.say(&notification("notifications/elicitation/complete", params));
            }
        }
    }

    // Output.

    /// Sends a notification or a request of ours.
    pub fn say(&mut self, message: &Value) {
        let sent = self.out.send(message);
        self.check_written(sent);
    }

    fn respond(&mut self, response: &Value) {
        let sent = self.out.respond(response);
        self.check_written(sent);
    }

    fn flush(&mut self) {
        let flushed = self.out.flush();
        self.check_written(flushed);
    }

    /// Without a reader there is no point in living on, unless the server was told not to mind.
    fn check_written(&mut self, written: io::Result<()>) {
        if let Err(error) = written
            && self.options.exit_on_eof
        {
            eprintln!("demo-server: stdout: {error}");
            self.end = Some(End::Exit(0));
        }
    }

    /// Schedules a job `delay` from now.
    pub fn after(&mut self, delay: Duration, job: Job) {
        self.timers.add(Instant::now() + delay, job);
    }

    /// Ends the process after this line, without any answer that is still owed.
    pub fn end_with(&mut self, end: End) {
        self.end = Some(end);
    }

    /// Whether the request still waits for its answer.
    pub fn is_open(&self, serial: u64) -> bool {
        self.open.contains_key(&serial)
    }

    /// Answers an open request; one that was cancelled meanwhile gets nothing.
    pub fn answer(&mut self, serial: u64, outcome: Result<Value, RpcError>) {
        let Some(request) = self.close(serial) else { return };
        self.served += 1;
        let faults = &self.options.faults;
        let is_refused = faults.refuse.contains(&request.method);
        let forged = faults.answers.iter().find(|(method, _)| *method == request.method);
        let forged = forged.map(|(_, result)| result.clone());
        let mut response = json!({ "jsonrpc": "2.0", "id": request.id });
        match outcome {
            _ if is_refused => {
                let error = RpcError::new(-32601, format!("{} is refused, as asked", request.method));
                response["error"] = error.to_value();
            }
            _ if forged.is_some() => response["result"] = forged.unwrap_or_default(),
            Ok(mut result) => {
                if request.caller.modern {
                    self.session.decorate(&request.method, &mut result);
                }
                response["result"] = result;
            }
            Err(error) => response["error"] = error.to_value(),
        }
        if self.options.faults.slow_answer.is_zero() {
            self.respond(&response);
        } else {
            self.after(self.options.faults.slow_answer, Job::Respond(response));
        }
        if request.caller.modern {
            questions::ask_unprompted(self);
        }
        if request.method == "initialize" {
            let flushed = self.out.start_batching();
            self.check_written(flushed);
        }
    }

    /// Forgets an open request. The token of a task outlives its request (protocol.md §2.5).
    fn close(&mut self, serial: u64) -> Option<Rc<Request>> {
        let request = self.open.remove(&serial)?;
        let id = request.id.to_string();
        if self.serials.get(&id) == Some(&serial) {
            self.serials.remove(&id);
        }
        if !self.tasks.keeps_token(serial) {
            self.ledger.close_token(request.token.as_ref());
        }
        self.listeners.close(serial);
        self.interviews.remove(&serial);
        Some(request)
    }

    // Input.

    fn handle_line(&mut self, line: &[u8]) {
        self.ledger.note_line();
        match serde_json::from_slice::<Value>(line) {
            Ok(Value::Array(messages)) if self.session.takes_batches() && !messages.is_empty() => {
                messages.into_iter().for_each(|message| self.handle_message(message));
            }
            Ok(message) => self.handle_message(message),
            Err(error) => {
                self.ledger.violate(format!("a line of {} bytes is not JSON: {error}", line.len()));
                self.refuse(&RpcError::new(-32700, "parse error"));
            }
        }
    }

    fn handle_message(&mut self, message: Value) {
        let Value::Object(mut message) = message else {
            self.ledger.violate("a message is not an object".to_owned());
            return self.refuse(&RpcError::invalid_request("not a JSON-RPC message"));
        };
        if message.get("jsonrpc") != Some(&json!("2.0")) {
            self.ledger.violate("a message without jsonrpc 2.0".to_owned());
        }
        let params = match message.remove("params") {
            None => Object::new(),
            Some(Value::Object(params)) => params,
            Some(_) => {
                self.ledger.violate("params is not an object".to_owned());
                Object::new()
            }
        };
        match (message.remove("method"), message.remove("id")) {
            (Some(Value::String(method)), None) => self.handle_notification(&method, &params),
            (Some(Value::String(method)), Some(id)) if id.is_string() || id.is_number() => {
                self.handle_request(method, id, params);
            }
            (None, Some(id)) if message.contains_key("result") || message.contains_key("error") => {
                self.ledger.note_method("(response)");
                questions::on_response(self, &id, &message);
            }
            _ => {
                self.ledger.violate("neither request, notification nor response".to_owned());
                self.refuse(&RpcError::invalid_request("not a JSON-RPC message"));
            }
        }
    }

    /// An error that belongs to no request.
    fn refuse(&mut self, error: &RpcError) {
        self.respond(&json!({ "jsonrpc": "2.0", "id": null, "error": error.to_value() }));
    }

    fn handle_request(&mut self, method: String, id: Value, params: Object) {
        self.ledger.note_method(&method);
        self.end = self.end.take().or_else(|| self.end_after(self.received));
        if self.end.is_some() {
            return;
        }
        self.received += 1;
        let token = params.get("_meta").and_then(|meta| meta.get("progressToken")).cloned();
        self.ledger.open_request(&id, token.as_ref());
        if self.session.dies_of(&method) {
            eprintln!("demo-server: exiting on {method} before initialize");
            self.end = Some(End::Exit(1));
            return;
        }
        self.open_and_serve(method, id, params, token);
        if let (1, Some(len)) = (self.received, self.options.faults.giant_line) {
            let written = self.out.send_giant(len);
            self.check_written(written);
        }
        self.end = self.end.take().or_else(|| self.end_after(self.received));
    }

    /// What the `--…-after` options ask for once so many requests were handled.
    fn end_after(&self, handled: u64) -> Option<End> {
        let faults = &self.options.faults;
        let reached = |limit: Option<u64>| limit.is_some_and(|limit| handled >= limit);
        if reached(faults.die_after) {
            Some(End::Exit(1))
        } else if reached(faults.hang_after) {
            Some(End::Hang)
        } else if reached(faults.close_stdout_after) {
            Some(End::CloseStdout)
        } else {
            None
        }
    }

    fn open_and_serve(&mut self, method: String, id: Value, params: Object, token: Option<Value>) {
        let serial = self.received;
        let era = self.session.era_of(&method, &params);
        let admitted = match (era, method.as_str()) {
            (_, "initialize") => Ok(Session::stranger()),
            (Era::Legacy, _) => self.session.admit_legacy(&method, &mut self.ledger),
            (Era::Modern, _) => self.session.admit_modern(&params),
        };
        let (caller, refusal) = match admitted {
            Ok(caller) => (caller, None),
            Err(error) => (Session::stranger(), Some(error)),
        };
        let request = Rc::new(Request { serial, id, method, params, token, caller });
        self.serials.insert(request.id.to_string(), serial);
        self.open.insert(serial, Rc::clone(&request));
        if self.is_muted(&request.method) {
            return;
        }
        let handled = match refusal {
            Some(error) => Err(error),
            None => self.serve(era, &request),
        };
        if let Some(outcome) = handled.transpose() {
            self.answer(serial, outcome);
        }
    }

    /// Whether a fault forbids to answer this method.
    fn is_muted(&self, method: &str) -> bool {
        let faults = &self.options.faults;
        faults.no_answer.iter().any(|muted| muted == method)
            || faults.hang_initialize && matches!(method, "initialize" | "server/discover")
            || faults.ignore_ping && method == "ping"
    }

    fn serve(&mut self, era: Era, request: &Rc<Request>) -> Handled {
        let modern = era == Era::Modern;
        match request.method.as_str() {
            "initialize" if modern => {
                let requested = request.params.get("protocolVersion").unwrap_or(&Value::Null);
                Err(RpcError::unsupported_version(requested))
            }
            "initialize" => self.session.initialize(&request.params, &mut self.ledger).map(Some),
            "server/discover" if modern => Ok(Some(self.session.discover())),
            "ping" if !modern && !self.options.faults.no_ping => Ok(Some(json!({}))),
            "tools/list" => tools::list(self, request),
            "tools/call" => tools::call(self, request),
            "resources/list" => Ok(Some(content::list_resources())),
            "resources/templates/list" => Ok(Some(content::list_templates())),
            "resources/read" => content::read_resource(self, request),
            "prompts/list" => Ok(Some(content::list_prompts())),
            "prompts/get" => content::get_prompt(self, request),
            "completion/complete" => content::complete(request),
            "resources/subscribe" if !modern => {
                self.listeners.subscribe(content::check_subscribable(request)?);
                Ok(Some(json!({})))
            }
            "resources/unsubscribe" if !modern => {
                self.listeners.unsubscribe(content::check_subscribable(request)?);
                Ok(Some(json!({})))
            }
            "logging/setLevel" if !modern => self.set_log_level(request),
            "subscriptions/listen" if modern => {
                let acknowledgement = self.listeners.open(request)?;
                self.say(&acknowledgement);
                Ok(None)
            }
            method if method.starts_with("tasks/") && request.caller.has_tasks() => {
                tasks::serve(self, request)
            }
            method => Err(RpcError::method_not_found(method)),
        }
    }

    fn set_log_level(&mut self, request: &Request) -> Handled {
        let level = request.params.get("level").and_then(Value::as_str);
        let rank = level.and_then(level_rank).ok_or_else(|| RpcError::invalid_params("not a log level"))?;
        self.log_level = rank;
        Ok(Some(json!({})))
    }

    fn handle_notification(&mut self, method: &str, params: &Object) {
        self.ledger.note_method(method);
        match method {
            "notifications/initialized" => {
                let era = self.session.era_of(method, params);
                self.session.note_initialized(era, &mut self.ledger);
                questions::ask_unprompted(self);
            }
            "notifications/cancelled" => self.cancel(params),
            "notifications/progress" => questions::on_progress(self, params),
            "notifications/roots/list_changed" if self.session.is_legacy() => {}
            _ => self.ledger.violate(format!("unexpected notification {method}")),
        }
    }

    /// Stops work on a request; no answer is owed then. Finished requests are a race, never seen ones a mistake.
    fn cancel(&mut self, params: &Object) {
        let id = params.get("requestId").unwrap_or(&Value::Null);
        let Some(serial) = self.serials.get(&id.to_string()).copied() else {
            if !self.ledger.has_seen(id) {
                self.ledger.violate(format!("cancelled a request that never was: {id}"));
            }
            return;
        };
        let Some(request) = self.close(serial) else { return };
        if request.method == "initialize" {
            self.ledger.violate("cancelled initialize".to_owned());
        }
        questions::withdraw(self, serial);
    }
}
