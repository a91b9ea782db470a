//! All servers for one host, on standard input and output.

use crate::stage::{Client, Home, MUXLOOP, names, server, signal, wait_until};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

#[test]
fn a_host_has_all_servers_until_it_closes_its_end() {
    let home = Home::new("host");
    let folder = home.project("web");
    let mut client = Client::start(&mut home.muxloop(&folder, &["serve"]));
    client.greet();
    let tools = client.tools();
    assert!(tools.contains(&"one__echo".to_owned()) && tools.contains(&"two__echo".to_owned()), "{tools:?}");
    client.echo("two__echo", "hello");
    // What is asked before the end is answered after it.
    let last = client.ask("tools/call", json!({ "name": "one__echo", "arguments": { "text": "last" } }));
    client.close_input();
    assert_eq!(client.answer(last)["result"]["content"][0]["text"], "last");
    let (code, err) = client.end();
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("the host has closed standard input"), "{err}");
    assert_eq!(names(&home.0), ["web", ".cache"].map(String::from).into_iter().rev().collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
#[test]
fn a_host_that_reads_no_more_is_gone() {
    let home = Home::new("deaf");
    let folder = home.project("web");
    let mut command = home.muxloop(&folder, &["serve"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", LINES.lines().next().unwrap()).unwrap();
    // The first answer, so that it is not the start that fails.
    let mut answer = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut answer).unwrap();
    assert!(answer.contains("protocolVersion"), "{answer}");
    drop(output);
    wait_until("its end", || child.try_wait().unwrap().is_some());
    drop(input);
}

#[test]
fn several_hosts_serve_one_configuration_at_once() {
    let home = Home::new("hosts");
    let folder = home.project("web");
    let mut clients = [(); 3].map(|()| Client::start(&mut home.muxloop(&folder, &["serve", "--stdio"])));
    for client in &mut clients {
        client.greet();
        client.echo("one__echo", "x");
    }
    for client in clients {
        assert_eq!(client.end().0, 0);
    }
}

#[test]
fn a_modern_host_needs_no_greeting() {
    let home = Home::new("modern");
    let folder = home.project("web");
    let mut client = Client::start(&mut home.muxloop(&folder, &["serve"]));
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let answer = client
        .request("tools/call", json!({ "name": "one__echo", "arguments": { "text": "now" }, "_meta": meta }));
    assert_eq!(answer["result"]["content"][0]["text"], "now", "{answer}");
    assert_eq!(client.end().0, 0);
}

const LINES: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"#,
    r#""clientInfo":{"name":"t","version":"1"}}}"#,
    "\n",
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n",
    r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"one__echo","arguments":{"text":"hi"}}}"#,
);

fn ids(output: &[u8]) -> Vec<Value> {
    let lines = std::str::from_utf8(output).unwrap().lines();
    lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .filter(|id| !id.is_null())
        .collect()
}

#[test]
fn files_and_sockets_are_standard_streams_too() {
    let home = Home::new("streams");
    let folder = home.project("web");
    let (input, output) = (folder.join("in"), folder.join("out"));
    fs::write(&input, LINES).unwrap();
    let mut command = home.muxloop(&folder, &["serve", "--log", "log"]);
    command.stdin(File::open(&input).unwrap()).stdout(File::create(&output).unwrap());
    let status = command.status().unwrap();
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert_eq!(
        (status.code(), ids(&fs::read(&output).unwrap())),
        (Some(0), vec![json!(1), json!(2)]),
        "{log}"
    );
    assert!(log.contains("stopped"), "{log}");

    let nothing = home.muxloop(&folder, &["serve"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((nothing.status.code(), nothing.stdout), (Some(0), Vec::new()));

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let theirs = OwnedFd::from(theirs);
    let mut command = home.muxloop(&folder, &["serve"]);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    ours.write_all(LINES.as_bytes()).unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    std::io::Read::read_to_end(&mut ours, &mut heard).unwrap();
    assert_eq!((ids(&heard), child.wait().unwrap().code()), (vec![json!(1), json!(2)], Some(0)));
}

/// More than pipes and sockets hold, both ways.
#[test]
fn long_messages_pass_whole() {
    let home = Home::new("long");
    let folder = home.project("web");
    let text = format!("{}{}max_request_bytes = 4_000_000\n", server("one", "[]"), server("two", "[]"));
    fs::write(folder.join("mux.toml"), text).unwrap();
    let mut client = Client::start(&mut home.muxloop(&folder, &["serve"]));
    client.greet();
    let text = "x".repeat(3_000_000);
    client.echo("two__echo", &text);
    assert_eq!(client.end().0, 0);
}

#[test]
fn a_profile_is_a_part_of_it() {
    let home = Home::new("profile");
    let folder = home.project("web");
    let mut text = fs::read_to_string(folder.join("mux.toml")).unwrap();
    text += "[profiles.few]\nservers = [\"two\"]\ntools = { allow = [\"*echo\"] }\n";
    fs::write(folder.join("mux.toml"), text).unwrap();
    let mut client = Client::start(&mut home.muxloop(&folder, &["serve", "--profile", "few"]));
    client.greet();
    assert_eq!(client.tools(), ["two__echo"]);
    assert_eq!(client.end().0, 0);
    let unknown =
        home.muxloop(&folder, &["serve", "--profile", "fwe"]).stdin(Stdio::null()).output().unwrap();
    let err = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{err}");
    assert!(err.contains("--profile: no profile 'fwe', mux.toml has: few; did you mean 'few'?"), "{err}");
}

#[test]
fn a_socket_serves_many_and_no_host() {
    let home = Home::new("socket");
    let folder = home.project("web");
    let socket = folder.join("all.sock");
    let mut command = home.muxloop(&folder, &["serve", "--socket", "all.sock"]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it listens", || UnixStream::connect(&socket).is_ok());
    let path = socket.to_str().unwrap();
    let mut clients =
        [(); 2].map(|()| Client::start(&mut home.muxloop(&folder, &["proxy", "--socket", path])));
    for client in &mut clients {
        client.greet();
        client.echo("one__echo", "x");
    }
    let status = home.muxloop(&folder, &["status"]).output().unwrap();
    assert_eq!(status.status.code(), Some(0), "as of muxloop run");
    signal(child.id() as i32, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn this_very_command_among_the_servers_is_left_out() {
    let home = Home::new("self");
    let folder = home.0.join("web");
    fs::create_dir_all(&folder).unwrap();
    let demo = json!({ "command": MUXLOOP, "args": ["demo-server"] });
    let this = json!({ "command": MUXLOOP, "args": ["connect"] });
    let file =
        |servers: Value| fs::write(folder.join(".mcp.json"), json!({ "mcpServers": servers }).to_string());
    file(json!({ "all": this, "one": demo })).unwrap();
    let mut client = Client::start(&mut home.muxloop(&folder, &["serve", "--project", "."]));
    client.greet();
    client.echo("one__echo", "x");
    let (code, err) = client.end();
    assert_eq!(code, 0);
    assert!(err.contains(".mcp.json: servers.all: is muxloop itself, and was left out"), "{err}");
    file(json!({ "all": this })).unwrap();
    let alone = home.muxloop(&folder, &["serve", "--project", "."]).stdin(Stdio::null()).output().unwrap();
    let err = String::from_utf8(alone.stderr).unwrap();
    assert_eq!(alone.status.code(), Some(2), "{err}");
    assert!(err.contains("no server is left to run besides muxloop itself"), "{err}");
}

#[test]
fn a_server_that_cannot_start_does_not_keep_the_others_from_serving() {
    let home = Home::new("dead");
    let folder = home.project("web");
    let text = format!("{}[servers.dead]\ncmd = \"/does/not/exist\"\n", server("one", "[]"));
    fs::write(folder.join("mux.toml"), text).unwrap();
    let mut client = Client::start(&mut home.muxloop(&folder, &["serve"]));
    client.greet();
    client.echo("one__echo", "x");
    assert!(client.tools().iter().all(|name| name.starts_with("one__")));
    assert_eq!(client.end().0, 0);
}

#[test]
fn a_reload_changes_what_is_served() {
    let home = Home::new("reload");
    let folder = home.project("web");
    let mut client = Client::start(&mut home.muxloop(&folder, &["serve"]));
    client.greet();
    client.echo("one__echo", "x");
    let text = fs::read_to_string(folder.join("mux.toml")).unwrap();
    fs::write(folder.join("mux.toml"), text.replace("[servers.two]", "[servers.three]")).unwrap();
    signal(client.id() as i32, libc::SIGHUP);
    wait_until("the new server's tools", || client.tools().contains(&"three__echo".to_owned()));
    client.echo("three__echo", "y");
    assert!(client.tools().iter().all(|name| !name.starts_with("two__")));
    assert_eq!(client.end().0, 0);
}
