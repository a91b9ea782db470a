//! Several questions and several rounds of them, of a tool, a prompt or a resource.
//!
//! As in `questions`, a legacy client gets requests, all of a round at once, and a modern one gets
//! `input_required` results (protocol.md §1.2.6). Between the rounds a modern interview lives in its
//! `requestState` only.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::questions::{self, Then, Via};
use super::rpc::{Handled, Object, Request, RpcError, tool_result};
use super::server::Server;
use super::tools::Arguments;

/// What is asked, and where it leads.
#[derive(Debug, Clone)]
pub struct Plan {
    questions: Vec<(Via, String)>,
    rounds: usize,
    /// Modern: a result with nothing but state comes first.
    pause: bool,
    goal: Goal,
}

/// What the answers are made into.
#[derive(Debug, Clone)]
pub enum Goal {
    Tool,
    Prompt,
    Resource(String),
}

/// Interviews of legacy clients, by the serial of their request.
pub type Interviews = BTreeMap<u64, Interview>;

#[derive(Debug)]
pub struct Interview {
    plan: Plan,
    /// Of the rounds before.
    answers: Vec<String>,
    /// Of this round.
    round: Vec<Option<String>>,
}

impl Plan {
    /// The arguments of the tool `interview`.
    pub fn read(arguments: &Arguments) -> Result<Plan, RpcError> {
        let asked = arguments.list("questions")?;
        let mut questions = Vec::new();
        for entry in asked.into_iter().flatten() {
            let text = entry.get("question").and_then(Value::as_str).unwrap_or("How are you?");
            let via = entry.get("via").and_then(Value::as_str).unwrap_or("elicitation");
            questions.push((Via::parse(via)?, text.to_owned()));
        }
        if questions.is_empty() {
            return Err(RpcError::invalid_params("questions must not be empty"));
        }
        let rounds = arguments.number_or("rounds", 1)?.clamp(1, ROUNDS_MAX) as usize;
        Ok(Plan { questions, rounds, pause: arguments.flag("pause")?, goal: Goal::Tool })
    }

    /// One question by elicitation.
    pub fn one(question: &str, goal: Goal) -> Plan {
        Plan { questions: vec![(Via::Elicitation, question.to_owned())], rounds: 1, pause: false, goal }
    }

    fn finish(&self, answers: &[String]) -> Value {
        let text = answers.join(" | ");
        match &self.goal {
            Goal::Tool => tool_result(text, json!({ "answers": answers })),
            Goal::Prompt => {
                json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] })
            }
            Goal::Resource(uri) => {
                json!({ "contents": [{ "uri": uri, "mimeType": "text/plain", "text": text }] })
            }
        }
    }

    /// The words of a question; later rounds are numbered.
    fn words(&self, index: usize, round: usize) -> String {
        let text = &self.questions[index].1;
        if round == 0 { text.clone() } else { format!("{text} #{}", round + 1) }
    }
}

/// Asks, or goes on with what was asked.
pub fn hold(server: &mut Server, request: &Request, plan: Plan) -> Handled {
    let lacks = |via: &Via| !request.caller.can(&format!("/{}", via.capability()));
    let missing = plan.questions.iter().map(|(via, _)| *via).find(lacks);
    match missing {
        Some(via) if request.caller.modern => {
            Err(RpcError::missing_capability(json!({ via.capability(): {} })))
        }
        Some(via) => Err(unanswered(format!("the client did not declare {}", via.capability()))),
        None if request.caller.modern => proceed(request, &plan),
        None => {
            let interview = Interview { round: vec![None; plan.questions.len()], plan, answers: Vec::new() };
            server.interviews.insert(request.serial, interview);
            ask_round(server, request.serial);
            Ok(None)
        }
    }
}

fn ask_round(server: &mut Server, serial: u64) {
    let Some(interview) = server.interviews.get(&serial) else { return };
    let plan = interview.plan.clone();
    let round = interview.answers.len() / plan.questions.len();
    for (index, (via, _)) in plan.questions.iter().enumerate() {
        let params = via.params(&plan.words(index, round));
        questions::put(server, via.method(), params, Then::Interview(serial, index), false);
    }
}

/// The client answered one question of an interview.
pub fn on_answer(server: &mut Server, serial: u64, index: usize, answer: &Value) {
    let Some(interview) = server.interviews.get_mut(&serial) else { return };
    if answer["isError"] == true {
        let error = unanswered(text_of(answer));
        return server.answer(serial, Err(error));
    }
    interview.round[index] = Some(text_of(answer));
    if interview.round.iter().any(Option::is_none) {
        return;
    }
    interview.answers.extend(interview.round.iter_mut().filter_map(Option::take));
    if interview.answers.len() < interview.plan.rounds * interview.plan.questions.len() {
        return ask_round(server, serial);
    }
    let result = interview.plan.finish(&interview.answers);
    server.answer(serial, Ok(result));
}

/// The modern way: everything known so far is in the state, with a digest against alterations.
fn proceed(request: &Request, plan: &Plan) -> Handled {
    let mut answers: Vec<String> = Vec::new();
    let returned = request.params.get("requestState");
    if let Some(state) = returned {
        let state = state.as_str().unwrap_or_default();
        let known = state.split_once(' ').and_then(|(_, known)| serde_json::from_str(known).ok());
        answers = known.unwrap_or_default();
        if state != state_of(plan, &answers) {
            return Err(RpcError::invalid_params("requestState is not the one that belongs to this call"));
        }
    }
    let responses = match request.params.get("inputResponses") {
        None => None,
        Some(Value::Object(responses)) if returned.is_some() => Some(responses),
        Some(_) => return Err(RpcError::invalid_params("inputResponses must be an object that has a state")),
    };
    let count = plan.questions.len();
    let given: Option<Vec<String>> = responses.and_then(|responses| {
        (0..count)
            .map(|index| {
                let mut message = Object::new();
                message.insert("result".to_owned(), responses.get(&format!("q{index}"))?.clone());
                Some(text_of(&questions::render(&message)))
            })
            .collect()
    });
    answers.extend(given.unwrap_or_default());
    if answers.len() >= plan.rounds * count {
        return Ok(Some(plan.finish(&answers)));
    }
    let mut result = json!({ "resultType": "input_required", "requestState": state_of(plan, &answers) });
    if !plan.pause || returned.is_some() {
        let round = answers.len() / count;
        for (index, (via, _)) in plan.questions.iter().enumerate() {
            let params = via.params(&plan.words(index, round));
            result["inputRequests"][format!("q{index}")] =
                json!({ "method": via.method(), "params": params });
        }
    }
    Ok(Some(result))
}

fn state_of(plan: &Plan, answers: &[String]) -> String {
    let mut digest = DefaultHasher::new();
    (&plan.questions, plan.rounds, answers).hash(&mut digest);
    format!("interview-{:016x} {}", digest.finish(), json!(answers))
}

fn unanswered(why: String) -> RpcError {
    RpcError::new(-32603, why)
}

fn text_of(result: &Value) -> String {
    result["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

/// Longer interviews say nothing more.
const ROUNDS_MAX: u64 = 100;
