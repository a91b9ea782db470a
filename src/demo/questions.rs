//! What the server asks its client: elicitation, sampling and roots, in both eras.
//!
//! A legacy client gets a JSON-RPC request and answers it. A modern one gets an `input_required` result and
//! repeats its call with the answers (protocol.md §1.2.6). Leaves the rest of `tools/call` to `tools`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Value, json};

use super::interview;
use super::listen::notification;
use super::rpc::{Handled, Object, Request, RpcError, tool_error, tool_result};
use super::server::{Job, Server};
use super::tasks;
use super::tools::Arguments;

/// Requests of ours that wait for the client. Ids count from 0, so they collide with those of other servers
/// and of most clients: whoever stands between must not mind.
#[derive(Debug, Default)]
pub struct Questions {
    next_id: u64,
    open: BTreeMap<u64, Question>,
    /// Cancelled by us; an answer on its way is no violation.
    withdrawn: BTreeSet<u64>,
    /// What the client said to `--asks-unprompted`.
    pub unprompted: Vec<Value>,
}

#[derive(Debug)]
struct Question {
    then: Then,
    /// Progress notifications of the client for it; `None` if it got no token.
    progress: Option<u64>,
}

/// What the answer is for.
#[derive(Debug)]
pub enum Then {
    /// The result of the tool call with this serial.
    Answer(u64),
    /// As above, and `notifications/elicitation/complete` some time later.
    Visit {
        serial: u64,
        elicitation_id: String,
        complete_after: Duration,
    },
    /// One of the questions of an interview, by serial and index.
    Interview(u64, usize),
    /// The result of a task.
    Task(String),
    Nothing,
}

/// How `ask` reaches the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    Elicitation,
    Sampling,
    Roots,
}

impl Via {
    /// Its name in arguments.
    pub fn parse(name: &str) -> Result<Via, RpcError> {
        match name {
            "elicitation" => Ok(Via::Elicitation),
            "sampling" => Ok(Via::Sampling),
            "roots" => Ok(Via::Roots),
            other => {
                Err(RpcError::invalid_params(format!("via: elicitation, sampling or roots, not {other}")))
            }
        }
    }

    pub fn method(self) -> &'static str {
        match self {
            Via::Elicitation => "elicitation/create",
            Via::Sampling => "sampling/createMessage",
            Via::Roots => "roots/list",
        }
    }

    pub fn capability(self) -> &'static str {
        match self {
            Via::Elicitation => "elicitation",
            Via::Sampling => "sampling",
            Via::Roots => "roots",
        }
    }

    pub fn params(self, question: &str) -> Value {
        match self {
            Via::Elicitation => elicitation_params(question),
            Via::Sampling => sampling_params(question),
            Via::Roots => json!({}),
        }
    }
}

/// The tool `ask`.
pub fn ask(server: &mut Server, request: &Request, arguments: &Arguments) -> Handled {
    let via = Via::parse(arguments.text_or("via", "elicitation")?)?;
    let question = arguments.text_or("question", "How are you?")?;
    let may = request.caller.can(&format!("/{}", via.capability()));
    if request.caller.modern {
        if !may {
            return Err(RpcError::missing_capability(json!({ via.capability(): {} })));
        }
        let entry = json!({ "method": via.method(), "params": via.params(question) });
        return require_input(request, entry, (via, question));
    }
    if !may && !arguments.flag("force")? {
        return Ok(Some(tool_error(format!("the client did not declare {}", via.capability()))));
    }
    let mut params = via.params(question);
    let progress = arguments.flag("progress")?;
    if progress {
        params["_meta"]["progressToken"] = json!(server.questions.next_id);
    }
    put(server, via.method(), params, Then::Answer(request.serial), progress);
    Ok(None)
}

/// The tool `elicit_url`.
pub fn elicit_url(server: &mut Server, request: &Request, arguments: &Arguments) -> Handled {
    let url = arguments.text_or("url", "https://demo.invalid/consent")?;
    let message = arguments.text_or("message", "Please open this page.")?;
    let may = request.caller.can("/elicitation/url");
    if request.caller.modern {
        if !may {
            return Err(RpcError::missing_capability(json!({ "elicitation": { "url": {} } })));
        }
        let params = json!({ "mode": "url", "url": url, "message": message });
        let entry = json!({ "method": "elicitation/create", "params": params });
        return require_input(request, entry, ("url", url));
    }
    if !may && !arguments.flag("force")? {
        return Ok(Some(tool_error("the client did not declare elicitation.url")));
    }
    let elicitation_id = format!("demo-{}-{}", std::process::id(), request.serial);
    let complete_after = Duration::from_millis(arguments.number_or("complete_ms", 10)?);
    let params = json!({ "mode": "url", "url": url, "message": message, "elicitationId": elicitation_id });
    if arguments.flag("as_error")? {
        server.after(complete_after, Job::ElicitationComplete(elicitation_id));
        let error = RpcError::new(-32042, "please open a page first");
        return Err(error.with_data(json!({ "elicitations": [params] })));
    }
    let then = Then::Visit { serial: request.serial, elicitation_id, complete_after };
    put(server, "elicitation/create", params, then, false);
    Ok(None)
}

/// Sends a request to the client.
pub fn put(server: &mut Server, method: &str, params: Value, then: Then, progress: bool) {
    let id = server.questions.next_id;
    server.questions.next_id += 1;
    server.questions.open.insert(id, Question { then, progress: progress.then_some(0) });
    server.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
}

/// `--asks-unprompted`: once, when the client did not just ask for anything.
pub fn ask_unprompted(server: &mut Server) {
    if std::mem::take(&mut server.options.faults.asks_unprompted) {
        let params = sampling_params("Nobody asked for this.");
        put(server, "sampling/createMessage", params, Then::Nothing, false);
    }
}

/// Takes back the questions that belonged to a request which the client cancelled.
pub fn withdraw(server: &mut Server, serial: u64) {
    let of_request = |then: &Then| match then {
        Then::Answer(own) | Then::Visit { serial: own, .. } | Then::Interview(own, _) => *own == serial,
        Then::Task(_) | Then::Nothing => false,
    };
    withdraw_if(server, of_request);
}

/// Takes back the question of a task that was cancelled.
pub fn withdraw_task(server: &mut Server, task: &str) {
    withdraw_if(server, |then| matches!(then, Then::Task(own) if own == task));
}

fn withdraw_if(server: &mut Server, matches: impl Fn(&Then) -> bool) {
    let questions = &mut server.questions;
    let ids: Vec<u64> =
        questions.open.iter().filter(|(_, open)| matches(&open.then)).map(|(id, _)| *id).collect();
    for id in ids {
        server.questions.open.remove(&id);
        server.questions.withdrawn.insert(id);
        let params = json!({ "requestId": id, "reason": "no longer needed" });
        server.say(&notification("notifications/cancelled", params));
    }
}

/// The client answered one of our requests, or believes so.
pub fn on_response(server: &mut Server, id: &Value, message: &Object) {
    let known = id.as_u64();
    let Some(question) = known.and_then(|id| server.questions.open.remove(&id)) else {
        if !known.is_some_and(|id| server.questions.withdrawn.remove(&id)) {
            server.ledger.violate(format!("a response to id {id}, which nobody waits for"));
        }
        return;
    };
    let mut result = render(message);
    if let Some(count) = question.progress {
        result["structuredContent"]["progress"] = json!(count);
    }
    match question.then {
        Then::Answer(serial) => server.answer(serial, Ok(result)),
        Then::Visit { serial, elicitation_id, complete_after } => {
            server.answer(serial, Ok(result));
            server.after(complete_after, Job::ElicitationComplete(elicitation_id));
        }
        Then::Interview(serial, index) => interview::on_answer(server, serial, index, &result),
        Then::Task(task) => tasks::finish(server, &task, result),
        Then::Nothing => server.questions.unprompted.push(Value::Object(message.clone())),
    }
}

/// Progress of the client on one of our requests.
pub fn on_progress(server: &mut Server, params: &Object) {
    let token = params.get("progressToken").unwrap_or(&Value::Null);
    let question = token.as_u64().and_then(|id| server.questions.open.get_mut(&id));
    match question.and_then(|question| question.progress.as_mut()) {
        Some(count) => *count += 1,
        None => server.ledger.violate(format!("progress for the unknown token {token}")),
    }
}

/// The params of a form with one text field.
pub fn elicitation_params(question: &str) -> Value {
    let answer = json!({ "type": "string", "title": "Answer" });
    let schema = json!({ "type": "object", "properties": { "answer": answer }, "required": ["answer"] });
    json!({ "message": question, "requestedSchema": schema })
}

fn sampling_params(question: &str) -> Value {
    let message = json!({ "role": "user", "content": { "type": "text", "text": question } });
    json!({ "messages": [message], "maxTokens": 100 })
}

/// The modern way: asks by the result, and accepts the repeated call. The state is a digest of what was asked,
/// so nothing is remembered between the two calls, and an altered or foreign state shows.
fn require_input(request: &Request, entry: Value, asked: impl Hash) -> Handled {
    let mut digest = DefaultHasher::new();
    asked.hash(&mut digest);
    let state = format!("demo-{:016x}", digest.finish());
    let responses = request.params.get("inputResponses");
    let returned = request.params.get("requestState");
    if returned.is_some_and(|returned| *returned != json!(state))
        || (responses.is_some() && returned.is_none())
    {
        return Err(RpcError::invalid_params("requestState is not the one that belongs to this call"));
    }
    if responses.is_some_and(|responses| !responses.is_object()) {
        return Err(RpcError::invalid_params("inputResponses must be an object"));
    }
    if let Some(answer) = responses.and_then(|responses| responses.get("answer")) {
        let mut message = Object::new();
        message.insert("result".to_owned(), answer.clone());
        return Ok(Some(render(&message)));
    }
    Ok(Some(json!({
        "resultType": "input_required",
        "inputRequests": { "answer": entry },
        "requestState": state,
    })))
}

/// A tool result that repeats what the client said: its words as text, all of it as structured content.
pub fn render(message: &Object) -> Value {
    let Some(result) = message.get("result") else {
        let error = message.get("error").unwrap_or(&Value::Null);
        let mut result = tool_error(format!("the client answered with an error: {error}"));
        result["structuredContent"] = json!({ "error": error });
        return result;
    };
    let text_at = |pointer| result.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let roots = result.get("roots").and_then(Value::as_array).map(|roots| {
        let uris: Vec<&str> = roots.iter().filter_map(|root| root.get("uri")?.as_str()).collect();
        uris.join(" ")
    });
    let text = text_at("/content/answer")
        .or_else(|| text_at("/content/text"))
        .or(roots)
        .or_else(|| text_at("/action"))
        .unwrap_or_else(|| result.to_string());
    tool_result(text, json!({ "answer": result }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(message: Value) -> Value {
        let Value::Object(message) = message else { unreachable!("tests pass objects") };
        render(&message)["content"][0]["text"].clone()
    }

    #[test]
    fn answers_are_repeated_in_the_words_of_the_client() {
        let accepted = json!({ "result": { "action": "accept", "content": { "answer": "fine" } } });
        assert_eq!(text_of(accepted), "fine");
        assert_eq!(text_of(json!({ "result": { "action": "decline" } })), "decline");
        assert_eq!(text_of(json!({ "result": { "content": { "type": "text", "text": "hm" } } })), "hm");
        assert_eq!(
            text_of(json!({ "result": { "roots": [{ "uri": "file:///a" }, { "uri": "file:///b" }] } })),
            "file:///a file:///b"
        );
        let failed = json!({ "error": { "code": -1, "message": "no" } });
        assert!(text_of(failed).as_str().is_some_and(|text| text.contains("\"no\"")));
    }
}
