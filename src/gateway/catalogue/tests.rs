use super::*;
use serde_json::{Value, json};

fn catalogue(naming: Naming, offers: &[(&str, Offer)]) -> Catalogue {
    Catalogue::new(naming, offers.iter().map(|(key, offer)| (key.to_string(), offer.clone())))
}

fn two(naming: Naming) -> Catalogue {
    catalogue(naming, &[("a", Offer::default()), ("b", Offer::default())])
}

fn learn(catalogue: &mut Catalogue, member: usize, list: List, items: Value) -> bool {
    catalogue.learn(member, list, &[items.to_string().into_bytes()])
}

/// Without the schemas of tools that were given none.
fn page(catalogue: &Catalogue, list: List) -> Value {
    let mut items: Value = serde_json::from_slice(&catalogue.page(list, None).unwrap().items).unwrap();
    for item in items.as_array_mut().unwrap() {
        if item["inputSchema"] == json!({ "type": "object" }) {
            item.as_object_mut().unwrap().remove("inputSchema");
        }
    }
    items
}

#[test]
fn tools_are_listed_in_the_order_of_servers_under_prefixed_names() {
    let mut both = two(Naming::Prefix);
    assert!(learn(&mut both, 1, List::Tools, json!([{ "name": "z", "n": 1.5 }, { "name": "y" }])));
    assert!(learn(
        &mut both,
        0,
        List::Tools,
        json!([{ "name": "z", "title": "Z" }, { "name": "z" }, { "x": 1 }])
    ));
    assert_eq!(
        page(&both, List::Tools),
        json!([{ "name": "a__z", "title": "Z" }, { "name": "b__z", "n": 1.5 }, { "name": "b__y" }])
    );
    assert_eq!(both.route(List::Tools, "b__z"), Some(Route { member: 1, own: "z".into() }));
    for unknown in ["z", "a__y", "b__", ""] {
        assert_eq!(both.route(List::Tools, unknown), None, "{unknown}");
    }
    assert!(
        !learn(&mut both, 1, List::Tools, json!([{ "name": "z", "n": 1.5 }, { "name": "y" }])),
        "the same"
    );
    assert_eq!(both.forget(1), [true, false, false, false]);
    assert_eq!(both.route(List::Tools, "b__z"), None);
}

#[test]
fn plain_names_that_meet_are_nobodys() {
    let mut both = two(Naming::Plain);
    learn(&mut both, 0, List::Tools, json!([{ "name": "read" }]));
    learn(&mut both, 1, List::Tools, json!([{ "name": "read" }, { "name": "write" }]));
    assert_eq!(both.names(List::Tools).collect::<Vec<_>>(), ["write"]);
    assert_eq!(both.route(List::Tools, "write").unwrap().member, 1);
    assert_eq!(both.route(List::Tools, "read"), None);
    assert_eq!(page(&both, List::Tools), json!([{ "name": "write" }]));
    let owners = ["a", "b"].map(|key| Owner { key: key.into(), own: "read".into() });
    let clash = Clash { list: List::Tools, name: "read".into(), owners };
    assert_eq!(both.clashes().collect::<Vec<_>>(), [&clash]);
    assert_eq!(both.clash(List::Tools, "read"), Some(&clash));
    assert!(learn(&mut both, 0, List::Tools, json!([])), "it is b's now");
    assert_eq!(both.route(List::Tools, "read").unwrap().member, 1);
    assert_eq!(both.clashes().count(), 0);
    let change = Change { name: Some("read_b".into()), description: Some("B's".into()), ..Change::default() };
    let offer = Offer { changes: [("read".to_string(), change)].into(), ..Offer::default() };
    let mut cured = catalogue(Naming::Plain, &[("a", Offer::default()), ("b", offer)]);
    learn(&mut cured, 0, List::Tools, json!([{ "name": "read" }]));
    learn(&mut cured, 1, List::Tools, json!([{ "name": "read", "description": "?" }]));
    assert_eq!(cured.clashes().count(), 0);
    assert_eq!(cured.route(List::Tools, "read_b"), Some(Route { member: 1, own: "read".into() }));
    assert_eq!(page(&cured, List::Tools)[1], json!({ "name": "read_b", "description": "B's" }));
}

/// H07: what is denied is neither listed nor reached.
#[test]
fn what_is_denied_has_no_route() {
    let offer = Offer {
        tools: Filter::new([], ["write*"]),
        resources: Filter::new(["doc://*"], ["doc://secret*"]),
        ..Offer::default()
    };
    let mut one = catalogue(Naming::Prefix, &[("a", offer)]);
    learn(&mut one, 0, List::Tools, json!([{ "name": "read" }, { "name": "write_all" }]));
    learn(
        &mut one,
        0,
        List::Resources,
        json!([{ "uri": "doc://secret/1" }, { "uri": "doc://x" }, { "uri": "y:z" }]),
    );
    learn(&mut one, 0, List::Templates, json!([{ "uriTemplate": "doc://{+any}" }]));
    one.note_seen(0, "doc://secret/2");
    assert_eq!(one.names(List::Tools).collect::<Vec<_>>(), ["a__read"]);
    assert_eq!(one.route(List::Tools, "a__write_all"), None);
    assert_eq!(one.names(List::Resources).collect::<Vec<_>>(), ["doc://x"]);
    for hidden in ["doc://secret/1", "doc://secret/2", "y:z", "mux+a:y:z", "mux+a:doc://secret/1"] {
        assert_eq!(one.route_uri(hidden), None, "{hidden}");
    }
    assert!(one.route_uri("doc://other").is_some(), "by the template");
}

/// protocol.md §5.4: the first owner has the plain URI, the others' carry their server's key.
#[test]
fn resources_that_meet_are_both_reached() {
    let mut both = two(Naming::Prefix);
    learn(&mut both, 0, List::Resources, json!([{ "uri": "x:1", "name": "A" }]));
    learn(&mut both, 1, List::Resources, json!([{ "uri": "x:1", "name": "B" }, { "uri": "x:2" }]));
    learn(&mut both, 1, List::Templates, json!([{ "uriTemplate": "t://{id}" }]));
    assert_eq!(both.names(List::Resources).collect::<Vec<_>>(), ["x:1", "mux+b:x:1", "x:2"]);
    let of = |member, own: &str| Some(Route { member, own: own.into() });
    for (uri, route) in [
        ("x:1", of(0, "x:1")),
        ("mux+b:x:1", of(1, "x:1")),
        ("mux+a:x:1", of(0, "x:1")),
        ("x:2", of(1, "x:2")),
        ("t://9", of(1, "t://9")),
        ("t://9/8", None),
        ("seen:1", None),
    ] {
        assert_eq!(both.route_uri(uri), route, "{uri}");
    }
    both.note_seen(0, "seen:1");
    assert_eq!(both.route_uri("seen:1"), of(0, "seen:1"));
    assert_eq!((both.public_uri(1, "x:1"), both.public_uri(0, "x:1")), ("mux+b:x:1".into(), "x:1".into()));
}

#[test]
fn pages_cover_a_list_once_and_end_with_its_generation() {
    let mut one = catalogue(Naming::Prefix, &[("a", Offer::default())]);
    let tools: Vec<Value> = (0..2_500).map(|n| json!({ "name": format!("t{n}") })).collect();
    learn(&mut one, 0, List::Tools, json!(tools));
    let (mut cursor, mut seen) = (None, Vec::new());
    let mut pages = 0;
    loop {
        let page = one.page(List::Tools, cursor.as_deref()).unwrap();
        let items: Vec<Value> = serde_json::from_slice(&page.items).unwrap();
        seen.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_string()));
        pages += 1;
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(seen, (0..2_500).map(|n| format!("a__t{n}")).collect::<Vec<_>>());
    for bad in ["", "m", "m1", "1.5", "m1.", "m1.99999", "m7.1000", "m1.-1"] {
        assert_eq!(one.page(List::Tools, Some(bad)), None, "{bad}");
    }
    learn(&mut one, 0, List::Tools, json!([{ "name": "new" }]));
    assert_eq!(one.page(List::Tools, cursor.as_deref()), None, "a cursor of the list before");
    // One item is given whatever its size.
    learn(&mut one, 0, List::Tools, json!([{ "name": "a" }, { "name": "big", "d": "x".repeat(5 << 20) }]));
    let first = one.page(List::Tools, None).unwrap();
    let second = one.page(List::Tools, first.next.as_deref()).unwrap();
    assert!(first.items.len() < 100 && second.items.len() > 5 << 20 && second.next.is_none());
}

/// H08: what clients see of a tool with hidden parameters.
#[test]
fn hidden_parameters_are_not_listed() {
    let hidden = [("key".to_string(), Some("7".into()))].into();
    let change = Change { hidden, ..Change::default() };
    let offer = Offer { changes: [("t".to_string(), change)].into(), ..Offer::default() };
    let mut one = catalogue(Naming::Plain, &[("a", offer)]);
    let schema = json!({
        "type": "object",
        "properties": { "key": {}, "x": { "x-mcp-header": "X" } },
        "required": ["key", "x"],
    });
    let tools = json!([{ "name": "t", "inputSchema": schema }, { "name": "u", "inputSchema": { "type": "object", "properties": { "key": {} } } }]);
    learn(&mut one, 0, List::Tools, tools);
    assert_eq!(
        page(&one, List::Tools),
        json!([
            { "name": "t", "inputSchema": { "type": "object", "properties": { "x": { "x-mcp-header": "X" } }, "required": ["x"] } },
            { "name": "u", "inputSchema": { "type": "object", "properties": { "key": {} } } },
        ])
    );
    let of = |name: &str| one.hides(&one.route(List::Tools, name).unwrap()).is_some();
    assert_eq!((of("t"), of("u")), (true, false));
}

/// H07: filters of the merged endpoint go by its names, and no route leads around them.
#[test]
fn the_endpoint_has_filters_of_its_own() {
    let gateway = Filters {
        tools: Filter::new(["a__*", "b__read"], []),
        resources: Filter::new([], ["x:secret*", "mux+b:x:2"]),
        ..Filters::default()
    };
    let profile = Filters { tools: Filter::new([], ["*__write"]), ..Filters::default() };
    let mut both = two(Naming::Prefix).filtered(vec![gateway, profile]);
    for member in [0, 1] {
        learn(
            &mut both,
            member,
            List::Tools,
            json!([{ "name": "read" }, { "name": "write" }, { "name": "x" }]),
        );
        learn(&mut both, member, List::Prompts, json!([{ "name": "p" }]));
        learn(
            &mut both,
            member,
            List::Resources,
            json!([{ "uri": "x:1" }, { "uri": "x:2" }, { "uri": "x:secret/1" }]),
        );
    }
    learn(&mut both, 0, List::Templates, json!([{ "uriTemplate": "x:{+any}" }]));
    both.note_seen(1, "x:secret/2");
    assert_eq!(both.names(List::Tools).collect::<Vec<_>>(), ["a__read", "a__x", "b__read"]);
    assert_eq!(both.names(List::Prompts).collect::<Vec<_>>(), ["a__p", "b__p"]);
    assert_eq!(both.names(List::Resources).collect::<Vec<_>>(), ["x:1", "x:2", "mux+b:x:1"]);
    for denied in ["a__write", "b__write", "b__x"] {
        assert_eq!(both.route(List::Tools, denied), None, "{denied}");
    }
    for denied in
        ["x:secret/1", "x:secret/2", "x:secret", "mux+a:x:secret/1", "mux+b:x:secret/1", "mux+b:x:2"]
    {
        assert_eq!(both.route_uri(denied), None, "{denied}");
    }
    assert_eq!(both.route_uri("mux+b:x:1").unwrap().member, 1);
    assert!(both.route_uri("x:other").is_some(), "by the template");
}

/// H02: the prefixed name of a tool depends on its server's key and on its own name, on nothing else: not on
/// which other servers there are, in which order, and which of them are up; and no two have the same.
#[test]
fn prefixed_names_stay_whatever_else_is_there() {
    const KEYS: [&str; 9] = ["a", "a_", "a__b", "b", "_b", "b__c", "a.b", "é", "a-very-long-key-of-a-server"];
    const TOOLS: [&str; 9] =
        ["b", "_b", "__b", "b__c", "c", "", "b.c", "b/c", "a_very_long_name_of_a_tool_that_fills_it"];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let mut known: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for _ in 0..400 {
        let mut keys: Vec<&str> = KEYS.into_iter().filter(|_| below(2) == 0).collect();
        for at in (1..keys.len()).rev() {
            keys.swap(at, below(at + 1));
        }
        let offers: Vec<(&str, Offer)> = keys.iter().map(|key| (*key, Offer::default())).collect();
        let mut all = catalogue(Naming::Prefix, &offers);
        for _ in 0..2 * keys.len() {
            let member = below(keys.len());
            if below(5) == 0 {
                all.forget(member);
                continue;
            }
            let tools: Vec<&str> = TOOLS.into_iter().filter(|_| below(3) > 0).collect();
            let items: Vec<Value> = tools.iter().map(|name| json!({ "name": name })).collect();
            learn(&mut all, member, List::Tools, json!(items));
            for tool in tools {
                let route = Route { member, own: tool.into() };
                let name =
                    all.names(List::Tools).find(|name| all.route(List::Tools, name).as_ref() == Some(&route));
                let name = name.unwrap_or_else(|| panic!("{tool} of {} is offered", keys[member])).to_owned();
                assert_eq!(*known.entry((keys[member], tool)).or_insert(name.clone()), name);
            }
        }
        assert_eq!(all.clashes().count(), 0);
    }
    assert_eq!(known.len(), KEYS.len() * TOOLS.len());
    let names: std::collections::BTreeSet<&String> = known.values().collect();
    assert_eq!(names.len(), known.len(), "no two are the same");
}
