//! Tasks of revision 2025-11-25: a tool call that answers at once and yields its result later.
//!
//! States: working → completed | failed | cancelled, with input_required in between if the task asks something.
//! Tasks belong to the process: telling the clients behind a multiplexer apart is the multiplexer's business.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::listen::notification;
use super::questions::{self, Then};
use super::rpc::{Handled, META_TASK, Request, RpcError, tool_error, tool_result};
use super::server::{Job, Server};
use super::tools::Arguments;

/// All tasks that have not expired, by id.
#[derive(Debug, Default)]
pub struct Tasks {
    tasks: BTreeMap<String, Task>,
    created: u64,
}

#[derive(Debug)]
struct Task {
    /// Serial and progress token of the request that made it.
    serial: u64,
    token: Option<Value>,
    plan: Plan,
    status: &'static str,
    created_at: String,
    updated_at: String,
    ttl_ms: Option<u64>,
    /// The result of the tool call, once terminal and not cancelled.
    outcome: Option<Value>,
    /// Serials of `tasks/result` requests that wait for the outcome.
    waiting: Vec<u64>,
}

/// What the tool `task` was told to do.
#[derive(Debug, Clone)]
pub struct Plan {
    ms: u64,
    fail: bool,
    question: Option<String>,
}

/// What happens to a task later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStep {
    Begin,
    Finish,
    Expire,
}

impl Tasks {
    /// Whether the progress token of this request is still good although the request is answered.
    pub fn keeps_token(&self, serial: u64) -> bool {
        self.tasks.values().any(|task| task.serial == serial && !task.is_terminal())
    }
}

impl Plan {
    pub fn read(arguments: &Arguments) -> Result<Plan, RpcError> {
        Ok(Plan {
            ms: arguments.number_or("ms", 0)?,
            fail: arguments.flag("fail")?,
            question: arguments.text("question")?.map(str::to_owned),
        })
    }

    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.ms)
    }

    /// The result if nobody had to be asked.
    pub fn outcome(&self) -> Value {
        match self.fail {
            true => tool_error(format!("failed after {} ms, as asked", self.ms)),
            false => tool_result(format!("done after {} ms", self.ms), json!({ "ms": self.ms })),
        }
    }
}

impl Task {
    fn is_terminal(&self) -> bool {
        matches!(self.status, "completed" | "failed" | "cancelled")
    }

    fn to_value(&self, id: &str) -> Value {
        json!({
            "taskId": id,
            "status": self.status,
            "createdAt": self.created_at,
            "lastUpdatedAt": self.updated_at,
            "ttl": self.ttl_ms,
            "pollInterval": 50,
        })
    }
}

/// A `tools/call` with `params.task`: the CreateTaskResult.
pub fn create(server: &mut Server, request: &Request, plan: Plan) -> Handled {
    server.tasks.created += 1;
    let id = format!("task-{}-{}", std::process::id(), server.tasks.created);
    let now = timestamp(SystemTime::now());
    let task = Task {
        serial: request.serial,
        token: request.token.clone(),
        plan,
        status: "working",
        created_at: now.clone(),
        updated_at: now,
        ttl_ms: request.params.get("task").and_then(|task| task.get("ttl")).and_then(Value::as_u64),
        outcome: None,
        waiting: Vec::new(),
    };
    let result = json!({ "task": task.to_value(&id) });
    if let Some(ttl_ms) = task.ttl_ms {
        server.after(Duration::from_millis(ttl_ms), Job::Task(id.clone(), TaskStep::Expire));
    }
    server.tasks.tasks.insert(id.clone(), task);
    // Only later, so that the client knows the task before it hears of it.
    server.after(Duration::ZERO, Job::Task(id, TaskStep::Begin));
    Ok(Some(result))
}

/// A job of a task has come due; the task may be over or gone.
pub fn on_step(server: &mut Server, id: &str, step: TaskStep) {
    let Some(task) = server.tasks.tasks.get(id) else { return };
    match step {
        TaskStep::Expire => {
            settle(server, id, "cancelled", None);
            server.tasks.tasks.remove(id);
        }
        _ if task.is_terminal() => {}
        TaskStep::Begin => begin(server, id),
        TaskStep::Finish => {
            let outcome = task.plan.outcome();
            finish(server, id, outcome);
        }
    }
}

fn begin(server: &mut Server, id: &str) {
    let Some(task) = server.tasks.tasks.get_mut(id) else { return };
    let plan = task.plan.clone();
    if let Some(token) = task.token.clone() {
        let params = json!({ "progressToken": token, "progress": 1, "total": 2, "_meta": related(id) });
        server.say(&notification("notifications/progress", params));
    }
    match plan.question {
        None => server.after(plan.duration(), Job::Task(id.to_owned(), TaskStep::Finish)),
        Some(question) => {
            set_status(server, id, "input_required");
            let mut params = questions::elicitation_params(&question);
            params["_meta"] = related(id);
            questions::put(server, "elicitation/create", params, Then::Task(id.to_owned()), false);
        }
    }
}

/// The task has a result: `isError` in it makes it failed.
pub fn finish(server: &mut Server, id: &str, outcome: Value) {
    let Some(task) = server.tasks.tasks.get(id).filter(|task| !task.is_terminal()) else { return };
    if let Some(token) = task.token.clone() {
        let params = json!({ "progressToken": token, "progress": 2, "total": 2, "_meta": related(id) });
        server.say(&notification("notifications/progress", params));
    }
    let status = if outcome["isError"] == true { "failed" } else { "completed" };
    settle(server, id, status, Some(outcome));
}

/// Makes a task terminal, tells the client, and answers who waits.
fn settle(server: &mut Server, id: &str, status: &'static str, outcome: Option<Value>) {
    let Some(task) = server.tasks.tasks.get_mut(id).filter(|task| !task.is_terminal()) else { return };
    task.outcome = outcome;
    let token = task.token.clone();
    let waiting = std::mem::take(&mut task.waiting);
    set_status(server, id, status);
    server.ledger.close_token(token.as_ref());
    for serial in waiting {
        let outcome = result_of(server, id);
        server.answer(serial, outcome);
    }
}

fn set_status(server: &mut Server, id: &str, status: &'static str) {
    let Some(task) = server.tasks.tasks.get_mut(id) else { return };
    task.status = status;
    task.updated_at = timestamp(SystemTime::now());
    let params = task.to_value(id);
    server.say(&notification("notifications/tasks/status", params));
}

/// `tasks/get`, `tasks/result`, `tasks/list`, `tasks/cancel`.
pub fn serve(server: &mut Server, request: &Request) -> Handled {
    if request.method == "tasks/list" {
        let tasks = server.tasks.tasks.iter().map(|(id, task)| task.to_value(id));
        return Ok(Some(json!({ "tasks": tasks.collect::<Vec<_>>() })));
    }
    let id = request.params.get("taskId").and_then(Value::as_str).unwrap_or_default();
    let Some(task) = server.tasks.tasks.get_mut(id) else {
        return Err(RpcError::invalid_params("there is no such task"));
    };
    match request.method.as_str() {
        "tasks/get" => Ok(Some(task.to_value(id))),
        "tasks/result" if task.is_terminal() => result_of(server, id).map(Some),
        "tasks/result" => {
            task.waiting.push(request.serial);
            Ok(None)
        }
        "tasks/cancel" if task.is_terminal() => {
            Err(RpcError::invalid_params(format!("the task is already {}", task.status)))
        }
        "tasks/cancel" => {
            settle(server, id, "cancelled", None);
            questions::withdraw_task(server, id);
            Ok(server.tasks.tasks.get(id).map(|task| task.to_value(id)))
        }
        method => Err(RpcError::method_not_found(method)),
    }
}

/// What the tool call would have answered.
fn result_of(server: &Server, id: &str) -> Result<Value, RpcError> {
    let outcome = server.tasks.tasks.get(id).and_then(|task| task.outcome.clone());
    let mut outcome = outcome.ok_or_else(|| RpcError::invalid_params("the task was cancelled"))?;
    outcome["_meta"] = related(id);
    Ok(outcome)
}

fn related(id: &str) -> Value {
    json!({ META_TASK: { "taskId": id } })
}

/// ISO 8601 in UTC, whole seconds.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of so many days after 1970-01-01. Counted in years that begin in March, so that the leap
/// day is the last one.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let era = days / 146_097; // of 400 years
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_dates() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_772_323_199), "2026-02-28T23:59:59Z");
        assert_eq!(at(1_772_323_200), "2026-03-01T00:00:00Z");
    }
}
