//! [`World`]: engine, kernel, actors and ledger, and the loop that turns them.

mod check;
mod operator;
mod sabotage;
#[cfg(feature = "http")]
mod web;

pub use sabotage::Sabotage;

use super::Counts;
use super::child::{Child, Nature};
use super::choice::Choice;
use super::client::Client;
use super::kernel::{Handle, Kernel, Task, Weather};
use super::ledger::Ledger;
use super::setup::Setup;
use crate::base::Time;
use crate::capture::{Recorder, Tape};
use crate::engine::Engine;
use crate::engine::port::Ready;
use crate::mux::Era;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::rc::Rc;

/// What a world came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of every event, in order.
    pub trace_hash: u64,
    pub events: u64,
    pub turns: u64,
    pub virtual_ms: u64,
    pub clients: usize,
    /// Processes that were started.
    pub processes: usize,
    pub counts: Counts,
}

/// What went wrong in a world, with its newest events.
#[derive(Clone, Debug)]
pub struct Failure {
    pub why: Vec<String>,
    pub trace: Vec<String>,
}

struct World {
    engine: Engine,
    #[cfg(feature = "http")]
    http: web::Http,
    kernel: Rc<RefCell<Kernel>>,
    clients: Vec<Client>,
    children: Vec<Child>,
    ledger: Ledger,
    setups: Vec<Setup>,
    sabotage: Sabotage,
    /// An answer that waits to be swapped.
    held: Option<(usize, String)>,
    /// Clients of servers that were taken out: muxloop may close them.
    released: BTreeSet<usize>,
    done: bool,
    active: bool,
    calm: bool,
    stopping: bool,
    turns: u64,
    idle_turns: u64,
    turns_now: u64,
    /// What the engine is given and does, if somebody wants to know.
    tape: Tape,
}

/// Lives through the world of a seed.
///
/// # Errors
/// Promises that muxloop broke.
///
/// # Panics
/// If muxloop does, with the newest events on standard error.
pub fn run(seed: u64) -> Result<Report, Failure> {
    run_sabotaged(seed, Sabotage::None)
}

/// The same, recorded to `out` (`docs/capture.md`).
///
/// # Errors
/// As [`run`].
pub fn run_recorded(seed: u64, out: Box<dyn Write>) -> Result<Report, Failure> {
    let tape = Tape::to(out);
    let report = World::new(Choice::from_seed(seed), Sabotage::None, tape.clone()).live(ACTIVE_MS)?;
    tape.end();
    Ok(report)
}

/// The same, with damage done on purpose.
///
/// # Errors
/// As [`run`]; if the damage could be done at all, there should be one.
pub fn run_sabotaged(seed: u64, sabotage: Sabotage) -> Result<Report, Failure> {
    World::new(Choice::from_seed(seed), sabotage, Tape::default()).live(ACTIVE_MS)
}

/// The fuzz target `world`: every choice is taken from `data` until it is used up, then it is calm.
///
/// # Panics
/// If muxloop panics or breaks a promise.
pub fn world_from_bytes(data: &[u8]) {
    if let Err(failure) =
        World::new(Choice::from_bytes(data), Sabotage::None, Tape::default()).live(ACTIVE_MS)
    {
        panic!("{failure}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.trace {
            writeln!(f, "  {event}")?;
        }
        for why in self.why.iter().take(10) {
            writeln!(f, "* {why}")?;
        }
        Ok(())
    }
}

impl World {
    fn new(mut choice: Choice, sabotage: Sabotage, tape: Tape) -> World {
        let setups = Setup::all(&mut choice);
        let weather = Weather::draw(&mut choice);
        let seed = choice.next();
        let mut kernel = Kernel::new(choice, weather, setups.len() + 1);
        kernel.trace.add(Time::ZERO, format_args!("{weather:?}"));
        for setup in &setups {
            kernel.trace.add(Time::ZERO, format_args!("{:?} {:?}", setup.eras, setup.policy));
        }
        let engine: Vec<_> =
            setups.iter().enumerate().map(|(index, setup)| setup.for_engine(index)).collect();
        tape.header(&engine, seed, 0);
        #[cfg(feature = "http")]
        let http = web::Http::draw(&mut kernel.choice);
        World {
            engine: Engine::new(engine, seed),
            #[cfg(feature = "http")]
            http,
            kernel: Rc::new(RefCell::new(kernel)),
            clients: Vec::new(),
            children: Vec::new(),
            ledger: Ledger::new(setups.iter().map(|setup| setup.policy.clone()).collect()),
            setups,
            sabotage,
            held: None,
            released: BTreeSet::new(),
            done: false,
            active: true,
            calm: false,
            stopping: false,
            turns: 0,
            idle_turns: 0,
            turns_now: 0,
            tape,
        }
    }

    fn live(mut self, active_ms: u64) -> Result<Report, Failure> {
        let mut platform = Handle(self.kernel.clone());
        #[cfg(feature = "http")]
        self.open_http();
        self.tape.begin(Time::ZERO);
        match self.tape.is_on() {
            false => self.engine.begin(Time::ZERO, &mut platform),
            true => self.engine.begin(Time::ZERO, &mut Recorder::new(&mut platform, &self.tape)),
        }
        let until = Time(self.kernel.borrow_mut().choice.between(active_ms / 4, active_ms));
        self.first_age(until);
        let abrupt = self.kernel.borrow_mut().choice.chance(20);
        if !abrupt {
            self.second_age();
        }
        self.third_age(abrupt);
        self.verdict()
    }

    fn verdict(self) -> Result<Report, Failure> {
        let kernel = self.kernel.borrow();
        if !self.ledger.violations.is_empty() {
            return Err(Failure { why: self.ledger.violations.clone(), trace: kernel.trace.newest() });
        }
        Ok(Report {
            trace_hash: kernel.trace.hash(),
            events: kernel.trace.events,
            turns: self.turns,
            virtual_ms: kernel.now.0,
            clients: self.clients.len(),
            processes: kernel.processes.len(),
            counts: self.ledger.counts,
        })
    }

    fn broken(&self) -> bool {
        !self.ledger.violations.is_empty()
    }

    /// Clients come, everything goes wrong.
    fn first_age(&mut self, until: Time) {
        let most = self.kernel.borrow_mut().choice.between(2, CLIENTS_MAX);
        let mut next = Time::ZERO;
        let mut operator = self.hire_operator();
        while !self.broken() {
            let now = self.kernel.borrow().now;
            let spent = self.kernel.borrow().choice.is_spent();
            if now >= until || spent {
                return;
            }
            if now >= next && (self.clients.len() as u64) < most {
                self.connect();
                next = now + self.kernel.borrow_mut().choice.between(0, 300);
            }
            let order = self.operate(&mut operator).unwrap_or(until);
            self.advance(next.max(now + 1).min(order).min(until));
        }
    }

    fn connect(&mut self) {
        let mut kernel = self.kernel.borrow_mut();
        let server = kernel.choice.below(self.setups.len());
        let modern = kernel.choice.chance(self.setups[server].modern_clients);
        let era = if modern { Era::Modern } else { Era::Legacy };
        let index = self.clients.len();
        #[cfg(feature = "http")]
        let client = match kernel.choice.chance(45) {
            true => {
                let terms = self.http.terms(&self.setups, server);
                Client::browse(&mut kernel, &mut self.ledger, index, server, era, terms)
            }
            false => Client::connect(&mut kernel, index, server, era),
        };
        #[cfg(not(feature = "http"))]
        let client = Client::connect(&mut kernel, index, server, era);
        drop(kernel);
        self.clients.push(client);
    }

    /// Faults end; whatever is owed is given.
    fn second_age(&mut self) {
        if self.broken() {
            return;
        }
        self.active = false;
        self.calm = true;
        let mut kernel = self.kernel.borrow_mut();
        let now = kernel.now;
        kernel.trace.add(now, format_args!("--- calm"));
        kernel.weather = Weather::default();
        drop(kernel);
        self.children.iter_mut().for_each(Child::calm);
        self.make_up();
        let patience = (0..self.setups.len()).map(|server| self.ledger.patience_ms(server)).max();
        let until = now + 2 * patience.unwrap_or(0) + 2_000;
        self.run_until(until);
        if self.broken() {
            return;
        }
        self.ledger.check_answered();
        let kernel = self.kernel.borrow();
        for client in &self.clients {
            client.check(&kernel, &mut self.ledger);
        }
        for child in self.children.iter().filter(|child| child.is_serving(&kernel)) {
            let server = kernel.processes[child.index].server;
            self.ledger.check_questions(kernel.now, child.index, server);
        }
        drop(kernel);
        self.check_sizes(false);
    }

    /// All leave, muxloop stops, nothing remains.
    fn third_age(&mut self, abrupt: bool) {
        if self.broken() {
            return;
        }
        self.active = false;
        let now = self.kernel.borrow().now;
        self.kernel.borrow_mut().trace.add(now, format_args!("--- end (abrupt: {abrupt})"));
        if !abrupt {
            let mut kernel = self.kernel.borrow_mut();
            for client in &mut self.clients {
                client.leave(&mut kernel, &mut self.ledger, false);
            }
            drop(kernel);
            #[cfg(feature = "http")]
            let now = now + 2 * self.http.session_timeout_ms;
            self.run_until(now + 3_000);
            // A list that has just changed again has a timer for a moment.
            for wait in (0..5).map(|n| now + 3_000 + n * 130) {
                self.run_until(wait);
                if self.surplus_timers(true) == 0 {
                    break;
                }
            }
            self.check_sizes(true);
        }
        self.stopping = true;
        let now = self.kernel.borrow().now;
        self.dismiss(now);
        // Linger, stop ladder, and what is under way.
        let until = now + 8_000;
        while !self.broken() && !self.engine.is_finished() && self.kernel.borrow().now < until {
            let now = self.kernel.borrow().now;
            self.advance(now + 50);
        }
        // Timers may outlive what they were for, but not for ever.
        let until = self.kernel.borrow().now + 12_000;
        self.run_until(until);
        if !self.broken() {
            self.check_end();
        }
    }

    fn run_until(&mut self, until: Time) {
        while !self.broken() && self.kernel.borrow().now < until {
            self.advance(until);
        }
    }

    /// Turns until nothing is due now, then moves the clock to what is next, at most to `until`.
    fn advance(&mut self, until: Time) {
        self.turns_now = 0;
        self.idle_turns = 0;
        loop {
            self.do_tasks();
            if self.broken() {
                return;
            }
            let now = self.kernel.borrow().now;
            let due = self.engine.deadline(now).is_some_and(|at| at <= now);
            let ready = self.kernel.borrow_mut().take_ready();
            if !due && ready.is_empty() {
                break;
            }
            self.turn(now, &ready);
            if self.turns_now > TURNS_PER_MS {
                self.ledger.fail(format!("more than {TURNS_PER_MS} turns in one millisecond"));
                return;
            }
        }
        let mut kernel = self.kernel.borrow_mut();
        let next = [kernel.next_task_at(), self.engine.deadline(kernel.now), Some(until)];
        let now = kernel.now;
        kernel.now = next.into_iter().flatten().min().unwrap_or(until).max(now);
        if kernel.now == now {
            kernel.now = until.min(now + 1).max(now);
        }
    }

    fn turn(&mut self, now: Time, ready: &[Ready]) {
        let before = self.kernel.borrow().work;
        let told = !ready.is_empty();
        let mut platform = Handle(self.kernel.clone());
        self.tape.turn(now, ready);
        match self.tape.is_on() {
            false => self.engine.turn(now, ready, &mut platform),
            true => self.engine.turn(now, ready, &mut Recorder::new(&mut platform, &self.tape)),
        }
        self.turns += 1;
        self.turns_now += 1;
        let worked = told || self.kernel.borrow().work != before;
        self.idle_turns = if worked { 0 } else { self.idle_turns + 1 };
        if self.idle_turns > IDLE_TURNS_MAX {
            self.ledger.fail(format!("{} turns in a row had nothing to do", self.idle_turns));
        }
        self.meet_newborn();
    }

    fn meet_newborn(&mut self) {
        let mut kernel = self.kernel.borrow_mut();
        while self.children.len() < kernel.processes.len() {
            let index = self.children.len();
            let eras = self.setups[kernel.processes[index].server].eras;
            let nature = Nature::draw(&mut kernel, eras, self.calm);
            self.children.push(Child::new(&mut kernel, index, nature));
        }
    }

    fn do_tasks(&mut self) {
        self.meet_newborn();
        loop {
            let Some(task) = self.kernel.borrow_mut().pop_task() else { return };
            match task {
                Task::Deliver(pipe) => self.kernel.borrow_mut().deliver(pipe),
                Task::Room(pipe) => self.kernel.borrow_mut().room(pipe),
                Task::Client(index) => self.wake_client(index),
                Task::Process(index) => self.wake_child(index),
                Task::Wake => {}
            }
            if self.broken() {
                return;
            }
        }
    }

    fn wake_client(&mut self, index: usize) {
        let mut kernel = self.kernel.borrow_mut();
        let excused = self.stopping || self.released.contains(&index);
        let lines = self.clients[index].wake(&mut kernel, &mut self.ledger, self.active, excused);
        drop(kernel);
        for line in lines {
            self.tell_client(index, line);
        }
    }

    fn wake_child(&mut self, index: usize) {
        let mut kernel = self.kernel.borrow_mut();
        let lines = self.children[index].wake(&mut kernel, &mut self.ledger);
        drop(kernel);
        for line in lines {
            self.tell_child(index, &line);
        }
    }
}

impl Drop for World {
    /// A panic of muxloop's says where, the trace says how it came to that.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(kernel) = self.kernel.try_borrow()
        {
            eprintln!("the newest events of the world:");
            kernel.trace.newest().iter().for_each(|event| eprintln!("  {event}"));
        }
    }
}

/// Longest first age, in virtual milliseconds.
const ACTIVE_MS: u64 = 6_000;
/// Most clients of a world.
const CLIENTS_MAX: u64 = 10;
/// Turns without work that are fine in a row: a timer that was cancelled, a slot that is spread.
const IDLE_TURNS_MAX: u64 = 8;
/// Turns in one virtual millisecond that are still no busy loop.
const TURNS_PER_MS: u64 = 50_000;
