//! The tools of the demo server: their descriptions and what each does.
//!
//! Leaves questions to the client to `questions` and task-augmented calls to `tasks`.

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::content::COUNTER_URI;
use super::interview;
use super::kinds;
use super::listen::notification;
use super::questions;
use super::rpc::{Caller, Handled, LEVELS, Object, Request, RpcError, level_rank, tool_result};
use super::server::{End, Job, Server};
use super::tasks::{self, Plan};

/// The arguments of a tool call, with typed access. A wrong type is -32602.
pub struct Arguments<'a>(Option<&'a Object>);

impl<'a> Arguments<'a> {
    fn of(request: &'a Request) -> Result<Arguments<'a>, RpcError> {
        match request.params.get("arguments") {
            None => Ok(Arguments(None)),
            Some(Value::Object(arguments)) => Ok(Arguments(Some(arguments))),
            Some(_) => Err(RpcError::invalid_params("arguments must be an object")),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.and_then(|arguments| arguments.get(name))
    }

    fn read<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, RpcError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = || RpcError::invalid_params(format!("{name} must be {what}, not {value}"));
        read(value).map(Some).ok_or_else(wrong)
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>, RpcError> {
        self.read(name, "a string", Value::as_str)
    }

    pub fn text_or(&self, name: &str, default: &'a str) -> Result<&'a str, RpcError> {
        self.text(name).map(|text| text.unwrap_or(default))
    }

    pub fn number_or(&self, name: &str, default: u64) -> Result<u64, RpcError> {
        self.read(name, "a whole number", Value::as_u64).map(|number| number.unwrap_or(default))
    }

    pub fn list(&self, name: &str) -> Result<Option<&'a Vec<Value>>, RpcError> {
        self.read(name, "an array", Value::as_array)
    }

    /// False if absent.
    pub fn flag(&self, name: &str) -> Result<bool, RpcError> {
        self.read(name, "true or false", Value::as_bool).map(|flag| flag.unwrap_or(false))
    }

    fn require<T>(&self, name: &str, value: Option<T>) -> Result<T, RpcError> {
        value.ok_or_else(|| RpcError::invalid_params(format!("{name} is missing")))
    }
}

/// `tools/list`, in pages if `--page-size` says so. A cursor is the offset of its page.
pub fn list(server: &Server, request: &Request) -> Handled {
    let tools = descriptions(&request.caller, server.tools_added);
    let Some(size) = server.options.page_size else {
        return Ok(Some(json!({ "tools": tools })));
    };
    let offset = match request.params.get("cursor") {
        None => 0,
        Some(cursor) => cursor
            .as_str()
            .and_then(|cursor| cursor.strip_prefix("from-")?.parse().ok())
            .filter(|offset| *offset < tools.len())
            .ok_or_else(|| RpcError::invalid_params(format!("unknown cursor {cursor}")))?,
    };
    let end = (offset + size).min(tools.len());
    let mut result = json!({ "tools": tools[offset..end] });
    if end < tools.len() {
        result["nextCursor"] = json!(format!("from-{end}"));
    }
    Ok(Some(result))
}

/// `tools/call`.
pub fn call(server: &mut Server, request: &Rc<Request>) -> Handled {
    let name = request.params.get("name").and_then(Value::as_str).unwrap_or_default();
    let arguments = &Arguments::of(request)?;
    let as_task = request.caller.has_tasks() && request.params.contains_key("task");
    if as_task && !matches!(name, "task" | "task_only") {
        return Err(RpcError::new(-32601, format!("the tool {name} cannot run as a task")));
    }
    match name {
        "echo" => {
            let text = arguments.text_or("text", "")?;
            Ok(Some(tool_result(text, json!({ "text": text }))))
        }
        "add" => add(arguments),
        "sleep" => {
            let duration = Duration::from_millis(arguments.number_or("ms", 0)?);
            Nap::begin(server, request, duration, arguments.number_or("steps", 1)?, None);
            Ok(None)
        }
        "ask" => questions::ask(server, request, arguments),
        "interview" => interview::hold(server, request, interview::Plan::read(arguments)?),
        "elicit_url" => questions::elicit_url(server, request, arguments),
        "log" => log(server, request, arguments),
        "big" => big(arguments),
        "content" => kinds::content(arguments),
        "measure" => Ok(Some(kinds::measure(request.caller.modern))),
        "whoami" => Ok(Some(whoami(server, request))),
        "journal" => {
            let counts = server.ledger.counts();
            Ok(Some(tool_result(counts.to_string(), counts)))
        }
        "crash" => {
            let code = u8::try_from(arguments.number_or("code", 1)?)
                .map_err(|_| RpcError::invalid_params("code must be at most 255"))?;
            server.end_with(End::Exit(code));
            Ok(None)
        }
        "counter_add" => counter_add(server, arguments),
        "add_tool" => Ok(Some(add_tool(server))),
        "task" | "task_only" if as_task => tasks::create(server, request, Plan::read(arguments)?),
        "task_only" if request.caller.has_tasks() => {
            Err(RpcError::new(-32601, "the tool task_only runs as a task only"))
        }
        "task" => {
            let plan = Plan::read(arguments)?;
            Nap::begin(server, request, plan.duration(), 1, Some(plan.outcome()));
            Ok(None)
        }
        _ => match name.strip_prefix("dummy_").and_then(|number| number.parse::<usize>().ok()) {
            Some(number) if (1..=server.tools_added).contains(&number) => {
                Ok(Some(tool_result(format!("I am {name}."), Value::Null)))
            }
            _ => Err(RpcError::invalid_params(format!("unknown tool: {name}"))),
        },
    }
}

/// A call that takes its time: progress after every step, then the result.
pub struct Nap {
    serial: u64,
    token: Option<Value>,
    start: Instant,
    duration: Duration,
    steps: u64,
    steps_done: u64,
    result: Value,
}

impl Nap {
    fn begin(server: &mut Server, request: &Request, duration: Duration, steps: u64, result: Option<Value>) {
        let ms = duration.as_millis() as u64;
        let nap = Nap {
            serial: request.serial,
            token: request.token.clone(),
            start: Instant::now(),
            duration,
            steps: steps.clamp(1, STEPS_MAX),
            steps_done: 0,
            result: result.unwrap_or_else(|| tool_result(format!("slept {ms} ms"), json!({ "ms": ms }))),
        };
        nap.schedule(server);
    }

    fn schedule(self, server: &mut Server) {
        // Multiplied before it is divided, so that the last step comes exactly at the end.
        let part = self.duration.as_nanos() * u128::from(self.steps_done + 1) / u128::from(self.steps);
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        server.timers.add(self.start + Duration::from_nanos(part), Job::Nap(self));
    }
}

/// One step of a nap is over. A cancelled call just ends here.
pub fn on_nap(server: &mut Server, mut nap: Nap) {
    if !server.is_open(nap.serial) {
        return;
    }
    nap.steps_done += 1;
    if let Some(token) = &nap.token {
        let params = json!({ "progressToken": token, "progress": nap.steps_done, "total": nap.steps });
        server.say(&notification("notifications/progress", params));
    }
    if nap.steps_done < nap.steps {
        nap.schedule(server);
    } else {
        server.answer(nap.serial, Ok(nap.result));
    }
}

fn add(arguments: &Arguments) -> Handled {
    let term = |name| {
        arguments.require(name, arguments.read(name, "a number", |value| value.is_number().then_some(value))?)
    };
    let (a, b) = (term("a")?, term("b")?);
    let exact = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| a.checked_add(b)).map(|sum| json!(sum));
    let sum = exact.unwrap_or_else(|| json!(a.as_f64().unwrap_or_default() + b.as_f64().unwrap_or_default()));
    Ok(Some(tool_result(sum.to_string(), json!({ "sum": sum }))))
}

/// Legacy: subject to `logging/setLevel`. Modern: only if this request carries a level (protocol.md §2.6, rule L).
fn log(server: &mut Server, request: &Request, arguments: &Arguments) -> Handled {
    let level = arguments.text_or("level", "info")?;
    let rank =
        level_rank(level).ok_or_else(|| RpcError::invalid_params(format!("no such level: {level}")))?;
    let text = arguments.text_or("text", "hello")?;
    let threshold = match request.caller.modern {
        true => request.caller.log_level,
        false => Some(server.log_level),
    };
    let sent = threshold.is_some_and(|threshold| rank >= threshold);
    if sent {
        let params = json!({ "level": level, "logger": "demo", "data": text });
        for _ in 0..arguments.number_or("count", 1)? {
            server.say(&notification("notifications/message", params.clone()));
        }
    }
    let said = if sent { "sent" } else { "below the level, not sent" };
    Ok(Some(tool_result(said, json!({ "sent": sent }))))
}

fn big(arguments: &Arguments) -> Handled {
    let bytes = arguments.number_or("bytes", 1024)?;
    if bytes > BIG_MAX {
        return Err(RpcError::invalid_params(format!("bytes must be at most {BIG_MAX}")));
    }
    let mut text = PATTERN.repeat(bytes as usize / PATTERN.len() + 1);
    text.truncate(bytes as usize);
    Ok(Some(tool_result(text, Value::Null)))
}

fn whoami(server: &Server, request: &Request) -> Value {
    let mut me = server.session.describe(&request.caller);
    me["pid"] = json!(std::process::id());
    me["name"] = json!(server.options.name);
    me["requestsServed"] = json!(server.served);
    me["violations"] = json!(server.ledger.violations());
    me["unprompted"] = json!(server.questions.unprompted);
    me["logLevel"] = json!(LEVELS[server.log_level]);
    me["grandchildPid"] = json!(server.grandchild.as_ref().map(std::process::Child::id));
    tool_result(me.to_string(), me)
}

fn counter_add(server: &mut Server, arguments: &Arguments) -> Handled {
    let by = arguments.read("by", "a whole number", Value::as_i64)?.unwrap_or(1);
    server.counter = server.counter.wrapping_add(by);
    for message in server.listeners.resource_updated(COUNTER_URI) {
        server.say(&message);
    }
    Ok(Some(tool_result(server.counter.to_string(), json!({ "value": server.counter }))))
}

fn add_tool(server: &mut Server) -> Value {
    server.tools_added += 1;
    for message in server.listeners.tools_changed(server.session.is_legacy()) {
        server.say(&message);
    }
    let name = format!("dummy_{}", server.tools_added);
    tool_result(format!("added {name}"), json!({ "name": name }))
}

/// The tools that this caller can use, in an order that does not change.
fn descriptions(caller: &Caller, added: usize) -> Vec<Value> {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "number" });
    let whole = || json!({ "type": "integer", "minimum": 0 });
    let flag = || json!({ "type": "boolean" });
    let mut tools = vec![
        tool("echo", "Returns the text.", json!({ "text": text() }), &["text"]),
        tool("add", "Adds two numbers.", json!({ "a": number(), "b": number() }), &["a", "b"]),
        tool(
            "sleep",
            "Waits and reports progress after every step.",
            json!({ "ms": whole(), "steps": whole() }),
            &["ms"],
        ),
        tool(
            "ask",
            "Asks the user or the client's model and returns the answer. \
             force: ask although the capability is not declared; progress: offer a progress token.",
            json!({
                "question": text(),
                "via": { "type": "string", "enum": ["elicitation", "sampling", "roots"] },
                "force": flag(),
                "progress": flag(),
            }),
            &["question"],
        ),
        tool(
            "elicit_url",
            "Sends the user to a page. as_error: by the error -32042 instead of a request.",
            json!({ "url": text(), "message": text(), "complete_ms": whole(), "force": flag(), "as_error": flag() }),
            &[],
        ),
        tool(
            "log",
            "Writes log messages to the client.",
            json!({ "level": { "type": "string", "enum": LEVELS }, "text": text(), "count": whole() }),
            &["text"],
        ),
        tool(
            "big",
            "Returns a text of so many bytes, at most 64 MiB.",
            json!({ "bytes": whole() }),
            &["bytes"],
        ),
        tool("whoami", "Describes this process and what its client did wrong.", json!({}), &[]),
        tool("journal", "Counts the received messages per method.", json!({}), &[]),
        tool("crash", "Exits with the code, without an answer.", json!({ "code": whole() }), &[]),
        tool(
            "counter_add",
            "Changes the resource demo://counter.",
            json!({ "by": { "type": "integer" } }),
            &[],
        ),
        tool("add_tool", "Adds a tool to this list.", json!({}), &[]),
        tool(
            "interview",
            "Asks several questions at once, in rounds. pause: a result with nothing but state first.",
            json!({ "questions": { "type": "array" }, "rounds": whole(), "pause": flag() }),
            &["questions"],
        ),
        tool("content", "Returns content of these kinds.", json!({ "kinds": { "type": "array" } }), &[]),
        kinds::measure_tool(caller.modern),
    ];
    for tool in &mut tools {
        if READ_ONLY.contains(&tool["name"].as_str().unwrap_or_default()) {
            tool["annotations"] = json!({ "readOnlyHint": true });
        }
    }
    if caller.has_tasks() {
        let properties = || json!({ "ms": whole(), "fail": flag(), "question": text() });
        let mut task = tool("task", "Works for a while; can run as a task.", properties(), &[]);
        task["execution"] = json!({ "taskSupport": "optional" });
        let mut only = tool("task_only", "Works for a while, as a task only.", properties(), &[]);
        only["execution"] = json!({ "taskSupport": "required" });
        tools.extend([task, only]);
    }
    tools
        .extend((1..=added).map(|number| tool(&format!("dummy_{number}"), "Says its name.", json!({}), &[])));
    tools
}

pub fn tool(name: &str, description: &str, properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    json!({ "name": name, "description": description, "inputSchema": schema })
}

/// Tools that change nothing: a multiplexer may call them again when a process dies under them.
const READ_ONLY: [&str; 4] = ["echo", "add", "sleep", "big"];

/// More steps than this say nothing more.
const STEPS_MAX: u64 = 1_000_000;

/// What `big` repeats: not one byte only, so that a lost or repeated piece shows.
const PATTERN: &str = "0123456789abcdef";

/// 64 MiB: four times the message limit of muxloop.
const BIG_MAX: u64 = 64 * 1024 * 1024;
