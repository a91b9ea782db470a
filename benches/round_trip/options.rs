//! The command line: which role this process plays, and the options of that role.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::ValueExt;
use lexopt::prelude::{Long, Short, Value};

use crate::echo::Offer;
use crate::load::{Plan, Until};
use crate::payload::{Shape, Timing};
use crate::relays::Relay;

pub const USAGE: &str = "\
round_trip: muxloop beside a floor relay, rmcp-mux and no relay at all

cargo bench --bench round_trip -- [OPTIONS]
  --quick                 one short round of everything (under 20 s)
  --only WHAT             one load, as 8x8x200, 1000x1x200+10000idle, 1x1x200@1cpu, or `fairness`;
                          may be repeated
  --relays A,B            some of direct,floor,muxloop,rmcp-mux
  --rounds N              rounds per load (3)
  --require-rmcp-mux      fail if rmcp-mux is not installed in .bench
  --http                  the HTTP front beside other proxies instead; with --quick, --rounds, --json
  --require-rivals        fail if one of them is not installed in .bench
  --json FILE             write the figures as JSON too
  --lists                 the lists of the endpoint of 50 servers instead
  --footprint             memory, wake-ups, start time and size instead
  --self-test             test the bench itself instead
muxloop is MUXLOOP_BIN, else the static release build, else the release build.

Roles by themselves:
  round_trip --echo [--delay-us N] [--tools N [--announces]]
                                          the echo server on stdin and stdout
  round_trip --floor SOCKET -- COMMAND    the floor relay
  round_trip --load SOCKET [--clients N --in-flight N --bytes N --idle N --seconds N]
";

pub enum Role {
    Help,
    Echo { delay: Duration, offer: Offer },
    Floor { socket: PathBuf, command: Vec<OsString> },
    Load(LoadClient),
    Footprint { json: Option<PathBuf> },
    SelfTest,
    Lists,
    Http(Bench),
    Bench(Bench),
}

pub struct LoadClient {
    pub socket: PathBuf,
    pub plan: Plan,
}

pub struct Bench {
    pub quick: bool,
    pub rounds: usize,
    pub relays: Vec<Relay>,
    pub only: Option<Only>,
    pub require_rmcp_mux: bool,
    pub require_rivals: bool,
    pub json: Option<PathBuf>,
}

#[derive(Default)]
pub struct Only {
    pub shapes: Vec<Shape>,
    pub fairness: bool,
}

pub fn parse() -> Result<Role, String> {
    parse_role(lexopt::Parser::from_env()).map_err(|error| format!("{error}; try --help"))
}

fn parse_role(mut parser: lexopt::Parser) -> Result<Role, lexopt::Error> {
    let mut bench = Bench {
        quick: false,
        rounds: 3,
        relays: Relay::ALL.to_vec(),
        only: None,
        require_rmcp_mux: false,
        require_rivals: false,
        json: None,
    };
    let (mut footprint, mut http, mut lists, mut wanted) = (false, false, false, false);
    while let Some(option) = parser.next()? {
        wanted = true;
        match option {
            Long("echo") => return parse_echo(parser),
            Long("floor") => return parse_floor(parser),
            Long("load") => return parse_load(parser),
            Long("self-test") => return Ok(Role::SelfTest),
            Long("help") | Short('h') => return Ok(Role::Help),
            // What `cargo bench` adds.
            Long("bench") => {}
            Long("quick") => bench.quick = true,
            Long("footprint") => footprint = true,
            Long("http") => http = true,
            Long("lists") => lists = true,
            Long("require-rivals") => bench.require_rivals = true,
            Long("require-rmcp-mux") => bench.require_rmcp_mux = true,
            Long("rounds") => bench.rounds = parser.value()?.parse::<usize>()?.max(1),
            Long("json") => bench.json = Some(parser.value()?.into()),
            Long("relays") => bench.relays = parse_relays(&parser.value()?.string()?)?,
            Long("only") => {
                let only = bench.only.get_or_insert_default();
                match parser.value()?.string()?.as_str() {
                    "fairness" => only.fairness = true,
                    load => only.shapes.push(parse_shape(load)?),
                }
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(match (wanted, footprint, http) {
        (false, ..) => Role::SelfTest,
        _ if lists => Role::Lists,
        (_, true, _) => Role::Footprint { json: bench.json },
        (_, _, true) => Role::Http(bench),
        (..) => Role::Bench(bench),
    })
}

fn parse_echo(mut parser: lexopt::Parser) -> Result<Role, lexopt::Error> {
    let (mut delay, mut offer) = (Duration::ZERO, Offer::default());
    while let Some(option) = parser.next()? {
        match option {
            Long("delay-us") => delay = Duration::from_micros(parser.value()?.parse()?),
            Long("tools") => offer.tools = Some(parser.value()?.parse()?),
            Long("announces") => offer.announces = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(Role::Echo { delay, offer })
}

fn parse_floor(mut parser: lexopt::Parser) -> Result<Role, lexopt::Error> {
    let socket = parser.value()?.into();
    let mut command = Vec::new();
    while let Some(option) = parser.next()? {
        match option {
            Value(word) => {
                command.push(word);
                command.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Role::Floor { socket, command })
}

fn parse_load(mut parser: lexopt::Parser) -> Result<Role, lexopt::Error> {
    let socket = parser.value()?.into();
    let mut shape = Shape { clients: 1, in_flight: 1, bytes: 200, idle: 0, one_cpu: false };
    let mut timing = Timing { warm_up: Duration::from_millis(300), window: Duration::from_secs(1) };
    let (mut first_client, mut refusals_allowed, mut until_input_ends) = (0, false, false);
    while let Some(option) = parser.next()? {
        match option {
            Long("clients") => shape.clients = parser.value()?.parse()?,
            Long("in-flight") => shape.in_flight = parser.value()?.parse()?,
            Long("bytes") => shape.bytes = parser.value()?.parse()?,
            Long("idle") => shape.idle = parser.value()?.parse()?,
            Long("seconds") => timing.window = Duration::from_secs(parser.value()?.parse()?),
            Long("first-client") => first_client = parser.value()?.parse()?,
            Long("refusals-allowed") => refusals_allowed = true,
            Long("until-input-ends") => until_input_ends = true,
            other => return Err(other.unexpected()),
        }
    }
    let until = if until_input_ends { Until::InputEnds } else { Until::Timed(timing) };
    Ok(Role::Load(LoadClient { socket, plan: Plan { shape, until, first_client, refusals_allowed } }))
}

fn parse_relays(list: &str) -> Result<Vec<Relay>, lexopt::Error> {
    let relay =
        |name: &str| Relay::from_name(name).ok_or_else(|| format!("no relay is called {name}").into());
    list.split(',').map(relay).collect()
}

/// `CLIENTSxIN_FLIGHTxBYTES`, optionally `+Nidle` and `@1cpu`.
fn parse_shape(text: &str) -> Result<Shape, lexopt::Error> {
    let (shape, one_cpu) = text.strip_suffix("@1cpu").map_or((text, false), |shape| (shape, true));
    let (busy, idle) = shape.split_once('+').unwrap_or((shape, "0idle"));
    let numbers: Option<Vec<usize>> = busy.split('x').map(|number| number.parse().ok()).collect();
    let idle = idle.strip_suffix("idle").and_then(|number| number.parse().ok());
    match (numbers.as_deref(), idle) {
        (Some(&[clients, in_flight, bytes]), Some(idle)) if clients > 0 && in_flight > 0 => {
            Ok(Shape { clients, in_flight, bytes, idle, one_cpu })
        }
        _ => Err(format!("{text:?} is not a load such as 8x8x200").into()),
    }
}
