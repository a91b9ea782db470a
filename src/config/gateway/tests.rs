//! Every key of the merged endpoint, what it becomes, and every mistake with its place.

use super::*;
use crate::config::keys::Key;
use crate::config::{Loaded, Problem, Surroundings};
use crate::gateway::catalogue::Offer;

const SERVERS: &str = "[servers.a]\ncmd = \"x\"\n[servers.b]\ncmd = \"x\"\n[servers.off]\ncmd = \"x\"\nenabled = false\n\
                       [servers.not]\ncmd = \"x\"\ngateway = false\n";

fn read(text: &str) -> Result<Loaded, Vec<String>> {
    let surroundings = Surroundings {
        home: Some("/home/ana".into()),
        variables: [("TOKEN", "hunter2-hunter2")].into_iter().collect(),
        ..Default::default()
    };
    let told = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
    Config::parse("f", text.as_bytes(), &surroundings).map_err(told)
}

/// A file with these lines behind four servers, from line 11 on.
#[track_caller]
fn config(lines: &str) -> Config {
    read(&format!("{SERVERS}{lines}")).unwrap().config
}

#[track_caller]
fn problems(lines: &str) -> Vec<String> {
    read(&format!("{SERVERS}{lines}")).expect_err(lines)
}

/// The setup, with numbers for all servers but one that does not run.
fn setup(config: &Config, profile: Option<&str>) -> Setup {
    let numbers = [("a", 7), ("b", 3), ("off", 1), ("not", 2)];
    config
        .gateway_setup(profile, |name| {
            numbers.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
        })
        .unwrap()
}

fn keys(setup: &Setup) -> Vec<(usize, &str)> {
    setup.servers.iter().map(|(number, key, _)| (*number, key.as_str())).collect()
}

#[test]
fn without_a_word_all_servers_are_merged_in_the_order_of_the_file() {
    let setup = setup(&config(""), None);
    assert_eq!(keys(&setup), [(7, "a"), (3, "b")]);
    assert_eq!((setup.naming, setup.list_timeout_ms), (Naming::Prefix, 5_000));
    assert!(setup.filters.is_empty() && setup.servers.iter().all(|(_, _, offer)| *offer == Offer::default()));
    assert_eq!(config("").gateway_setup(Some("x"), |_| None).map(|_| ()), None, "no such profile");
    let nobody = config("").gateway_setup(None, |_| None).unwrap();
    assert!(nobody.servers.is_empty(), "servers that do not run are left out");
}

#[test]
fn the_gateway_has_names_a_deadline_an_order_and_filters() {
    let config = config(
        "[gateway]\nnames = \"plain\"\nlist_timeout_ms = 250\nservers = [\"b\", \"off\", \"a\"]\nprompts = { deny = [\"*\"] }\n\
         [gateway.tools]\nmode = \"all\"\nallow = [\"r*\"]\n[gateway.resources]\nallow = [\"file:*\"]\n",
    );
    let setup = setup(&config, None);
    assert_eq!(keys(&setup), [(3, "b"), (7, "a")], "one that is disabled is not there");
    assert_eq!((setup.naming, setup.list_timeout_ms), (Naming::Plain, 250));
    let filters = Filters {
        tools: Filter::new(["r*"], []),
        prompts: Filter::new([], ["*"]),
        resources: Filter::new(["file:*"], []),
    };
    assert_eq!(setup.filters, [filters]);
}

#[test]
fn a_server_has_filters_and_changes_of_its_own() {
    let text = "[servers.a]\ncmd = \"x\"\ntools.deny = [\"rm_*\", \"x?\"]\nprompts = { allow = [\"p\"] }\nresources.allow = [\"y:*\"]\n\
                [servers.a.tool.search]\nname = \"find\"\ndescription = \"Finds.\"\nhide = [\"debug\", \"limit\"]\n\
                set = { limit = 0x10, token = \"${TOKEN}\", deep = { a = [1.5, true, -3] } }\n";
    let config = read(text).unwrap().config;
    let offer = setup(&config, None).servers.remove(0).2;
    let filters = (&offer.tools, &offer.prompts, &offer.resources);
    assert_eq!(
        filters,
        (&Filter::new([], ["rm_*", "x?"]), &Filter::new(["p"], []), &Filter::new(["y:*"], []))
    );
    let change = &offer.changes["search"];
    assert_eq!((change.name.as_deref(), change.description.as_deref()), (Some("find"), Some("Finds.")));
    let hidden: Vec<_> =
        change.hidden.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(
        hidden,
        [
            ("debug", None),
            ("deep", Some("{\"a\":[1.5,true,-3]}")),
            ("limit", Some("16")),
            ("token", Some("\"hunter2-hunter2\"")),
        ]
    );
    assert!(!format!("{config:?}").contains("hunter2"), "fixed values are not shown");
}

#[test]
fn a_profile_is_a_part_of_the_gateway() {
    let config = config(
        "[gateway]\nservers = [\"a\"]\ntools = { deny = [\"a__x\"] }\n[profiles.whole]\ntools.allow = [\"a__*\"]\n\
         [profiles.other]\nservers = [\"b\", \"a\"]\n",
    );
    let whole = setup(&config, Some("whole"));
    assert_eq!(keys(&whole), [(7, "a")]);
    let of_tools = |allow: &[&'static str], deny: &[&'static str]| Filters {
        tools: Filter::new(allow.iter().copied(), deny.iter().copied()),
        ..Filters::default()
    };
    assert_eq!(whole.filters, [of_tools(&[], &["a__x"]), of_tools(&["a__*"], &[])]);
    let other = setup(&config, Some("other"));
    assert_eq!(keys(&other), [(3, "b"), (7, "a")]);
    assert_eq!(other.filters, [of_tools(&[], &["a__x"])]);
}

#[test]
fn no_server_has_the_name_of_the_merged_endpoint() {
    let named = "[servers.gateway]\ncmd = \"x\"\n";
    let told = "f:12:10: servers.gateway: is what the endpoint of all servers is called; give this server another \
                name";
    assert_eq!(problems(&format!("[gateway]\nnames = \"plain\"\n{named}")), [told.replace("12", "13")]);
    // Nobody is in its way where there is none.
    assert!(!config(named).has_merged_endpoint());
    assert!(!config(&format!("{named}enabled = false\n")).has_merged_endpoint());
}

#[test]
fn lazy_tools_are_a_word_or_a_table() {
    for lines in ["[gateway]\ntools = \"lazy\"\n", "[gateway]\ntools.mode = \"lazy\"\n"] {
        let loaded = read(&format!("{SERVERS}{lines}")).unwrap();
        assert_eq!(loaded.warnings, []);
        assert!(setup(&loaded.config, None).lazy);
    }
    assert!(!setup(&read(SERVERS).unwrap().config, None).lazy);
}

#[test]
fn mistakes_are_told_with_their_places() {
    for (lines, told) in [
        ("gateway.x = 1", "11:9: gateway.x: unknown key, expected one that 'muxloop help config' lists"),
        ("gateway = 5", "11:11: gateway: expected a table, found an integer"),
        ("gateway.name = \"plain\"", "11:9: gateway.name: unknown key; did you mean 'names'?"),
        ("gateway.names = \"pre\"", "11:17: gateway.names: is 'pre', expected \"prefix\" or \"plain\""),
        (
            "gateway.tools = \"lzy\"",
            "11:17: gateway.tools: is 'lzy', expected \"all\" or \"lazy\"; did you mean 'lazy'?",
        ),
        ("gateway.tools = {}", "11:17: gateway.tools: says nothing, expected mode, allow or deny"),
        (
            "gateway.tools = 1",
            "11:17: gateway.tools: expected \"all\", \"lazy\" or a table with mode, allow and deny, found an integer",
        ),
        ("gateway.prompts = {}", "11:19: gateway.prompts: filters nothing, expected 'allow' or 'deny'"),
        (
            "gateway.prompts = []",
            "11:19: gateway.prompts: expected a table with allow and deny, found an array",
        ),
        ("gateway.prompts.block = []", "11:17: gateway.prompts.block: unknown key; did you mean 'deny'?"),
        (
            "gateway.prompts.allow = \"x\"",
            "11:25: gateway.prompts.allow: expected an array of names or patterns, found a string",
        ),
        (
            "gateway.prompts.allow = [\"x\", \"\"]",
            "11:31: gateway.prompts.allow[1]: is empty, expected a name or a pattern",
        ),
        ("gateway.prompts.deny = [7]", "11:25: gateway.prompts.deny[0]: expected a string, found an integer"),
        (
            "gateway.list_timeout_ms = 0",
            "11:27: gateway.list_timeout_ms: is 0, expected an integer from 1 to 600000",
        ),
        ("gateway.servers = []", "11:19: gateway.servers: is empty, expected at least one name of a server"),
        ("gateway.servers = [\"a\", \"a\"]", "11:25: gateway.servers[1]: 'a' stands twice in the list"),
        (
            "gateway.servers = [\"of\"]",
            "11:20: gateway.servers[0]: no server 'of', the file has: a, b, off, not; did you mean 'off'?",
        ),
        (
            "gateway.servers = [\"not\"]",
            "11:20: gateway.servers[0]: server 'not' has gateway = false; remove one of both",
        ),
        ("gateway.servers = [1]", "11:20: gateway.servers[0]: expected a string, found an integer"),
        ("profiles.p = 1", "11:14: profiles.p: expected a table, found an integer"),
        ("profiles = 1", "11:12: profiles: expected a table of tables, found an integer"),
        (
            "profiles.p = {}",
            "11:10: profiles.p: selects nothing, expected servers, tools, prompts or resources",
        ),
        (
            "profiles.p.servers = [\"zzz\"]",
            "11:23: profiles.p.servers[0]: no server 'zzz', the file has: a, b, off, not",
        ),
        (
            "profiles.\"a b\".servers = [\"a\"]",
            "11:10: profiles.\"a b\": becomes part of a URL (/profiles/NAME/mcp), expected letters, digits, '-', '_', '.' \
             and '~' only; rename it, to 'a-b' for example",
        ),
        ("servers.a.gateway = 1", "11:21: servers.a.gateway: expected true or false, found an integer"),
        (
            "servers.a.tools.allow = [1]",
            "11:26: servers.a.tools.allow[0]: expected a string, found an integer",
        ),
        ("servers.a.tool = 1", "11:18: servers.a.tool: expected a table of tables, found an integer"),
        ("servers.a.tool.t = 1", "11:20: servers.a.tool.t: expected a table, found an integer"),
        (
            "servers.a.tool.t = {}",
            "11:16: servers.a.tool.t: changes nothing, expected name, description, hide or set",
        ),
        (
            "servers.a.tool.t.rename = \"x\"",
            "11:18: servers.a.tool.t.rename: unknown key; did you mean 'name'?",
        ),
        (
            "servers.a.tool.t.name = \"a b\"",
            "11:25: servers.a.tool.t.name: is 'a b', expected 1 to 128 of letters, digits, '_', '-' and '.'",
        ),
        (
            "servers.a.tool = { t = { name = \"x\" }, u = { name = \"x\" } }",
            "11:53: servers.a.tool.u.name: is 'x', as of another tool of this server",
        ),
        (
            "servers.a.tool.t.hide = \"x\"",
            "11:25: servers.a.tool.t.hide: expected an array of strings, found a string",
        ),
        (
            "servers.a.tool.t.set = []",
            "11:24: servers.a.tool.t.set: expected a table of values, found an array",
        ),
        (
            "servers.a.tool.t.set.x = [nan]",
            "11:27: servers.a.tool.t.set.x[0]: is a float that JSON does not have; put it in quotes",
        ),
        (
            "servers.a.tool.t.set.x = 99999999999999999999",
            "11:26: servers.a.tool.t.set.x: is an integer that JSON does not have; put it in quotes",
        ),
        (
            "servers.a.tool.t.set.x = { y = 2026-11-21 }",
            "11:32: servers.a.tool.t.set.x.y: is a date that JSON does not have; put it in quotes",
        ),
    ] {
        // At the top of the file, where TOML has dotted keys of any table; the servers are below.
        let text = format!("{}{lines}\n{}", "\n".repeat(10), inline());
        assert_eq!(read(&text).expect_err(lines), [format!("f:{told}")], "{lines}");
    }
    let _ = problems("[gateway]\nservers = [\"${NONE}\"]\n");
}

/// The servers as dotted keys, so that others can stand beside them.
fn inline() -> String {
    let servers = [
        "a.cmd = \"x\"",
        "b.cmd = \"x\"",
        "off = { cmd = \"x\", enabled = false }",
        "not = { cmd = \"x\", gateway = false }",
    ];
    servers.iter().map(|server| format!("servers.{server}\n")).collect()
}

#[test]
fn the_keys_of_the_tables_keep_the_promises_of_keys() {
    fn check<T>(keys: &[Key<T>], table: &str) {
        let of = |line: &str| read(&format!("[servers.memory]\ncmd = \"x\"\n[{table}]\n{line}\n"));
        for key in keys {
            let with = |value: &str| of(&format!("{} = {value}", key.name));
            let changed = with(key.example).unwrap_or_else(|told| panic!("{table}.{}: {told:?}", key.name));
            let default = read("[servers.memory]\ncmd = \"x\"\n").unwrap().config;
            assert_ne!(changed.config, default, "{table}.{}", key.name);
            let refused = with("2026-11-21").unwrap_err();
            let expected = format!("expected {}, found a date", key.kind.expected());
            assert!(refused[0].ends_with(&expected), "{refused:?}");
        }
    }
    check(GATEWAY, "gateway");
    check(TOOLS, "gateway.tools");
    check(PROFILE, "profiles.p");
    check(FILTER, "servers.memory.tools");
    let change: Vec<&Key<Change>> = CHANGE.iter().filter(|key| key.name != "set").collect();
    assert_eq!(change.len(), CHANGE.len() - 1, "that one's example names a variable, see above");
    for key in change {
        let text = format!(
            "[servers.memory]\ncmd = \"x\"\n[servers.memory.tool.t]\n{} = {}\n",
            key.name, key.example
        );
        assert_ne!(read(&text).unwrap().config.servers[0].offer, Offer::default(), "{}", key.name);
    }
}
