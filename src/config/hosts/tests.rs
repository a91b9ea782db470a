//! Files of hosts, with and without mistakes.

use crate::config::{Config, Loaded, Problem, ServerConfig, Surroundings};
use std::path::Path;

fn ana() -> Surroundings {
    let variables = [("TOKEN", "hunter2-hunter2"), ("DIR", "/srv/data"), ("WORD", "lagacy-secret")];
    Surroundings {
        home: Some("/home/ana".into()),
        variables: variables.into_iter().collect(),
        ..Default::default()
    }
}

fn read(file: &str, text: &str) -> Result<Loaded, Vec<String>> {
    let told = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
    Config::parse(file, text.as_bytes(), &ana()).map_err(told)
}

#[track_caller]
fn servers(text: &str) -> Vec<ServerConfig> {
    read("f.json", text).unwrap().config.servers
}

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    read("f.json", text).expect_err(text)
}

#[track_caller]
fn warnings(text: &str) -> Vec<String> {
    read("f.json", text).unwrap().warnings.iter().map(Problem::to_string).collect()
}

#[test]
fn a_file_with_comments_and_trailing_commas_reads_like_a_mux_toml() {
    let json = r#"// what a host keeps
{
  /* servers */
  "mcpServers": {
    "web": { "type": "stdio", "command": "~/bin/web", "args": ["-y", "a b",], "cwd": "~/x", },
    "a-memory": { "command": "npx", "env": { "TOKEN": "${TOKEN}", "PORT": 7, "RATIO": 0.5, "NONE": null } },
    "off": { "command": "x", "disabled": true }, "on": { "command": "x", "enabled": true, "cwd": null },
  },
}
"#;
    let toml = r#"
[servers.web]
cmd = "~/bin/web"
args = ["-y", "a b"]
cwd = "~/x"
[servers.a-memory]
cmd = "npx"
env = { TOKEN = "${TOKEN}", PORT = "7", RATIO = "0.5" }
[servers.off]
cmd = "x"
enabled = false
[servers.on]
cmd = "x"
"#;
    let of_toml = read("mux.toml", toml).unwrap().config.servers;
    let of_json = read("mux.json", json).unwrap();
    assert_eq!(of_json.warnings, []);
    assert_eq!(of_json.config.servers, of_toml);
    let memory = &of_toml[1];
    assert_eq!(memory.spawn.env[0], ("TOKEN".into(), "hunter2-hunter2".into()));
    assert_eq!(memory.env_of_variables, ["TOKEN"]);
    assert_eq!(memory.socket, Path::new("/home/ana/.muxloop/run/a-memory.sock"));
}

#[test]
fn the_format_is_seen_in_the_text_then_in_the_name() {
    let toml = "[servers.a]\ncmd = \"x\"\n";
    for file in ["f.json", "f.toml", "f"] {
        assert!(read(file, toml).is_ok(), "{file}");
        assert!(read(file, "\u{feff} // c\n{\"mcpServers\":{\"a\":{\"command\":\"x\"}}}").is_ok(), "{file}");
        let of_toml = read(file, "[servers.a\ncmd = 7").unwrap_err();
        assert!(of_toml[0].contains("unclosed table"), "{file}: {of_toml:?}");
        let both = format!("{{\"mcpServers\": [\n{toml}");
        assert!(read(file, &both).unwrap_err()[0].contains("is no JSON"), "{file}");
    }
    assert_eq!(
        read("f.json", "").unwrap_err(),
        ["f.json:1:1: is empty, expected an object with 'mcpServers'"]
    );
    assert_eq!(read("f.jsonc", "[]").unwrap_err(), ["f.jsonc:1:1: expected an object, found an array"]);
    assert_eq!(
        read("f.toml", "").unwrap_err(),
        ["f.toml:1:1: servers: is missing, expected at least one [servers.NAME] table"]
    );
}

#[test]
fn the_spellings_of_hosts_are_known() {
    for section in ["mcpServers", "servers", "context_servers"] {
        let text = format!("{{\"{section}\":{{\"a\":{{\"command\":\"x\"}}}}}}");
        assert_eq!(servers(&text).len(), 1);
        let bad = format!("{{\"{section}\":{{\"a\":{{\"args\":7}}}}}}");
        assert_eq!(
            problems(&bad),
            [
                format!(
                    "f.json:1:{}: {section}.a: has no 'command', expected the program of the MCP server",
                    section.len() + 6
                ),
                format!(
                    "f.json:1:{}: {section}.a.args: expected an array of strings, found an integer",
                    section.len() + 18
                ),
            ]
        );
    }
    let zed = r#"{"context_servers":{"a":{"source":"custom","command":{"path":"x","args":["y"],"env":{"K":"v"}}}}}"#;
    let server = servers(zed).remove(0);
    assert_eq!((server.spawn.program.as_str(), &server.spawn.args[..]), ("x", &["y".to_string()][..]));
    assert_eq!(server.spawn.env, [("K".to_string(), "v".to_string())]);
}

#[test]
fn what_is_not_known_is_warned_of() {
    let text = r#"{
  "$schema": "x", "inputs": [{ "id": 1 }], "theme": "dark",
  "mcpServers": {
    "a": { "command": "x", "alwaysAllow": ["y"], "arg": [], "lazy_start": true, "headers": {} },
    "git": { "type": "http", "url": "https://example.com/mcp", "headers": { "Authorization": "${NONE}" } },
    "old": { "url": "https://example.com/sse", "disabled": true },
    "both": { "command": "x", "url": "https://example.com" }
  }
}"#;
    assert_eq!(
        warnings(text),
        [
            "f.json:2:19: inputs: is not known to muxloop, ignored (one of 3 such keys)",
            "f.json:4:28: mcpServers.a.alwaysAllow: is not known to muxloop, ignored",
            "f.json:4:50: mcpServers.a.arg: is not known to muxloop, ignored; did you mean 'args'?",
            "f.json:4:61: mcpServers.a.lazy_start: is a key of mux.toml, ignored here",
            "f.json:4:81: mcpServers.a.headers: is for remote servers, ignored",
            "f.json:5:5: mcpServers.git: remote servers are not supported yet: it is left out",
            "f.json:7:31: mcpServers.both.url: is ignored, since the server has a command",
        ]
    );
    let names: Vec<String> = servers(text).into_iter().map(|server| server.policy.name).collect();
    assert_eq!(names, ["a", "both"]);
}

/// A name is part of a URL once there is HTTP.
#[test]
#[cfg(feature = "http")]
fn names_are_fit_for_urls_where_they_become_part_of_one() {
    let toml = "[servers.\"my memory\"]\ncmd = \"x\"\n[servers.\"..\"]\ncmd = \"x\"\nenabled = false\n";
    assert!(read("f.toml", toml).is_ok());
    assert_eq!(
        read("f.toml", &format!("http = 5151\n{toml}")).unwrap_err(),
        ["f.toml:2:10: servers.\"my memory\": becomes part of a URL (/servers/NAME/mcp), expected letters, \
             digits, '-', '_', '.' and '~' only; rename it, to 'my-memory' for example, or serve no HTTP"]
    );
    let on = toml.replace("enabled = false\n", "");
    assert_eq!(read("f.toml", &format!("http = 5151\n{on}")).unwrap_err().len(), 2);
}

#[test]
fn mistakes_are_told_with_their_places() {
    for (text, told) in [
        ("{", "1:1: is no JSON: unterminated object"),
        (
            "{\"mcpServers\": {\"a\" 7}}",
            "1:21: is no JSON: expected colon after the string or word in object property",
        ),
        ("{'mcpServers': {}}", "1:2: is no JSON: single-quoted strings are not allowed"),
        ("{\"mcpServers\": {}} x", "1:20: is no JSON: text cannot contain more than one JSON value"),
        ("{\"a\": 1}", "1:1: has no servers, expected an object 'mcpServers' (or 'servers')"),
        (
            "{\"mcpserver\": 1}",
            "1:2: mcpserver: has no servers, expected an object 'mcpServers' (or 'servers'); did you mean 'mcpServers'?",
        ),
        ("{\"mcpServers\": []}", "1:16: mcpServers: expected an object of servers, found an array"),
        ("{\"mcpServers\": {}}", "1:2: mcpServers: is empty, expected at least one server"),
        ("{\"mcpServers\": {\"a\": null}}", "1:22: mcpServers.a: expected an object, found null"),
        (
            "{\"mcpServers\": {\"a\": {\"url\": \"u\"}}}",
            "1:2: mcpServers: has no server that muxloop can run",
        ),
        (
            "{\"mcpServers\": {\"a/b\": {\"command\": \"x\"}}}",
            "1:17: mcpServers.\"a/b\": is no server name, expected some text without '/' and control characters",
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": \"x\"}, \"a\": {\"command\": \"y\"}}}",
            "1:40: mcpServers.a: stands twice in the file, expected it once",
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": \"x\", \"command\": \"y\"}}}",
            "1:39: mcpServers.a.command: stands twice in the file, expected it once",
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": 7}}}",
            "1:34: mcpServers.a.command: expected a string, found an integer",
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": \"x\", \"env\": []}}}",
            "1:46: mcpServers.a.env: expected an object of strings, found an array",
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": \"x\", \"env\": {\"A\": true}}}}",
            "1:52: mcpServers.a.env.A: expected a string, found a boolean; put it in quotes",
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": \"x\", \"args\": [null]}}}",
            "1:48: mcpServers.a.args[0]: is null, expected a value",
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": \"x\", \"disabled\": 1}}}",
            "1:51: mcpServers.a.disabled: expected true or false, found a number",
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": \"x\", \"type\": \"sse\"}}}",
            "1:47: mcpServers.a.type: is 'sse', expected \"stdio\" for a server with a command",
        ),
    ] {
        assert_eq!(problems(text), [format!("f.json:{told}")], "{text}");
    }
    let deep = format!("{{\"mcpServers\": {}", "[".repeat(100_000));
    assert_eq!(problems(&deep).len(), 1);
}

/// A06, in both formats: file, key and variable are told; what it holds is not.
#[test]
fn variables_are_replaced_in_every_text_and_not_shown() {
    let json = |body: &str| format!("{{\"mcpServers\": {{\"a\": {{\"command\": \"x\", {body}}}}}}}");
    let server = servers(&json(
        r#""args": ["--dir=${DIR}", "$${DIR}", "$HOME", "${env:NONE:-d}"], "cwd": "${DIR}/x""#,
    ));
    assert_eq!(server[0].spawn.args, ["--dir=/srv/data", "${DIR}", "$HOME", "d"]);
    assert_eq!(server[0].spawn.cwd.as_deref(), Some(Path::new("/srv/data/x")));
    assert_eq!(server[0].args_of_variables, [0, 1, 3]);
    assert_eq!(
        problems(&json(r#""args": ["a", "${NONE}"], "env": {"K": "${input:key}"}"#)),
        [
            "f.json:1:53: mcpServers.a.args[1]: variable 'NONE' is not set; set it, or give a default as in ${NONE:-…}",
            "f.json:1:78: mcpServers.a.env.K: has an '${input:…}', which only its host can ask for; use ${env:NAME}",
        ]
    );
    let toml = "log_level = \"${TOKEN}\"\n[servers.a]\ncmd = \"${NO}\"\nera = \"${WORD}\"\nroots = [\"/${TOKEN}\"]\n";
    let told = read("mux.toml", toml).unwrap_err();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        told[0],
        "mux.toml:1:13: log_level: is '${TOKEN}', expected \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\""
    );
    assert!(told[1].starts_with("mux.toml:3:7: servers.a.cmd: variable 'NO' is not set"), "{}", told[1]);
    assert!(told[2].starts_with("mux.toml:4:7: servers.a.era: is '${WORD}', expected"), "{}", told[2]);
    let all = told.join("\n");
    assert!(!all.contains("hunter2") && !all.contains("lagacy"), "{all}");
}
